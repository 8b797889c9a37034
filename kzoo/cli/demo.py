"""The verb `demo`: one real song to stems, scores, a picture, and a TFLite file proven equal."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kzoo.cli import options
from kzoo.cli.export import export
from kzoo.cli.separate import separate
from kzoo.cli.terminal import say

if TYPE_CHECKING:
    import numpy as np

PRESET = "spleeter_2stems"
# The streams of a .stem.mp4 of MUSDB18, after the mixture.
_STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}


def demo(
    out: Annotated[Path, options.out("Folder for all of it.")] = Path("demo"),
    quiet: options.Quiet = False,
) -> None:
    """Take a song to stems, scores, a picture and TFLite."""
    from kzoo import audio
    from kzoo.pictures.stems import draw_spectrograms

    song = song_path()
    mixture, sample_rate = audio.read(song)
    stems = {name: audio.read(song, stream=k)[0] for name, k in _STREAMS.items()}
    references = {"vocals": stems["vocals"], "accompaniment": mixture - stems["vocals"]}
    separate(
        [str(song)], preset=PRESET, out=str(out), bit_depth="float32", overwrite=True, quiet=quiet
    )
    track = out / song.name.removesuffix(".stem.mp4")
    estimates = {name: audio.read(track / f"{name}.wav")[0] for name in references}
    lines = score_lines(song.name, references, estimates, mixture, sample_rate)
    (out / "scores.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        print(line)
    panels = {"mixture": mixture, **estimates, "vocals, as recorded": references["vocals"]}
    draw_spectrograms(panels, sample_rate, out / "stems.png")
    export(PRESET, "tflite", out / "tflite", sound=song, overwrite=True, quiet=quiet)
    say(f"all of it is in {out}/: stems, scores.txt, stems.png, tflite/")


def song_path() -> Path:
    """The excerpt of a real song, with its stems, that the stempeg package carries.

    Raises ValueError with the pip line where the package is absent. stempeg itself is not imported:
    it wants an ffmpeg program.
    """
    spec = importlib.util.find_spec("stempeg")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec else None
    songs = sorted(folder.glob("**/*.stem.mp4")) if folder else []
    if not songs:
        raise ValueError("the demo's song comes with stempeg: pip install 'kzoo[demo]'")
    return songs[0]


def score_lines(
    title: str,
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    mixture: np.ndarray,
    sample_rate: int,
) -> list[str]:
    """A table of BSS Eval medians of the estimates, with the untouched mixture for comparison."""
    import numpy as np

    from kzoo.metrics import bss_eval

    truth = np.stack(list(references.values()))
    rows = {
        PRESET: bss_eval(truth, np.stack([estimates[name] for name in references])),
        "mixture": bss_eval(truth, np.stack([mixture] * len(references))),
    }
    lines = [
        f"{title}, {len(mixture) / sample_rate:.1f} s",
        "BSS Eval v4 (images), dB: median over frames of 1 s",
        f"{'system':18}{'stem':16}{'SDR':>8}{'ISR':>8}{'SIR':>8}{'SAR':>8}",
    ]
    for system, scores in rows.items():
        for i, name in enumerate(references):
            medians = [
                np.nanmedian(np.asarray(measure)[i])
                for measure in (scores.sdr, scores.isr, scores.sir, scores.sar)
            ]
            lines.append(f"{system:18}{name:16}" + "".join(f"{value:8.2f}" for value in medians))
    return lines
