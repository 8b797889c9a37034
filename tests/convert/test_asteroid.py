"""asteroid's state dicts: every weight finds its place, or is named."""

import re

import numpy as np
import pytest
from made_once import drawn_once

from kzoo.convert import asteroid
from kzoo.models import conv_tasnet, tasnet

CONV = {"n_src": 2, "filters": 6, "length": 8, "bottleneck": 3, "hidden": 5, "count": 4}


each_network_is_drawn_once = drawn_once((conv_tasnet, "core"), (tasnet, "core"))


def norm_weights(rng, kind, width):
    if kind != "batch":
        return {name: rng.standard_normal(width) for name in ("gamma", "beta")}
    names = ("weight", "bias", "running_mean", "running_var")
    return {**{name: rng.uniform(0.5, 1, width) for name in names}, "num_batches_tracked": 7}


def conv_weights(rng, *, skip=4, causal=False, kind="gln"):
    """A state dict as asteroid's ConvTasNet has it, by the shapes of its layers."""
    bottleneck, hidden = CONV["bottleneck"], CONV["hidden"]
    found = {
        "encoder.filterbank._filters": rng.standard_normal((6, 1, 8)),
        "decoder.filterbank._filters": rng.standard_normal((6, 1, 8)),
        "masker.mask_net.0.weight": np.array([0.2]),
        "masker.mask_net.1.weight": rng.standard_normal((12, skip or bottleneck, 1)),
        "masker.mask_net.1.bias": rng.standard_normal(12),
        "masker.bottleneck.1.weight": rng.standard_normal((bottleneck, 6, 1)),
        "masker.bottleneck.1.bias": rng.standard_normal(bottleneck),
    }
    found |= {f"masker.bottleneck.0.{k}": v for k, v in norm_weights(rng, kind, 6).items()}
    for number in range(CONV["count"]):
        at = f"masker.TCN.{number}"
        convolutions = {
            "shared_block.0": (hidden, bottleneck, 1),
            "shared_block.3.0" if causal else "shared_block.3": (hidden, 1, 3),
            "res_conv": (bottleneck, hidden, 1),
            **({"skip_conv": (skip, hidden, 1)} if skip else {}),
        }
        for name, shape in convolutions.items():
            found[f"{at}.{name}.weight"] = rng.standard_normal(shape)
            found[f"{at}.{name}.bias"] = rng.standard_normal(shape[0])
        for slope, norm in ((1, 2), (4, 5)):
            found[f"{at}.shared_block.{slope}.weight"] = np.array([0.1])
            found |= {
                f"{at}.shared_block.{norm}.{k}": v
                for k, v in norm_weights(rng, kind, hidden).items()
            }
    return found


def lstm_weights(rng, *, bidirectional=True):
    found = {
        "decoder.filterbank._filters": rng.standard_normal((6, 1, 8)),
        "encoder.encoder_sig.filterbank._filters": rng.standard_normal((6, 1, 8)),
        "masker.bn_layer.gamma": rng.standard_normal(6),
        "masker.bn_layer.beta": rng.standard_normal(6),
        "masker.masker.1.weight": rng.standard_normal((12, 10 if bidirectional else 5)),
        "masker.masker.1.bias": rng.standard_normal(12),
    }
    for name in ("encoder", "encoder.encoder_relu"):
        found[f"{name}.filterbank._filters"] = np.ones((6, 1, 8))
    for layer, width in enumerate((6, 10 if bidirectional else 5)):
        for way in ("", "_reverse") if bidirectional else ("",):
            at = f"l{layer}{way}"
            found |= {
                f"masker.masker.0.rnn.{name}_{at}": rng.standard_normal(shape)
                for name, shape in (("weight_ih", (20, width)), ("weight_hh", (20, 5)),
                                    ("bias_ih", (20,)), ("bias_hh", (20,)))
            }  # fmt: skip
    return found


UNTOLD = {"norm": "gln", "mask": "sigmoid", "encoder_activation": "linear"}


@pytest.mark.parametrize("skip", [0, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_what_the_network_is_like_is_read_off_its_weights(rng, skip, causal):
    weights = conv_weights(rng, skip=skip, causal=causal, kind="batch")
    model = asteroid.from_weights(weights, sources=["a", "b"], blocks=2, **UNTOLD)
    assert model.output_shape[1] == 2
    names = {layer.name for layer in model.layers}
    assert ("block2_2_residual" in names) == (not skip)
    assert ("block1_1_past" in names) == causal
    assert type(model.get_layer("input_norm")).__name__ == "BatchNormalization"
    mean = model.get_layer("block2_1_depthwise_norm").moving_mean
    np.testing.assert_allclose(mean, weights["masker.TCN.2.shared_block.5.running_mean"], rtol=1e-6)
    kernel = np.asarray(model.get_layer("block2_1_depthwise").kernel)  # [taps, channels, 1]
    theirs = weights[f"masker.TCN.2.shared_block.3.{'0.' if causal else ''}weight"]
    np.testing.assert_allclose(kernel[:, :, 0], theirs[:, 0].T, rtol=1e-6)


def test_a_conv_tasnets_missing_or_unused_weight_is_named(rng):
    weights = conv_weights(rng)
    last = "masker.TCN.3.res_conv"  # it reaches no output
    for name in [name for name in weights if not name.startswith(last)][::5]:
        rest = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(ValueError, match=f"missing: {re.escape(name)}"):
            asteroid.from_weights(rest, blocks=2, **UNTOLD)
    rest = {key: value for key, value in weights.items() if not key.startswith(last)}
    asteroid.from_weights(rest, blocks=2, **UNTOLD)
    with pytest.raises(ValueError, match="unused: extra"):
        asteroid.from_weights({**weights, "extra": np.zeros(3)}, blocks=2, **UNTOLD)
    with pytest.raises(ValueError, match="blocks must divide the 4 blocks of these weights; got 3"):
        asteroid.from_weights(weights, blocks=3, **UNTOLD)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_tasnets_biases_are_summed_and_missing_ones_named(rng, bidirectional):
    weights = lstm_weights(rng, bidirectional=bidirectional)
    model = asteroid.from_weights(weights, mask="sigmoid")
    layer = model.get_layer("lstm2")
    cell = layer.backward_layer.cell if bidirectional else layer.cell
    at = "masker.masker.0.rnn.{}_l1" + ("_reverse" if bidirectional else "")
    both = weights[at.format("bias_ih")] + weights[at.format("bias_hh")]
    np.testing.assert_allclose(cell.bias, both, rtol=1e-6)
    np.testing.assert_allclose(cell.kernel, weights[at.format("weight_ih")].T, rtol=1e-6)
    for name in ("bias_ih", "bias_hh", "weight_ih"):
        rest = {key: value for key, value in weights.items() if key != at.format(name)}
        with pytest.raises(ValueError, match=f"missing: {at.format(name)}"):
            asteroid.from_weights(rest, mask="sigmoid")
    with pytest.raises(ValueError, match="unused: extra"):
        asteroid.from_weights({**weights, "extra": np.zeros(3)}, mask="sigmoid")
    other = {**weights, "encoder.encoder_relu.filterbank._filters": np.zeros((6, 1, 8))}
    with pytest.raises(ValueError, match="one filterbank in asteroid; these differ"):
        asteroid.from_weights(other, mask="sigmoid")


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"masker\.TCN\.\*.*got conv2d/kernel"):
        asteroid.from_weights({"conv2d/kernel": np.zeros(3)})
