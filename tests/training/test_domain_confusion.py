"""An encoder against a classifier of domains: balanced, logged, warned of, interrupted."""

import shutil

import keras
import numpy as np
import pytest
import soundfile
from made_runs import (
    assert_same_runs,
    copies_after_the_first_epoch,
    history,
    replaced,
    without_graphs,
)

import kzoo
from kzoo import data, presets
from kzoo.config import ConfigError
from kzoo.dsp.quantisation import mu_law_codes
from kzoo.training import compiled, resolved, train
from kzoo.training.confusion import PATIENCE, complaints

RATE = 8000
DOMAINS = {"low": 200.0, "middle": 500.0, "high": 1100.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three domains, each a tone, of different lengths."""
    root = tmp_path_factory.mktemp("domains")
    for number, (name, hertz) in enumerate(DOMAINS.items(), start=1):
        (root / name).mkdir()
        for take, seconds in (("one", number), ("held", 0.2)):
            time = np.arange(round(RATE * seconds)) / RATE
            soundfile.write(
                root / name / f"{take}.wav", 0.5 * np.sin(2 * np.pi * hertz * time), RATE
            )
    return root


def settings(folder, **changes):
    corpus = {"kind": "labelled", "path": str(folder)}
    return replaced(
        {
            "name": "tiny_translation",
            "seed": 3,
            "model": {"name": "music_translation", "variant": "tiny", "domains": list(DOMAINS)},
            "data": {
                "train": {**corpus, "exclude": ["*/held"]},
                "validation": {**corpus, "include": ["low/held", "middle/held", "high/held"]},
                "steps": [{"name": "detune"}],
            },
            "loss": {"name": "code_cross_entropy"},
            "adversary": {"weight": 0.01, "optimizer": {"name": "adam"}},
            "optimizer": {"name": "adam"},
            "fit": {"batch_size": 6, "epochs": 2, "steps_per_epoch": 2, "segment_seconds": 0.1},
        },
        **changes,
    )


@pytest.fixture(scope="module")
def made(folder):
    return compiled(resolved(settings(folder)))


@pytest.fixture(scope="module")
def straight(tmp_path_factory, folder):
    """A run of two epochs without a stop; "first" beside it is what its first epoch left."""
    out = tmp_path_factory.mktemp("runs") / "straight"
    with without_graphs():
        return train(settings(folder), out, say=copies_after_the_first_epoch(out, "first"))


def test_a_run_logs_what_the_classifier_knows(straight):
    rows = history(straight)
    assert len(rows) == 2
    for row in rows:
        assert np.isfinite(list(row.values())).all()
        assert 0 <= row["domain_accuracy"] <= 1
        assert 0 <= row["val_domain_accuracy"] <= 1
        assert 0 < row["adversarial_share"] < 1
        assert row["adversarial_loss"] < 0 < row["discriminator_loss"]


def test_a_run_that_is_interrupted_goes_on_bit_by_bit(straight, tmp_path, folder, eagerly):
    out = shutil.copytree(straight.with_name("first"), tmp_path / "interrupted")
    assert len(history(out)) == 1
    train(settings(folder), out)
    assert_same_runs(out, straight)


def test_the_run_is_a_preset_of_the_translator_alone(straight):
    card = presets.load_card(straight)
    assert card["task"] == "translation"
    assert card["domains"] == list(DOMAINS)
    model = kzoo.from_preset(straight)
    assert not any("classifier" in weight.path for weight in model.weights)
    assert {x.name for x in model.inputs} == {"heard", "past", "domain"}


def test_each_domain_gives_every_third_example_whatever_its_length(made, folder):
    examples, windows = made.open_data(resolved(settings(folder)))
    batch = data.batch(examples, 0, 12)
    assert batch["domain"].ravel().tolist() == [0, 1, 2] * 4
    np.testing.assert_array_equal(batch["past"][:, 1:], batch["target"][:, :-1])
    peaks = [np.abs(np.fft.rfft(codes[:, 0] - codes.mean())).argmax() for codes in batch["target"]]
    wanted = [hertz * made.task.samples / RATE for hertz in DOMAINS.values()]
    np.testing.assert_allclose(peaks, wanted * 4, atol=1)
    window = windows.example(0)
    np.testing.assert_array_equal(window["heard"], window["target"])


def test_a_stretch_of_what_is_heard_is_detuned_and_what_is_to_be_given_is_not(folder):
    longer = settings(folder, fit__segment_seconds=0.9)
    examples, _ = compiled(resolved(longer)).open_data(resolved(longer))
    seen = []
    for number in range(6):
        example = examples.example(number)
        changed = np.flatnonzero(example["heard"] != example["target"])
        seen.append(np.ptp(changed) / RATE)
    assert min(seen) > 0.2
    assert max(seen) < 0.52
    plain = settings(folder, data__steps=[], fit__segment_seconds=0.9)
    example = compiled(resolved(plain)).open_data(resolved(plain))[0].example(0)
    np.testing.assert_array_equal(example["heard"], example["target"])


def test_codes_are_rounded_down_as_the_references_are(made, folder):
    waveform = np.linspace(-1, 1, 801, dtype=np.float32)[:, None]
    example = made.task.translated({"mixture": waveform, "labels": np.array([0, 1, 0])})
    np.testing.assert_array_equal(
        example["target"], mu_law_codes(waveform[1:], 16, rounding="down")
    )
    assert example["domain"].tolist() == [1]


def test_the_classifier_learns_and_the_encoder_unlearns(made, folder):
    """Each of the two updates does what it is for, by the classifier's own loss."""
    examples, _ = made.open_data(resolved(settings(folder)))
    inputs, targets = made.pair(data.batch(examples, 0, 12))
    values = settings(folder, adversary__weight=1000.0, optimizer={"name": "adam"})
    trainer = compiled(resolved(values)).trainer
    encoder, classifier = trainer.encoder, trainer.discriminator

    def loss():
        logits = classifier(encoder(targets))
        return float(keras.losses.sparse_categorical_crossentropy(
            inputs["domain"][:, 0], logits, from_logits=True
        ).numpy().mean())  # fmt: skip

    before, kept = loss(), encoder.get_weights()
    for _ in range(2):
        trainer._discriminator_step(inputs, targets)
    learned = loss()
    assert learned < before
    for one, other in zip(kept, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    kept = classifier.get_weights()
    for _ in range(2):
        trainer._generator_step(inputs, targets, None)
    assert loss() > learned
    for one, other in zip(kept, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("accuracies", "epoch", "kinds"),
    [
        ([0.34], 0, {"chance"}),
        ([0.34], 3, set()),
        ([0.9], 0, set()),
        ([0.5, *[0.9] * PATIENCE], PATIENCE, {"known"}),
        ([*[0.9] * (PATIENCE - 1), 0.6], PATIENCE - 1, set()),
        ([0.34] * PATIENCE, PATIENCE, set()),
    ],
)
def test_each_fault_of_the_confusion_has_its_complaint(accuracies, epoch, kinds):
    assert set(complaints(accuracies, 3, epoch)) == kinds


def test_a_classifier_at_chance_is_said(tmp_path, folder, eagerly):
    lines = []
    values = settings(
        folder, fit__epochs=1, data__validation=None,
        adversary__optimizer={"name": "sgd", "learning_rate": 1e-9},
    )  # fmt: skip
    train(values, tmp_path / "run", say=lines.append)
    assert any("at chance from the start" in line for line in lines), lines


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adversary__loss": "hinge"}, "no adversarial loss is called 'hinge'.*cross_entropy"),
        ({"adversary__network": {"domains": 2}}, "domains is that of what it is shown"),
        ({"adversary__network": {"name": "segan", "variant": "tiny"}}, "judges waveforms"),
        ({"data__steps": [{"name": "stretch"}]}, "detune alone keeps"),
        ({"model__domains": ["low", "harp"]}, "no recording is called harp"),
        ({"fit__inference_mode": True}, "fit.inference_mode is for batch norms"),
    ],
)
def test_a_mistake_is_one_line(folder, changes, said):
    def opened():
        values = resolved(settings(folder, **changes))
        compiled(values).open_data(values)

    with pytest.raises((ConfigError, ValueError), match=said):
        opened()
