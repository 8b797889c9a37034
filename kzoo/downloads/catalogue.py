"""What corpora there are. A field that no published source gives is None or says so."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file that a corpus, or a part of it, is packed in; size in bytes, md5 as published."""

    url: str
    size: int | None = None
    md5: str | None = None
    file: str | None = None

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.file or urllib.parse.urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A corpus: what it is, the `kind` that reads it, and where it comes from.

    hours: of mixtures. page: where its authors describe it. archives: none where it cannot be
    fetched; then `otherwise` says how to get it.
    """

    what: str
    kind: str
    hours: float | None
    licence: str
    page: str
    archives: Sequence[Archive] = ()
    otherwise: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of all archives; None where one of them is not known."""
        sizes = [archive.size for archive in self.archives]
        return sum(sizes) if sizes and None not in sizes else None

    @property
    def size_in_words(self) -> str:
        """That size as people read it."""
        return "size not known" if self.size is None else f"{self.size / 1e9:.1f} GB"


COLUMNS = ("name", "what", "hours", "size", "licence", "how to get it")


def rows() -> Iterator[tuple[str, ...]]:
    """What a table of the catalogue holds, in the order of COLUMNS."""
    for name, entry in CATALOGUE.items():
        hours = "?" if entry.hours is None else f"{entry.hours:.3g}"
        size = entry.size_in_words if entry.archives else ""
        how = f"kzoo data download {name}" if entry.archives else entry.otherwise
        yield name, entry.what, hours, size, entry.licence, f"{how}; {entry.page}"


_DATASHARE = "https://datashare.ed.ac.uk/bitstream/handle/10283/2791"

