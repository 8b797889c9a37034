"""What of an export is refused before a model is built, and what is said of its block."""

import pytest

from kzoo.deploy import request


def test_transforms_follow_the_target():
    assert request.transforms("tflite", "auto", "cpu") == "auto"
    assert request.transforms("tflite", "auto", "gpu") == "matmul"
    for wrong, words in (
        (("tflite", "dct", "cpu"), "fft must be one of"),
        (("tflite", "auto", "tpu"), "target one of cpu, gpu"),
        (("tflite", "rfft2d", "gpu"), "no kernel on GPUs"),
        (("saved_model", "matmul", "cpu"), "of a TFLite file"),
    ):
        with pytest.raises(ValueError, match=words):
            request.transforms(*wrong)


@pytest.mark.parametrize(
    ("samples", "seconds", "said"),
    [
        (3840, None, None),
        (3840, 0.1, "x: its blocks last 0.48 s, not 0.1 s"),
        (3840, 0.48, None),
        (3840, 0.47, None),
        (None, 3.0, None),
    ],
)
def test_a_block_of_another_length_than_was_asked_for_is_told(samples, seconds, said):
    card = {"name": "x", "block_samples": samples, "sample_rate": 8000}
    note = request.block_note(card, seconds)
    assert (note is None) if said is None else note.startswith(said)
