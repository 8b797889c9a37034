"""Speech with the times of its phones, as TIMIT has it.

    PATH/{TRAIN,TEST}/DR1/<speaker>/<sentence>.WAV, NIST SPHERE or RIFF, and beside it .PHN:
    0 3050 h#             first sample, the one behind the last, and a phone of TIMIT's 61

The two sentences that all speakers read (SA1, SA2) are left out, as is usual. Phones are folded to
the 39 that errors are counted of (Lee and Hon, 1989, https://doi.org/10.1109/29.46546), in which
every silence and closure is "sil" and the glottal stop is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from kzoo import audio
from kzoo.data.corpus import Corpus, chosen
from kzoo.data.events import Event, Events
from kzoo.data.labelled import MonoRecordings
from kzoo.dsp.phones import PHONES, state_names

_FOLDED = {
    "aa": "ao", "ah": "ax ax-h", "er": "axr", "hh": "hv", "ih": "ix", "l": "el", "m": "em",
    "n": "en nx", "ng": "eng", "sh": "zh", "sil": "pcl tcl kcl bcl dcl gcl h# pau epi", "uw": "ux",
}  # fmt: skip
FOLD = {
    **{phone: phone for phone in PHONES if phone != "sil"},
    **{phone: name for name, phones in _FOLDED.items() for phone in phones.split()},
    "q": None,
}
# The 24 speakers of the core test set, by TIMIT's documentation.
CORE = (
    "mdab0", "mwbt0", "felc0", "mtas1", "mwew0", "fpas0", "mjmp0", "mlnt0", "fpkt0", "mlll0",
    "mtls0", "fjlm0", "mbpm0", "mklt0", "fnlp0", "mcmj0", "mjdh0", "fmgd0", "mgrt0", "mnjm0",
    "fdhc0", "mjln0", "mpam0", "fmld0",
)  # fmt: skip
_SUFFIXES = (".WAV", ".wav", ".WAV.wav", ".flac")


class PhoneWindows(MonoRecordings):
    """Phones, each in the middle of a window of sound: `in_windows` makes them of a length.

    phones: of each recording its phones as `Event`, in their order.
    """

    def __init__(self, phones: Events):
        super().__init__(
            dict(zip((name for name, _ in phones.tracks), phones.files, strict=True)),
            phones.labels, phones.sample_rate,
        )  # fmt: skip
        self._phones = phones
        self.centres = [
            sorted(
                (round((start + end) / 2 * self.sample_rate), label)
                for label, times in enumerate(events.values())
                for start, end in times
            )
            for events in phones.events
        ]

    def in_windows(self, samples: int) -> Corpus:
        """A corpus in which a phone takes `samples`, whatever its length, and has its window."""
        return _InWindows(self, samples)

    def identity(self, track: int) -> str:
        """Return the sha256 of the file's bytes and of its phones."""
        return self._phones.identity(track)


