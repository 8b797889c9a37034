"""Speakers of TIMIT as SincNet's authors take them: a folder of recordings a speaker.

    python configs/listening/timit_speakers.py TIMIT OUT

TIMIT: the corpus as it is unpacked, TRAIN/DR1/FCJF0/SX127.WAV and .WRD, in capitals or not.
Writes OUT/train/speaker000 of the five sentences SX of a speaker of TRAIN, and OUT/test/speaker000
of the three SI, without the two SA that all speakers say: 462 speakers, numbered by their names.
As in https://github.com/mravanelli/SincNet (TIMIT_preparation.py), recordings begin with the first
word, end with the last, and reach full scale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

KINDS = {"SX": "train", "SI": "test"}


def main(timit: str, out: str) -> None:
    """Write the recordings; exit with a line where there are none, or a .WRD is missing."""
    files = [path for path in sorted(Path(timit).rglob("*")) if path.suffix.upper() == ".WAV"]
    files = [path for path in files if path.parts[-4:-3] and path.parts[-4].upper() == "TRAIN"]
    speakers = sorted({path.parent.name.upper() for path in files})
    if not speakers:
        sys.exit(f"{timit}: needs recordings like TRAIN/DR1/FCJF0/SX127.WAV")
    for path in files:
        if part := KINDS.get(path.name[:2].upper()):
            number = speakers.index(path.parent.name.upper())
            target = Path(out) / part / f"speaker{number:03}" / f"{path.stem.lower()}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            sound, sample_rate = soundfile.read(path, dtype="float64")
            first, last = words(path)
            spoken = sound[first:last]
            soundfile.write(target, spoken / np.max(np.abs(spoken)), sample_rate, subtype="FLOAT")
    print(f"{out}: {len(speakers)} speakers")


def words(path: Path) -> tuple[int, int]:
    """The samples at which the first word of a recording begins and the last one ends."""
    near = [other for other in path.parent.glob(f"{path.stem}.*") if other.suffix.upper() == ".WRD"]
    if not near:
        sys.exit(f"{path}: needs its words beside it, {path.stem}.WRD")
    rows = [line.split() for line in near[0].read_text("ascii").splitlines() if line.strip()]
    return int(rows[0][0]), int(rows[-1][1])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python configs/listening/timit_speakers.py TIMIT OUT")
    main(*sys.argv[1:])
