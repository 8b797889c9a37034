"""Taggers of minzwon's repository: their trained weights, their names, and what is refused."""

import dataclasses

import numpy as np
import pytest

from kzoo.convert import sota_tagging


@pytest.mark.parametrize(("network", "tolerance"), [
    pytest.param("fcn", 1e-4, marks=pytest.mark.slow), ("crnn", 1e-4), ("musicnn", 2e-4),
])  # fmt: skip
def test_the_trained_weights_of_magnatagatune_give_its_tags(network, tolerance, vectors, shared):
    recorded = vectors("tag_trained")
    with np.load(shared / f"data/weights/sota_tagging/mtat_{network}.npz") as arrays:
        weights = dict(arrays)
    size = sota_tagging.SIZES[network]
    model = sota_tagging.from_weights(weights, size)
    assert size.names == tuple(recorded["mtat_tags"])
    sound = np.float32(recorded["audio_int16"] / 32768)
    sound = sound[:48_000] if network == "musicnn" else sound
    said = np.asarray(model(sound[None, :, None]))[0]
    np.testing.assert_allclose(said, recorded[f"mtat_{network}/output"], atol=tolerance)


def test_weights_that_do_not_fit_are_named_and_what_torchaudio_keeps_is_not_asked_for(vectors):
    recorded = vectors("tag_fcn")
    weights = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    size = dataclasses.replace(sota_tagging.SIZES["fcn"], filters=(4, 6, 6, 6, 5))
    kept = {"spec.spectrogram.window": 0, "spec.mel_scale.fb": 0, "spec_bn.num_batches_tracked": 0}
    sota_tagging.from_weights({**weights, **kept}, size)
    less = {name: value for name, value in weights.items() if name != "dense.bias"}
    with pytest.raises(ValueError, match=r"missing: dense\.bias; unused: more"):
        sota_tagging.from_weights({**less, "more": 0}, size)
    with pytest.raises(ValueError, match=r"wrong shape: layer1\.conv\.weight is \(4, 1, 3, 3\)"):
        sota_tagging.from_weights(weights, sota_tagging.SIZES["fcn"])