class _InWindows(Corpus):
    sources, channels, records_mixture = (), 1, True

    def __init__(self, phones: PhoneWindows, samples: int):
        self._phones, self._samples = phones, samples
        self.labels, self.sample_rate = phones.labels, phones.sample_rate
        self.rates, self.identity = phones.rates, phones.identity
        self.tracks = [
            (name, len(centres) * samples)
            for (name, _), centres in zip(phones.tracks, phones.centres, strict=True)
        ]

    def read(self, track: int, start: int, samples: int) -> dict[str, np.ndarray]:
        """The window of the phone at `start`, and its label, `[labels]` of 0 and 1."""
        centres = self._phones.centres[track]
        centre, label = centres[min(round(start / self._samples), len(centres) - 1)]
        labels = np.zeros(len(self.labels), np.float32)
        labels[label] = 1
        mixture = self._phones.sound(track, centre - samples // 2, samples)
        return {"mixture": mixture, "labels": labels}


def timit(
    path: str | Path,
    *,
    subset: Literal["train", "test", "core"] = "train",
    each: Literal["frame", "phone"] = "frame",
    states: int = 1,
    names: Sequence[str] | None = None,
    sample_rate: int | None = None,
    channels: int = 1,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Events | PhoneWindows:
    """Open TIMIT, or another corpus of its layout.

    subset: "core" is the 24 speakers of the core test set. each: what is labelled, every frame, or
    every phone as a window of its own. states: parts of one length that each phone is cut into,
    named "aa.1", "aa.2"; 1 leaves phones as they are. names: the phones, or their states, in the
    order of the labels; by default all 39, and others are passed over. include, exclude: sentences
    such as "dr1/fcjf0/si1027", in lower case, or patterns of them.
    Raises ValueError for a folder without them, a damaged .PHN, and a phone that TIMIT has not.
    """
    if channels != 1:
        raise ValueError(f"TIMIT has one channel; got channels={channels}")
    if states < 1:
        raise ValueError(f"states must be at least 1; got {states}")
    if each == "phone" and states > 1:
        raise ValueError(f"states are of frames: with each=phone they must be 1; got {states}")
    found = sentences(path, subset)
    found = {name: found[name] for name in chosen(list(found), include, exclude, str(path))}
    files = {
        name: (sound, cut(read_phones(text, audio.info(sound).sample_rate), states))
        for name, (sound, text) in found.items()
    }
    labels = state_names(PHONES, states) if names is None else tuple(names)
    if absent := [name for name in labels if name not in state_names(PHONES, states)]:
        raise ValueError(f"{path}: TIMIT has no {', '.join(absent[:3])} among its 39 phones")
    spoken = {
        name: (sound, phones)
        for name, (sound, phones) in files.items()
        if any(phone.name in labels for phone in phones)
    }
    if not spoken:
        raise ValueError(f"{path}: no sentence has a phone of {', '.join(labels[:8])}")
    events = Events(spoken, labels, sample_rate)
    return PhoneWindows(events) if each == "phone" else events


def sentences(path: str | Path, subset: str) -> dict[str, tuple[Path, Path]]:
    """{name, such as "dr1/fcjf0/si1027": (the sound, its .PHN)} of a subset, without SA1 and SA2.

    Raises ValueError where there are none.
    """
    root, folder = Path(path), "train" if subset == "train" else "test"
    found = {}
    for place in sorted(root.iterdir()) if root.is_dir() else ():
        if place.name.lower() != folder or not place.is_dir():
            continue
        for text in sorted(place.glob("*/*/*")):
            if text.suffix.lower() != ".phn" or text.stem.lower() in ("sa1", "sa2"):
                continue
            if subset == "core" and text.parent.name.lower() not in CORE:
                continue
            sounds = (text.with_name(text.stem + suffix) for suffix in _SUFFIXES)
            if sound := next((sound for sound in sounds if sound.is_file()), None):
                found[text.relative_to(place).with_suffix("").as_posix().lower()] = sound, text
    if not found:
        raise ValueError(
            f"{root}: needs {folder.upper()}/DR1/<speaker>/<sentence>.WAV with a .PHN beside each"
        )
    return found


def read_phones(path: Path, sample_rate: int, *, fold: bool = True) -> list[Event]:
    """The phones of a .PHN in their order.

    fold: to the 39, the glottal stop left out, and silences after one another as one.
    Raises ValueError for a line that is no phone of TIMIT's.
    """
    found = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        start, end, phone = (*line.split(), "", "", "")[:3]
        if not line.strip():
            continue
        if not (start.isdigit() and end.isdigit() and int(start) <= int(end) and phone in FOLD):
            raise ValueError(
                f"{path}: line {number} is none of first sample, last sample and one of TIMIT's 61 "
                f"phones: {line[:60]!r}"
            )
        name = FOLD[phone] if fold else phone
        first, last = int(start) / sample_rate, int(end) / sample_rate
        if found and name == found[-1].name == "sil" and found[-1].end_seconds == first:
            found[-1] = found[-1]._replace(end_seconds=last)
        elif name:
            found.append(Event(first, last, name))
    return found


def cut(phones: Sequence[Event], states: int) -> list[Event]:
    """Each phone as `states` parts of one length, by the names that `state_names` gives them."""
    if states == 1:
        return list(phones)
    return [
        Event(start + (end - start) * k / states, start + (end - start) * (k + 1) / states,
              f"{name}.{k + 1}")
        for start, end, name in phones for k in range(states)
    ]  # fmt: skip
