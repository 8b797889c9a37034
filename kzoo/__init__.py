"""kzoo: the Keras 3 zoo of audio models, from a WAV on disk to a `.tflite` in a phone.

    import kzoo
    stems = kzoo.separate(waveform, sample_rate)        # {"vocals": [samples, channels], ...}
    speech = kzoo.enhance(waveform, sample_rate)        # without the noise, of the same shape
    model = kzoo.from_preset("spleeter_2stems")         # a keras.Model with verified weights
    model = kzoo.build("unet", sources=["vocals"])      # the same architecture, untrained
    times, f0_hz, confidence = kzoo.pitch(waveform, sample_rate)
    times, f0_hz, salience = kzoo.melody(waveform, sample_rate)
    times, strengths = kzoo.onsets(waveform, sample_rate)
    kzoo.tag(waveform, sample_rate)                     # [("rock", 0.41), ("guitar", 0.27), ...]
    sound, rate = kzoo.transfer(voice, sample_rate, "runs/violin")  # played by what is trained
    sound, rate = kzoo.translate(waveform, sample_rate, "runs/translation", to="piano")
    sound, rate = kzoo.generate("runs/wavenet", 5.0, seed=1)        # drawn sample after sample
    kzoo.export("spleeter_2stems", "tflite", "out")     # waveform in, named stems out, proven

Packages, from the ground up: `audio` (files), `dsp` (signal processing), `layers`, `losses`,
`models`, `data` (corpora), `convert` (published weights), `presets` (verified weights and their
cards), `separation`, `listening`, `pitch_tracking`, `synthesis` and `generation` (recordings of
any length), `training`, `metrics` and `evaluation` (scores), `comparison` and `pages` (to compare
by ear), `deploy` (SavedModel and TFLite). TensorFlow is imported when a model is, not before.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [
    "Separator",
    "__version__",
    "build",
    "compare",
    "embed",
    "enhance",
    "evaluate",
    "export",
    "export_page",
    "from_preset",
    "generate",
    "list_models",
    "list_presets",
    "melody",
    "onsets",
    "pitch",
    "save_to_preset",
    "separate",
    "tag",
    "transfer",
    "translate",
]


def __getattr__(name: str):
    # TensorFlow takes seconds to import: the names of `kzoo.api` are looked up when first used.
    if name in __all__:
        from kzoo import api

        return getattr(api, name)
    raise AttributeError(f"module 'kzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