# Hours are tracks times their mean length in SigSep's table of corpora, unless an author says else.
CATALOGUE = {
    "musdb18": Entry(
        what="150 songs in four stems, stereo, compressed (.stem.mp4)",
        kind="musdb", hours=9.8,
        licence="for education and research alone, not commercial; each song has its terms",
        page="https://zenodo.org/records/1117372",
        archives=[Archive(
            url="https://zenodo.org/records/1117372/files/musdb18.zip",
            size=4_684_228_845, md5="af06762477334799bfc5abf237648207",
        )],
    ),
    "musdb18hq": Entry(
        what="the songs of MUSDB18 as WAV",
        kind="musdb", hours=9.8,
        licence="for education and research alone, not commercial; each song has its terms",
        page="https://zenodo.org/records/3338373",
        archives=[Archive(
            url="https://zenodo.org/records/3338373/files/musdb18hq.zip",
            size=22_656_664_047, md5="12d4f2ecd55245a4688754dd76363103",
        )],
    ),
    "dsd100": Entry(
        what="100 songs in four stems, stereo",
        kind="dsd100", hours=7.0,
        licence="not stated; the songs are of the Mixing Secrets library, which has their terms",
        page="https://sigsep.github.io/datasets/dsd100.html",
        # The sum is the one that SiSEC 2016 published.
        archives=[Archive(
            url="http://liutkus.net/DSD100.zip", md5="e8964d97d6f320962647e24ebc6773e3",
        )],
    ),
    "slakh2100": Entry(
        what="2,100 pieces without vocals, made from MIDI, one channel; duplicates are set apart",
        kind="slakh", hours=145.0, licence="CC BY 4.0",
        page="https://zenodo.org/records/4599666",
        archives=[Archive(
            url="https://zenodo.org/records/4599666/files/slakh2100_flac_redux.tar.gz",
            size=104_322_767_708, md5="f4b71b6c45ac9b506f59788456b3f0c4",
        )],
    ),
    "babyslakh": Entry(
        what="the first 20 pieces of Slakh2100, at 16 kHz",
        kind="slakh", hours=None, licence="CC BY 4.0",
        page="https://zenodo.org/records/4603870",
        archives=[Archive(
            url="https://zenodo.org/records/4603870/files/babyslakh_16k.tar.gz",
            md5="311096dc2bde7d61c97e930edbfc7f78",
        )],
    ),
    "ccmixter": Entry(
        what="50 songs in vocals and accompaniment, stereo",
        kind="ccmixter", hours=3.2,
        licence="not stated; the songs are of ccmixter.org, which has their terms",
        page="https://members.loria.fr/ALiutkus/kam/",
        archives=[Archive(
            url="http://liutkus.net/ccmixter_corpus.zip", md5="231eea133f59f6a7a5ef4c47a8205256",
        )],
    ),
    "mir1k": Entry(
        what="1,000 clips of karaoke in vocals and accompaniment, one channel, at 16 kHz",
        kind="mir1k", hours=2.2,
        licence="CC BY 4.0 by the word of the copy at figshare; the authors' own is not known",
        page="https://sites.google.com/site/unvoicedsoundseparation/mir-1k",
        archives=[Archive(
            url="https://ndownloader.figshare.com/files/10256751", size=797_386_646,
            file="MIR-1K.rar",
        )],
    ),
    "voicebank": Entry(
        what="VoiceBank-DEMAND: noisy and clean speech of 28 speakers, and of 2 for the test",
        kind="pairs", hours=None, licence="CC BY 4.0",
        page="https://datashare.ed.ac.uk/handle/10283/2791",
        archives=[
            Archive(url=f"{_DATASHARE}/{name}.zip", md5=md5)
            for name, md5 in (
                ("clean_trainset_28spk_wav", "d2d5a45ec32f8fcbf201bde0447e20ba"),
                ("noisy_trainset_28spk_wav", "1fca9e8bafb8cd069f6653c6d92f9e9c"),
                ("clean_testset_wav", "34eb1c0ba7ef667e9b966866c542fc16"),
                ("noisy_testset_wav", "fb1b86caa31e8ba5b506c0c64da9aab5"),
            )
        ],
    ),
    "medleydb": Entry(
        what="MedleyDB 1 and 2: songs in the stems of their instruments, stereo",
        kind="medleydb", hours=None, licence="CC BY-NC-SA 4.0",
        page="https://medleydb.weebly.com/downloads.html",
        otherwise="its authors give access on request, by the form on that page",
    ),
    "moisesdb": Entry(
        what="240 songs in up to eleven stems of several tracks, stereo",
        kind="moisesdb", hours=None, licence="not commercial; its page has the terms",
        page="https://music.ai/research/",
        otherwise="its authors give it out on that page",
    ),
    "ikala": Entry(
        what="252 excerpts of 30 s in vocals and accompaniment, one channel",
        kind="ikala", hours=2.1, licence="not known",
        page="http://mac.citi.sinica.edu.tw/ikala/",
        otherwise="its authors no longer give it out",
    ),
    "mass": Entry(
        what="excerpts of 9 songs in the tracks of their instruments, stereo",
        kind="mass", hours=0.04, licence="not known",
        page="http://www.mtg.upf.edu/download/datasets/mass",
        otherwise="no address of an archive is known; see that page",
    ),
    "quasi": Entry(
        what="5 songs in the tracks of their instruments, stereo",
        kind="quasi", hours=0.3, licence="not known",
        page="http://www.tsi.telecom-paristech.fr/aao/en/2012/03/12/quasi/",
        otherwise="no address of an archive is known; see that page",
    ),
    "librimix": Entry(
        what="Libri2Mix and Libri3Mix: speakers of LibriSpeech, mixed, with noise of WHAM",
        kind="librimix", hours=None, licence="that of LibriSpeech, CC BY 4.0, and of WHAM's noise",
        page="https://github.com/JorisCos/LibriMix",
        otherwise="the scripts of that page make it",
    ),
    "wsj0mix": Entry(
        what="WSJ0-2mix and -3mix: speakers of the Wall Street Journal corpus, mixed",
        kind="wsj0mix", hours=None, licence="that of WSJ0, which the LDC sells",
        page="https://catalog.ldc.upenn.edu/LDC93S6A",
        otherwise="scripts make it of WSJ0, which is bought there",
    ),
    "magnatagatune": Entry(
        what="25,863 clips of 29 s with 188 tags by listeners, one channel, at 16 kHz",
        kind="magnatagatune", hours=208.0, licence="CC BY-NC-SA 3.0",
        page="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
        otherwise="its archive lies there in three parts, mp3.zip.001 to .003, to be joined by cat "
        "and unpacked beside annotations_final.csv",
    ),
    "gtzan": Entry(
        what="1,000 excerpts of 30 s of ten genres, one channel, at 22,050 Hz",
        kind="gtzan", hours=8.3, licence="not known",
        page="https://huggingface.co/datasets/marsyas/gtzan",
        archives=[Archive(
            url="https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",
            md5="5b3d6dddb579ab49814ab86dba69e7c7",
        )],
    ),
    "ballroom": Entry(
        what="698 excerpts of 30 s of ballroom dances, one channel",
        kind="ballroom", hours=5.8, licence="not known",
        page="https://mtg.upf.edu/ismir2004/contest/tempoContest/node5.html",
        archives=[Archive(
            url="https://mtg.upf.edu/ismir2004/contest/tempoContest/data1.tar.gz",
            size=1_453_888_083, md5="2872a3e52070bc342a4510a95e2fa0b8",
        )],
    ),
    "mdb_melody_synth": Entry(
        what="65 songs of MedleyDB whose melody was played anew from its f0, so that it is exact",
        kind="mdb_melody_synth", hours=None, licence="CC BY-NC 4.0",
        page="https://zenodo.org/record/1481168",
        otherwise="its archive is on that page",
    ),
    "medleydb_melody": Entry(
        what="songs of MedleyDB with the f0 of their melodies",
        kind="medleydb_melody", hours=None, licence="CC BY-NC-SA 4.0",
        page="https://medleydb.weebly.com/downloads.html",
        otherwise="its authors give access on request, by the form on that page",
    ),
    "librispeech": Entry(
        what="audiobooks by 331 speakers: train-clean-100, dev-clean and test-clean, at 16 kHz",
        kind="librispeech", hours=111.4, licence="CC BY 4.0",
        page="https://www.openslr.org/12/",
        archives=[
            Archive(url=f"https://www.openslr.org/resources/12/{name}.tar.gz", size=size, md5=md5)
            for name, size, md5 in (
                ("train-clean-100", 6_387_309_499, "2a93770f6d5c6c964bc36631d331a522"),
                ("dev-clean", 337_926_286, "42e2234ba48799c1f50f24a7926300a1"),
                ("test-clean", 346_663_984, "32fa31d27d2e1cad72775fee3f4849a9"),
            )
        ],
    ),
    "timit": Entry(
        what="6,300 sentences of 630 speakers of American English, with the times of their phones",
        kind="timit", hours=None, licence="that of the LDC, which sells it",
        page="https://catalog.ldc.upenn.edu/LDC93S1",
        otherwise="it is bought there",
    ),
}  # fmt: skip
