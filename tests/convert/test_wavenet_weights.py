"""WaveNets of r9y9's checkpoints, of the layout of 0.1 and of the later one."""

from pathlib import Path

import numpy as np
import pytest

from kzoo.convert import wavenet

DEPTH = 3
VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture(scope="module")
def checkpoint():
    """A file that the program wrote, for its tests of what the weights say."""
    return wavenet.read(VECTORS / "wavenet_r9y9_0_1.pth")


def converted(weights, **options):
    return wavenet.from_weights(weights, **{"sample_rate": 16000, "depth": DEPTH, **options})


def test_a_checkpoint_of_0_1_says_what_its_network_says(vectors, checkpoint):
    vector, model = vectors("wavenet_r9y9_0_1"), converted(checkpoint)
    given = {name: vector[name][None] for name in ("past", "mel")} | {"speaker": vector["speaker"]}
    upsampled = model.get_layer("upsampling")(given["mel"])[0]
    np.testing.assert_allclose(upsampled, vector["upsampled"], atol=1e-6)
    np.testing.assert_allclose(model(given)[0], vector["parameters"], atol=2e-6)


def test_speakers_have_the_names_that_are_given(checkpoint):
    assert wavenet.options_of(checkpoint, depth=DEPTH)["speakers"] == ("0", "1", "2")
    named = wavenet.options_of(checkpoint, speakers=["a", "b", "c"], depth=DEPTH)
    assert named["speakers"] == ("a", "b", "c")
    with pytest.raises(ValueError, match="the weights have 3 speakers; got the names of 2"):
        wavenet.options_of(checkpoint, speakers=("a", "b"), depth=DEPTH)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda w: w.pop("conv_layers.4.conv1x1g.bias"), {}, r"conv_layers.4.conv.bias \+"),
        (lambda w: w.pop("conv_layers.1.conv1x1_out.weight_g"), {}, "1.conv1x1_out.weight_v"),
        (lambda w: w.update(more=np.zeros(3)), {}, "unused: more"),
        (lambda w: w.pop("first_conv.weight_v"), {}, "missing: first_conv.weight"),
        (lambda w: w.pop("embed_speakers.weight"), {"speakers": ("a",)}, "the weights have one"),
        (lambda w: None, {"depth": 4}, "6 layers are no whole stacks of 4"),
    ],
)
def test_weights_that_do_not_fit_are_named(checkpoint, change, options, said):
    weights = dict(checkpoint)
    change(weights)
    with pytest.raises(ValueError, match=said):
        converted(weights, **options)


def test_a_network_without_conditions_must_be_said_to_be_of_which_layout(vectors):
    vector = vectors("wavenet_r9y9_plain")
    weights = {name[len("param/") :]: x for name, x in vector.items() if "param/" in name}
    with pytest.raises(ValueError, match="give older"):
        converted(weights)
