"""Universal music translation: its reference's numbers, and a sampler that says what they say."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kzoo import losses, models
from kzoo.models.music_translation import (
    VARIANTS,
    Discriminator,
    MusicTranslation,
    Sampler,
    build,
    discriminator,
    encoder,
)
from kzoo.training.confusion import DomainConfusion

MINI = MusicTranslation(
    domains=("a", "b", "c"), encoder_stacks=2, encoder_depth=3, encoder_channels=6, latent=5,
    pool=12, stacks=2, depth=4, residual=6, skip=7,
)  # fmt: skip
TINY = VARIANTS["tiny"]


def flat(kernel):
    """PyTorch's `[out, in, taps]`, taps before what goes in, and what comes out last."""
    kernel = np.transpose(kernel, (2, 1, 0))
    return kernel.reshape(-1, kernel.shape[-1])


def gates(array):
    """The half of tanh before that of sigmoid, other than on the reference's last axis."""
    return np.roll(array, array.shape[-1] // 2, axis=-1)


def assign(network, vector, layers, names, *, number=None):
    """Give layers the vector's weights; number: of the domain in a bank, the others stay."""
    for layer, name in zip(layers, names, strict=True):
        pair = [flat(vector[f"{network}.{name}.weight"]), vector[f"{network}.{name}.bias"]]
        if "causal" in name or ".condition" in name:
            pair = [gates(x) for x in pair]
        for weight, new in zip(layer.weights, pair, strict=True):
            new = new.reshape(weight.shape[-new.ndim :] if number is not None else weight.shape)
            if number is not None:
                whole = np.array(weight)
                whole[number] = new
                new = whole
            weight.assign(new)


def of_encoder(model):
    """Layers of the encoder, and the reference's names of them."""
    inner = [(f"encoder{n + 1}_{own}", f"dilated_convs.{n}.{other}") for n in range(6)
             for own, other in (("dilated", "dilated_conv"), ("dense", "conv_1x1"))]  # fmt: skip
    pairs = [("encoder_first", "start"), *inner, ("encoder_latent", "conv_1x1")]
    return [model.get_layer(own) for own, _ in pairs], [name for _, name in pairs]


def of_decoder(model):
    pairs = [
        (model.get_layer(own), name)
        for own, name in (
            ("first", "first_conv"), ("first_skip", "skip_conv"), ("output1", "fc"),
            ("output1_latent", "condition"), ("output2", "logits"),
        )
    ]  # fmt: skip
    for n in range(8):
        block = model.get_layer(f"block{n + 1}")
        pairs += [
            (block.gates, f"layers.{n}.causal"), (block.to_residual, f"layers.{n}.residual"),
            (block.to_skip, f"layers.{n}.skip"),
            (model.get_layer(f"block{n + 1}_latent"), f"layers.{n}.condition"),
        ]  # fmt: skip
    return [layer for layer, _ in pairs], [name for _, name in pairs]


@pytest.fixture(scope="module")
def vector(vectors):
    return vectors("umt_small")


@pytest.fixture(scope="module")
def reference(vector):
    """(model, classifier) with the reference's weights, its decoder that of domain 1."""
    model = build(MINI)
    assign("param/encoder", vector, *of_encoder(model.get_layer("encoder")))
    assign("param/decoder", vector, *of_decoder(model), number=1)
    classifier = discriminator(Discriminator(width=8), latent=5, domains=3)
    names = [f"convs.{n}" for n in (0, 2, 4, 6)]
    layers = [layer for layer in classifier.layers if layer.weights]
    assign("param/discriminator", vector, layers, names)
    return model, classifier


def fed(vector):
    """What the reference's second step hears: its decoder is told of x from before x."""
    x = vector["x"][..., None]
    past = np.concatenate([np.full_like(x[:, :1], -1), x[:, :-1]], axis=1)
    return {"heard": vector["x_aug"][..., None], "past": past, "domain": np.array([[1], [1]])}


def test_numbers_are_those_of_the_reference(vector, reference):
    model, classifier = reference
    latents = model.get_layer("encoder")(vector["x"][..., None])
    np.testing.assert_allclose(latents, vector["z_clean"].transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_allclose(classifier(latents), vector["domain_logits_clean"], atol=1e-6)
    found = np.asarray(model(fed(vector)))
    np.testing.assert_allclose(found, vector["logits"].transpose(0, 2, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "of_encoder", "of_decoder", "of_classifier", "reach"),
    [
        ("musicnet", 1_982_528, 6_540_288, 27_306, 65_534),
        ("paper", 1_990_784, 5_356_544, 33_706, 4094),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_reference(variant, of_encoder, of_decoder, of_classifier, reach):
    size = dataclasses.replace(VARIANTS[variant], domains=("a", "b"))
    with keras.StatelessScope(initialize_variables=False):  # of which no weight is drawn
        assert encoder(size).count_params() == of_encoder
        assert build(size).count_params() == of_encoder + 2 * of_decoder
        classifier = discriminator(Discriminator(), latent=size.latent, domains=6)
        assert classifier.count_params() == of_classifier
    assert size.receptive_field == reach
    assert 2 * size.encoder_reach + 1 == 6141
    assert len(VARIANTS[variant].domains) == 6


def test_each_domain_has_a_decoder_of_its_own():
    model, rng = build(TINY), np.random.default_rng(0)
    codes = rng.integers(0, 16, (1, 80, 1))
    given = {"heard": np.repeat(codes, 3, 0), "past": np.repeat(codes, 3, 0)}
    together = np.asarray(model({**given, "domain": np.array([[0], [1], [2]])}))
    alone = model({"heard": codes, "past": codes, "domain": np.array([[2]])})
    np.testing.assert_allclose(together[2:], alone, atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_a_latent_vector_depends_on_its_surroundings_and_no_further():
    network, rng = encoder(TINY), np.random.default_rng(0)
    codes = rng.integers(0, 16, (1, 400, 1))
    reach = TINY.encoder_reach
    start, stop = 160 - reach, 200 + reach  # what the fifth vector depends on
    other = rng.integers(0, 16, codes.shape)
    other[:, start:stop] = codes[:, start:stop]
    whole = np.asarray(network(codes))
    np.testing.assert_array_equal(whole[:, 4], np.asarray(network(other))[:, 4])
    other[:, start] = (codes[:, start] + 8) % 16
    assert np.abs(whole[:, 4] - np.asarray(network(other))[:, 4]).max() > 0


SHORT = dataclasses.replace(TINY, pool=8)
CASES = {"tiny": SHORT, "three taps": dataclasses.replace(SHORT, kernel_size=3, stacks=1, latent=7)}


@pytest.mark.parametrize("size", CASES.values(), ids=CASES)
def test_a_sampler_says_of_each_sample_what_the_whole_network_says(size):
    rng = np.random.default_rng(0)
    model = build(size)
    codes = rng.integers(0, 16, (2, 2, 24, 1))
    given = {"heard": codes[0], "past": codes[1], "domain": np.array([[2], [2]])}
    whole = np.asarray(model(given))
    sampler = Sampler(model, size, domain=2)
    state = sampler.state(2)
    known = sampler.conditions(latents=model.get_layer("encoder")(codes[0]))
    step = tf.function(sampler.step, autograph=False)
    for at in range(24):
        past = ops.convert_to_tensor(codes[1][:, at : at + 1])
        found, state = step(past, state, tf.constant(at), known[:, at : at + 1])
        np.testing.assert_allclose(found[:, 0], whole[:, at], atol=2e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"levels": 1}, "levels and kernel_size must be 2 or more"),
        ({"domains": ["a"]}, "domains must be two or more different names; got .'a'."),
        ({"pool": 0}, "pool must be above 0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        models.sizes("music_translation", variant="tiny", **wrong)


def test_a_number_of_samples_that_is_no_whole_latent_vector_is_refused():
    with pytest.raises(ValueError, match="whole latent vectors of 40; got 50, the nearest is 40"):
        build(TINY, samples=50)


def steps_of(reference, vector, *, learning_rate, classifiers):
    """What a step of plain descent takes from each weight, by its path."""
    model, classifier = (keras.models.clone_model(one) for one in reference)
    for one, other in zip((model, classifier), reference, strict=True):
        one.set_weights(other.get_weights())
    trainer = DomainConfusion(model, classifier)
    trainer.compile(
        keras.optimizers.SGD(learning_rate), loss=losses.get("code_cross_entropy"), weight=0.01,
        discriminator_optimizer=keras.optimizers.SGD(classifiers),
    )  # fmt: skip
    before = [w.numpy() for w in (*model.weights, *classifier.weights)]
    found = trainer.train_on_batch(fed(vector), vector["x"][..., None], return_dict=True)
    for weight, old in zip((*model.weights, *classifier.weights), before, strict=True):
        weight.assign(old - weight)
    return model, classifier, found


def test_gradients_of_both_steps_are_those_of_the_reference(vector, reference, eagerly):
    model, _, logs = steps_of(reference, vector, learning_rate=1.0, classifiers=0.0)
    names = [name for name in vector if name.startswith("param/")]
    wanted = {name: vector.get(name.replace("param/", "grad/")) for name in names}
    wanted = {name: 0 * vector[name] if x is None else x for name, x in wanted.items()}
    twin = build(MINI)
    assign("param/encoder", wanted, *of_encoder(twin.get_layer("encoder")))
    for weight in twin.weights:
        if "encoder" not in weight.path:
            weight.assign(0 * weight)  # the other domains learn nothing
    assign("param/decoder", wanted, *of_decoder(twin), number=1)
    for found, right in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=2e-6, err_msg=right.path)
    assert logs["loss"] == pytest.approx(vector["loss_recon_per_example"].mean(), abs=1e-5)
    assert logs["adversarial_loss"] == pytest.approx(vector["loss_domain_wrong"], abs=1e-6)
    _, classifier, logs = steps_of(reference, vector, learning_rate=0.0, classifiers=0.01)
    assert logs["discriminator_loss"] == pytest.approx(vector["loss_domain_right"], abs=1e-6)
    layers = [layer for layer in classifier.layers if layer.weights]
    for layer, n in zip(layers, (0, 2, 4, 6), strict=True):
        kernel, bias = (wanted[f"param/discriminator.convs.{n}.{x}"] for x in ("weight", "bias"))
        np.testing.assert_allclose(layer.kernel, flat(kernel), atol=1e-6)
        np.testing.assert_allclose(layer.bias, bias, atol=1e-6)
