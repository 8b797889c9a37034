"""What `kzoo export` prints of an artefact: each file and its size, and how it was compared."""

from kzoo.cli.export import _lines

CARD = {
    "path": "out/x_fp16.tflite",
    "precision": "fp16",
    "bytes": 2_000_000,
    "block_samples": 8000,
    "sample_rate": 16000,
    "channels": 1,
    "parity": {
        "against": "Keras 3",
        "sound": "a melody",
        "not_compared": None,
        "sources": {"audio": {"snr_db": 71.23, "max_abs_difference": 1e-4}},
        "worst": None,
    },
    "operators": {"ADD": 3},
}


def test_the_stream_of_a_synthesiser_has_a_line_and_a_size_of_its_own():
    stream = {
        "file": "x_stream.tflite", "frames": 4, "hop_length": 64, "delay_samples": 64,
        "bytes": 3_500_000,
    }  # fmt: skip
    first, second, *_ = _lines({**CARD, "stream": stream})
    assert first.startswith("out/x_fp16.tflite: 2.0 MB, fp16, 8000 samples (0.50 s) at 16000 Hz")
    assert second == ("out/x_stream.tflite: 3.5 MB, steps of 256 samples (16 ms), 64 samples late")


def test_what_was_not_compared_is_said_and_so_is_the_worst_that_was():
    lines = _lines(CARD)
    assert "compared with Keras 3 on a melody:" in lines
    assert not [line for line in lines if "at worst" in line]
    worst = {"sound": "antiphase", "output": "audio", "snr_db": 14.5, "max_abs_difference": 0.1}
    parity = {**CARD["parity"], "worst": worst}
    lines = _lines({**CARD, "parity": parity})
    assert "  at worst 14.5 dB, audio, on antiphase, max 1.0e-01" in lines
    parity = {**parity, "not_compared": "no Flex here", "sources": {}, "worst": None}
    assert "NOT compared with Keras: no Flex here" in _lines({**CARD, "parity": parity})
