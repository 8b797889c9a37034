"""A track as `kzoo data render` writes it, without its renderer."""

import numpy as np
import soundfile

from kzoo import config


def write_track(folder, notes, *, rate, seconds=2.0, f0=()):
    """mixture.wav of noise, and its truth.

    notes: (onset, offset, pitch, stem), each stem being one part. f0: {stem: (hertz, from, to)}.
    """
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate))
    soundfile.write(folder / "mixture.wav", noise, rate)
    rows = [f"{on:.4f},{off:.4f},{pitch},90,0,{stem},{stem}" for on, off, pitch, stem in notes]
    header = "onset_s,offset_s,pitch,velocity,program,stem,part"
    (folder / "notes.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "beats.csv").write_text("time_s,beat\n0.0000,1\n")
    (folder / "f0").mkdir()
    for stem, (hertz, first, last) in dict(f0).items():
        times = np.arange(round(seconds * 100) + 1) / 100
        lines = [f"{t:.2f},{hertz if first <= t < last else 0:.3f}" for t in times]
        (folder / "f0" / f"{stem}.csv").write_text("\n".join(["time_s,f0_hz", *lines]) + "\n")
    stems = sorted({stem for *_, stem in notes})
    parts = {
        stem: {"stem": stem, "instrument": stem, "program": 0, "channel": k, "notes": 1}
        for k, stem in enumerate(stems)
    }
    about = {"parts": parts, "instruments": {stem: [stem] for stem in stems}}
    config.dump_yaml(about, folder / "track.yaml")
