"""Universal music translation: its reference's numbers, and a sampler that says what they say."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kzoo import losses, models
from kzoo.convert import music_translation
from kzoo.generation.loops import Loop
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


def named(vector, kind):
    """The encoder's arrays of a kind, and the decoder's as those of b, as `convert` has them.

    The other domains are given zeros.
    """
    found = {k[len(kind) + 1 :]: x for k, x in vector.items() if k.startswith(f"{kind}/encoder.")}
    for k, x in vector.items():
        if k.startswith(f"{kind}/decoder."):
            name = k.partition(".")[2]
            found |= {f"a.{name}": 0 * x, f"b.{name}": x, f"c.{name}": 0 * x}
    return found


def converted(weights, depth=4):
    told = {"encoder_depth": 3, "pool": 12, "sample_rate": 16000}
    return music_translation.from_weights(weights, depth=depth, **told)


@pytest.fixture(scope="module")
def vector(vectors):
    return vectors("umt_small")


@pytest.fixture(scope="module")
def reference(vector):
    """(model, classifier) with the reference's weights, its decoder that of domain 1."""
    classifier = discriminator(Discriminator(width=8), latent=5, domains=3)
    classifier.set_weights(of_classifier(vector, "param"))
    return converted(named(vector, "param")), classifier


def of_classifier(vector, kind):
    names = [
        f"{kind}/discriminator.convs.{n}.{x}" for n in (0, 2, 4, 6) for x in ("weight", "bias")
    ]
    return [vector[name][..., 0].T if "weight" in name else vector[name] for name in names]


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


def test_the_likeliest_codes_are_those_that_the_reference_generates(vector, reference):
    """Its generator begins with the code 128 and empty queues, and keeps to the highest logit."""
    model, _ = reference
    latents = vector["generation_z"].transpose(0, 2, 1)
    expected = vector["generated_argmax"]
    loop = Loop.of_translation(model, MINI, domain=1)
    sampler = Sampler(model, MINI, domain=1)
    codes, _, _ = loop(
        np.array([[128.0]]), sampler.state(1), 0, np.zeros((len(expected), 1, 2)),
        sampler.conditions(latents=latents), temperature=0.0,
    )  # fmt: skip
    np.testing.assert_array_equal(codes[0], expected)


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
    network.set_weights([np.abs(x) + 0.1 for x in network.get_weights()])  # so that no unit rests
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
    nothing = {name: 0 * x for name, x in named(vector, "param").items()}
    twin = converted({**nothing, **named(vector, "grad")})  # the other domains learn nothing
    for found, right in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=2e-6, err_msg=right.path)
    assert logs["loss"] == pytest.approx(vector["loss_recon_per_example"].mean(), abs=1e-5)
    assert logs["adversarial_loss"] == pytest.approx(vector["loss_domain_wrong"], abs=1e-6)
    _, classifier, logs = steps_of(reference, vector, learning_rate=0.0, classifiers=0.01)
    assert logs["discriminator_loss"] == pytest.approx(vector["loss_domain_right"], abs=1e-6)
    for found, right in zip(classifier.get_weights(), of_classifier(vector, "grad"), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-6)


def test_weights_that_do_not_fit_are_named(vector):
    weights = named(vector, "param")
    spare = {**weights, "b.layers.0.other.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"unused: b\.layers\.0\.other\.bias"):
        converted(spare)
    del weights["b.layers.5.skip.bias"]
    with pytest.raises(ValueError, match=r"missing: layers\.5\.skip\.bias"):
        converted(weights)
    with pytest.raises(ValueError, match="8 layers are no whole stacks of 14"):
        converted(named(vector, "param"), depth=14)
    with pytest.raises(ValueError, match="no weights of music translation"):
        converted({"encoder.start.weight": np.zeros((6, 1, 3))})
