"""A generator and its adversary: on numbers, on speech-like sound, interrupted and halved."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_runs import (
    assert_same_runs,
    checkpoint,
    copies_after_the_first_epoch,
    history,
    replaced,
    without_graphs,
)

import kzoo
from kzoo import data, presets
from kzoo.layers.latent import Latent
from kzoo.layers.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm
from kzoo.training import AdversarialModel, AdversaryWatch, compiled, resolved, train
from kzoo.training.adversarial import complaints
from kzoo.training.optimizers import averaged

RATE = {"name": "rmsprop", "learning_rate": 1e-3}
SETTINGS = {
    "name": "tiny_gan",
    "seed": 3,
    "model": {"name": "segan", "sources": ["vocals"], "variant": "tiny", "filters": [3]},
    "data": {
        "train": {"kind": "synthetic", "tracks": 2, "seconds": 3.0},
        "validation": {"kind": "synthetic", "tracks": 1, "seconds": 1.0, "seed": 9},
    },
    "loss": {"name": "l1"},
    "optimizer": {**RATE, "ema_momentum": 0.5},
    "adversary": {
        "weight": 0.1, "optimizer": {**RATE, "global_clipnorm": 1.0}, "label_smoothing": 0.1,
        "noise_std": 0.05, "network": {"reference_examples": 3, "filters": [3]},
    },
    "fit": {"batch_size": 4, "epochs": 2, "steps_per_epoch": 2},
}  # fmt: skip
LOGS = {
    "loss", "adversarial_loss", "discriminator_loss", "generator_gradient",
    "discriminator_gradient", "real_accuracy", "fake_accuracy", "adversarial_share", "z_effect",
    "val_loss",
}  # fmt: skip


def settings(**changes):
    """SETTINGS with "section__key" replaced."""
    return replaced(SETTINGS, **changes)


def run(folder, **changes):
    """(folder, lines) of a run."""
    lines = []
    return train(settings(**changes), folder, say=lines.append), lines


def numbers_gan(learning_rate=2e-3, latent=True, **options):
    """Something else than SEGAN: single numbers, without inputs that matter, targets or losses."""
    keras.utils.set_random_seed(1)
    ignored = keras.Input((1,))
    z = Latent((4,), "zero", name="latent")(ignored)
    x = keras.layers.Dense(32, "relu", name="hidden")(z if latent else ignored)
    generator = keras.Model(ignored, keras.layers.Dense(1, name="number")(x))
    seen = keras.Input((1,))
    x = keras.layers.Dense(32, "relu", name="d_hidden1")(seen)
    x = keras.layers.Dense(32, "relu", name="d_hidden2")(x)
    discriminator = keras.Model(seen, keras.layers.Dense(1, name="d_logit")(x))
    model = AdversarialModel(generator, discriminator, latent=latent)
    model.compile(
        keras.optimizers.Adam(learning_rate, beta_1=0.5),
        discriminator_optimizer=keras.optimizers.Adam(learning_rate, beta_1=0.5), **options,
    )  # fmt: skip
    return model


def numbers(rng, count=4096):
    """Normal numbers around 3 with a deviation of a half."""
    real = (3 + 0.5 * rng.standard_normal((count, 1))).astype(np.float32)
    return np.zeros_like(real), real


# With a hinge the mean goes on swinging around 3: by up to 0.43 with five seeds, of 3 at the start.
@pytest.mark.parametrize(
    ("adversarial", "within"),
    [("least_squares", 0.3), pytest.param("hinge", 0.6, marks=pytest.mark.slow)],
)
def test_a_distribution_is_learned_from_the_adversary_alone(rng, adversarial, within):
    model = numbers_gan(4e-3, adversarial=adversarial, steps=2, noise_std=0.5, noise_steps=50)
    model.fit(*numbers(rng, 6400), batch_size=64, epochs=2, verbose=0)
    made = np.asarray(model.generator(np.zeros((4000, 1)), training=True))
    assert abs(made.mean() - 3) < within
    assert 0.2 < made.std() < 0.8
    assert model.get_metrics_result()["z_effect"] > 0.05


def test_gradients_are_those_of_the_two_losses_summed(rng):
    inputs, real = numbers(rng, 8)
    model = numbers_gan(latent=False, loss="mae", weight=0.3)
    weights = model.generator.trainable_weights
    inputs = inputs + 0.5
    seen = []
    model.optimizer.apply_gradients = lambda pairs: seen.extend(g for g, _ in pairs)
    model._generator_step(tf.constant(inputs), tf.constant(real), model.generator(inputs))
    with tf.GradientTape() as tape:
        estimate = model.generator(inputs)
        fooling = tf.reduce_mean((model.discriminator(estimate) - 1.0) ** 2)
        loss = tf.reduce_mean(tf.abs(estimate - real)) + 0.3 * fooling
    for found, expected in zip(seen, tape.gradient(loss, weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_discriminator_takes_its_steps_and_each_network_only_its_own(rng, eagerly):
    inputs, real = numbers(rng, 8)
    model = numbers_gan(steps=3)
    model.train_on_batch(inputs, real)
    assert int(model.discriminator_optimizer.iterations) == 3
    assert int(model.optimizer.iterations) == 1
    one, other = (
        {id(weight) for weight in network.trainable_weights}
        for network in (model.generator, model.discriminator)
    )
    assert {id(w) for w in model.optimizer._trainable_variables} == one
    assert {id(w) for w in model.discriminator_optimizer._trainable_variables} == other


def test_noise_is_white_and_decays_with_the_discriminators_steps():
    class Seen(keras.layers.Layer):
        def call(self, x):
            return x

    model = numbers_gan(noise_std=2.0, noise_decay=0.5, noise_steps=1)
    model.discriminator = keras.Sequential([keras.Input((1,)), Seen()])
    zeros = tf.zeros((20000, 1))
    for step, expected in enumerate([2.0, 1.0, 0.5]):
        model.discriminator_optimizer.iterations.assign(step)
        assert abs(float(tf.math.reduce_std(model._judged(zeros, zeros))) - expected) < 0.05


def test_a_latent_that_is_ignored_is_seen_and_said(rng, eagerly):
    model = numbers_gan(learning_rate=0.0)
    hidden = model.generator.get_layer("hidden")
    hidden.kernel.assign(tf.zeros_like(hidden.kernel))
    model.generator.get_layer("number").bias.assign([1.0])
    lines = []
    model.fit(*numbers(rng, 8), epochs=2, verbose=0, callbacks=[AdversaryWatch(lines.append)])
    assert sum("ignores z" in line for line in lines) == 1  # when it begins, not every epoch


@pytest.mark.parametrize(
    ("logs", "kinds"),
    [
        ({"real_accuracy": 0.7, "fake_accuracy": 0.8, "adversarial_share": 0.3}, set()),
        ({"real_accuracy": 0.99, "fake_accuracy": 1.0}, {"saturated"}),
        ({"real_accuracy": 1.0, "fake_accuracy": 0.01}, {"chance"}),
        ({"real_accuracy": 0.7, "fake_accuracy": 0.7, "adversarial_share": 1e-4}, {"weight"}),
        ({"real_accuracy": 0.7, "fake_accuracy": 0.7, "adversarial_share": 0.97}, {"dominant"}),
        ({"real_accuracy": 0.7, "fake_accuracy": 0.7, "adversarial_share": 1.0}, set()),  # alone
        ({"real_accuracy": 0.7, "fake_accuracy": 0.7, "z_effect": 1e-5}, {"z"}),
    ],
)
def test_each_fault_of_the_adversaries_has_its_complaint(logs, kinds):
    assert set(complaints(logs)) == kinds


def test_mistakes_of_compile_are_refused():
    model, optimizers = numbers_gan(), {"optimizer": "sgd", "discriminator_optimizer": "sgd"}
    for options in ({"steps": 0}, {"noise_std": -1.0}, {"label_smoothing": 1.0}, {"weight": -1.0}):
        with pytest.raises(ValueError, match="must"):
            model.compile(**optimizers, **options)
    with pytest.raises(ValueError, match="no adversarial loss is called"):
        model.compile(**optimizers, adversarial="wasserstein")
    seen = keras.Input((1,))
    regular = keras.Model(seen, keras.layers.Dense(1, kernel_regularizer="l2")(seen))
    with pytest.raises(ValueError, match="weight_decay"):
        AdversarialModel(regular, regular).compile(**optimizers)


def test_virtual_norms_mix_a_reference_with_the_live_batch(rng):
    reference, live = rng.standard_normal((2, 6, 5, 2)) * 2 + 1
    live = live[:4]
    layer = VirtualBatchNorm(6)
    found, own = (
        np.asarray(y) for y in layer(live.astype("f"), reference.astype("f"), training=True)
    )
    gamma = np.asarray(layer.gamma)
    mean = live.mean((0, 1)) / 7 + reference.mean((0, 1)) * 6 / 7
    square = (live**2).mean((0, 1)) / 7 + (reference**2).mean((0, 1)) * 6 / 7
    expected = (live - mean) / np.sqrt(square - mean**2 + 1e-5) * gamma
    np.testing.assert_allclose(found, expected, atol=1e-5)
    scale = np.sqrt(reference.var((0, 1)) + 1e-5)
    np.testing.assert_allclose(own, (reference - reference.mean((0, 1))) / scale * gamma, atol=1e-5)
    np.testing.assert_allclose(layer(live.astype("f")), expected, atol=1e-5)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of two epochs without a stop; "first" beside it is what its first epoch left."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    with without_graphs():  # modules' fixtures come before `eagerly`
        return train(settings(), folder, say=copies_after_the_first_epoch(folder, "first"))


@pytest.fixture(scope="module")
def made():
    """The same, built and not trained."""
    return compiled(resolved(settings()))


@pytest.fixture(scope="module")
def alone():
    """The generator without its adversary."""
    return compiled(resolved(settings(adversary=None)))


def test_a_run_logs_what_both_networks_do(straight):
    rows = history(straight)
    assert all(set(row) == {*LOGS, "epoch", "learning_rate"} for row in rows)
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert all(0 < row["adversarial_share"] < 1 and row["z_effect"] > 0 for row in rows)


def test_a_run_that_is_interrupted_goes_on_bit_by_bit(straight, tmp_path, eagerly):
    folder = shutil.copytree(straight.with_name("first"), tmp_path / "interrupted")
    assert len(history(folder)) == 1
    run(folder)
    assert_same_runs(folder, straight)


def test_the_checkpoint_holds_both_networks_both_optimizers_and_the_random_state(straight):
    names = " ".join(checkpoint(straight))
    for part in ("enc1_conv", "disc1_conv", "reference/reference", "reference_mean_square",
                 "average", "seed_generator_state"):  # fmt: skip
        assert part in names, part
    values = list(checkpoint(straight).items())
    steps = [int(value) for name, value in values if name.endswith("iteration")]
    assert steps == [4, 4]
    seeds = [name for name, _ in values if "seed_generator_state" in name]
    assert len(seeds) == 3  # z, the noise, and the phase shift
    reference = next(value for name, value in values if name.endswith("reference/reference"))
    assert reference.shape == (3, 1024, 2)
    assert reference[0].std(axis=0).min() > 0


def test_the_run_folder_is_a_preset_of_the_averaged_generator(straight, made):
    card = presets.load_card(straight)
    assert card["trained"]["adversary"]["loss"] == "least_squares"
    assert card["trained"]["best_epoch"] == 2  # the latest
    model = presets.from_preset(straight)
    assert model.name == "segan"
    assert not any("disc" in weight.path for weight in model.weights)
    for variable, value in zip(
        [*made.trainer.variables, *made.trainer.optimizer.variables,
         *made.trainer.discriminator_optimizer.variables],
        checkpoint(straight).values(), strict=True,
    ):  # fmt: skip
        variable.assign(value)
    own = made.system.get_weights()
    with averaged(made.trainer):
        averages = made.system.get_weights()
    for kept, average in zip(model.get_weights(), averages, strict=True):
        np.testing.assert_array_equal(kept, average)
    assert any(not np.array_equal(a, b) for a, b in zip(own, averages, strict=True))


def test_without_weight_there_is_no_adversary(alone):
    for made in (alone, compiled(resolved(settings(adversary__weight=0.0)))):
        assert made.trainer is made.graph
        assert not any("disc" in variable.path for variable in made.trainer.variables)
        made.begin(None)  # there is no reference to take


def test_the_latest_weights_ship_unless_the_best_are_asked_for(tmp_path):
    from kzoo.training.callbacks import Checkpoints, Meter

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd")
    for latest, expected in ((True, [1, 2, 3]), (False, [1, 3])):
        shipped = []
        kept = Checkpoints(
            tmp_path, others=[], save_preset=lambda state, to=shipped: to.append(state["epoch"]),
            meter=Meter(), say=print, data={}, latest=latest,
        )  # fmt: skip
        kept.set_model(model)
        kept.set_params({"steps": 1, "epochs": 9})
        for epoch, loss in enumerate([2.0, 3.0, 1.0]):
            kept.on_epoch_begin(epoch)
            kept.on_epoch_end(epoch, {"loss": 1.0, "val_loss": loss})
        assert shipped == expected


def eager_steps(made, count=2):
    """Steps without a graph, which takes longer to trace than to run; the logs of the last."""
    examples, _ = made.open_data(made.values)
    made.begin(examples)
    for number in range(count):
        batch = {k: tf.constant(v) for k, v in data.batch(examples, number, 4).items()}
        logs = made.trainer.train_step(made.pair(batch))
    return {name: float(value) for name, value in logs.items()}


def made_of(**changes):
    values = resolved(settings(**changes))
    made = compiled(values)
    made.values = values
    return made


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_stays_finite_and_has_float32_weights(precision):
    made = made_of(fit__precision=precision)
    before = made.trainer.discriminator.get_weights()
    if precision == "mixed_float16":  # else the first steps are all skipped, until they fit
        made.trainer.discriminator_optimizer.dynamic_scale.assign(16.0)
    logs = eager_steps(made)
    assert np.isfinite(list(logs.values())).all()
    assert logs["generator_gradient"] > 0
    assert logs["discriminator_gradient"] > 0
    for weight in made.trainer.weights:
        assert weight.dtype == "float32"
        assert np.isfinite(weight).all(), weight.path
    after = made.trainer.discriminator.get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    wrapped = keras.optimizers.LossScaleOptimizer
    scaled = [isinstance(optimizer, wrapped) for optimizer in made.trainer.optimizers]
    assert scaled == [precision == "mixed_float16"] * 2


def test_another_network_of_waveforms_has_segans_adversary():
    made = made_of(
        model={"name": "conv_tasnet", "sources": ["vocals", "drums"], "variant": "tiny",
               "blocks": 1, "repeats": 1},
        adversary={
            "network": {"name": "segan", "variant": "tiny", "filters": [3, 4], "norm": "batch",
                        "phase_shift": 2},
            "loss": "hinge", "steps": 2,
        },
        loss={"name": "weighted_sdr"}, fit__segment_seconds=0.128, data__validation=None,
    )  # fmt: skip
    logs = eager_steps(made, 1)
    assert set(logs) == LOGS - {"val_loss", "z_effect"}  # there is no z
    assert np.isfinite(list(logs.values())).all()
    assert made.trainer.discriminator.get_layer("disc1_conv").kernel.shape == (11, 3, 3)
    assert int(made.trainer.discriminator_optimizer.iterations) == 2


def test_a_network_of_its_own_levels_is_trained_and_separates(tmp_path, rng, eagerly):
    model = {**SETTINGS["model"], "filters": [3, 4], "window": 1040}
    made = made_of(model=model, data__validation=None)
    logs = eager_steps(made, 1)
    assert np.isfinite(list(logs.values())).all()
    options = {key: value for key, value in model.items() if key != "name"}
    card = {
        "name": "x", "sources": ["vocals"], "sample_rate": 8000, "trained": {"steps": 1},
        "model": {"name": "segan", "options": options},
    }  # fmt: skip
    folder = presets.save_to_preset(made.system, tmp_path / "preset", card)
    noisy = 0.1 * rng.standard_normal((3000, 1)).astype(np.float32)
    found = kzoo.separate(noisy, 8000, folder)["vocals"]
    whole = presets.from_preset(folder)(noisy[None])
    np.testing.assert_allclose(found, whole[0, 0], atol=1e-5)


def test_a_segment_is_a_window_of_the_next_possible_length():
    made = made_of(fit__segment_seconds=0.2511)  # 2008.8 samples; one level divides by 4
    assert made.graph.input_shape == (None, 2012, 1)
    assert made.trainer.discriminator.input_shape == (None, 2012, 2)


def test_a_run_keeps_the_sizes_of_its_discriminator():
    values = resolved(settings(adversary__network={"reference_examples": 4}))
    network = values["adversary"]["network"]
    assert network["sizes"]["filters"] == [3, 4, 5]
    assert network["sizes"]["reference_examples"] == 4
    assert resolved(values) == values
    network["sizes"]["filters"] = [2]  # as if the variant had been another one then
    made = compiled(resolved(values))
    assert made.trainer.discriminator.get_layer("disc1_conv").filters == 2


def test_the_network_is_trained_between_pre_emphasis_and_its_inverse(alone, rng):
    noisy = 0.1 * rng.standard_normal((2, 1024, 1)).astype(np.float32)
    lifted = np.concatenate([noisy[:, :1], noisy[:, 1:] - 0.95 * noisy[:, :-1]], axis=1)
    z = alone.system.get_layer("latent")(noisy)
    expected = alone.system.get_layer("segan_core")([tf.constant(lifted), z])
    estimate = alone.graph(noisy)
    np.testing.assert_allclose(estimate, expected, atol=1e-6)
    loss = alone.graph.compute_loss(noisy, noisy[:, None], estimate)
    np.testing.assert_allclose(loss, np.abs(lifted[:, None] - estimate).mean(), rtol=1e-5)


def test_the_discriminator_is_shown_the_signal_beside_the_noisy_one(made, rng):
    noisy, clean = rng.standard_normal((2, 3, 1024, 1)).astype(np.float32)
    real = made.trainer.target(clean[:, None])
    seen = np.asarray(made.trainer.shown(real, noisy))
    assert seen.shape == (3, 1024, 2)
    lifted = [x[:, 1:, 0] - 0.95 * x[:, :-1, 0] for x in (clean, noisy)]
    np.testing.assert_allclose(seen[:, 1:, 0], lifted[0], atol=1e-6)
    np.testing.assert_allclose(seen[:, 1:, 1], lifted[1], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adversary__wieght": 1.0}, "did you mean 'weight'"),
        ({"adversary__loss": "hingee"}, "did you mean 'hinge'"),
        ({"adversary__choose": "first"}, "choose must be one of latest, best; got 'first'"),
        ({"adversary__weight": -1.0}, "adversary: weight must be at least 0; got -1"),
        ({"adversary__optimizer": {"name": "adma"}}, "optimizer must be one of"),
        ({"adversary__network": {"norms": "none"}}, "did you mean 'norm'"),
        ({"adversary__network": {"window": 64}}, "window is that of what it is shown"),
        ({"adversary__network": {"name": "unet"}}, "unet has no discriminator.*name=segan"),
        ({"model__z": "input"}, "leave model.z out"),
        (
            {"adversary__network": {"norm": "layer"}},
            "norm must be one of virtual, batch, none",
        ),
        ({"adversary__network": {"head": "none"}}, "head must be one of pointwise, dense; got"),
        ({"adversary__network": {"variant": "smal"}}, "did you mean 'small'"),
    ],
)
def test_a_mistake_is_one_line_before_the_first_step(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path / "run", **changes)
    assert "\n" not in str(caught.value)


def test_magnitudes_have_no_adversary(tmp_path):
    model = {"name": "unet", "sources": ["vocals"], "variant": "tiny"}
    network = {"name": "segan", "variant": "tiny"}
    with pytest.raises(ValueError, match="an adversary judges waveforms"):
        run(tmp_path / "run", model=model, adversary={"network": network})


def test_a_reference_batch_is_given_once_and_kept(straight, made):
    [layer] = [x for x in made.trainer.discriminator.layers if isinstance(x, ReferenceBatch)]
    fresh = ReferenceBatch.from_config(layer.get_config())
    fresh.build((None, 1024, 2))
    assert not np.any(fresh.reference)
    layer.reference.assign(fresh.reference)
    examples, _ = made.open_data(resolved(settings()))
    made.begin(examples)
    kept = next(v for k, v in checkpoint(straight).items() if k.endswith("reference/reference"))
    np.testing.assert_array_equal(layer.reference, kept)
