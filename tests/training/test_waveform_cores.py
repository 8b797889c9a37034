"""Training of waveform cores: on their own segments, against the middle of the sources."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import losses, models, presets
from kzoo.layers.masks import Estimates
from kzoo.models.base import domains
from kzoo.models.base.sizes import Sizes
from kzoo.training import compiled, corpora, resolved, train
from kzoo.training.compiling import DomainLoss

WIDTH = 17  # of the toy's filters: a core output is 16 samples shorter than its input


def core(sources, *, samples=None, channels=1):
    mixture = keras.Input((samples, channels), name="mixture")
    x = keras.layers.Conv1D(8, WIDTH, activation="tanh", name="filters")(mixture)
    x = keras.layers.Conv1D(len(sources) * channels, 1, name="stems")(x)
    x = keras.layers.Reshape((-1, len(sources), channels), name="apart")(x)
    x = keras.layers.Permute((2, 1, 3), name="in_front")(x)
    outputs = Estimates(sources, dtype="float32", name="estimates")(x)
    return keras.Model(mixture, outputs, name="toy_core")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToySizes(Sizes):
    sample_rate: int = 8000
    channels: int = 1
    block_seconds: float = 0.125

    def context_samples(self):
        return WIDTH // 2

    def block(self):
        return {**super().block(), "padding": "valid"}

    def training(self, system, *, inference_mode=False):
        return domains.core_waveforms(system, core="toy_core", inference_mode=inference_mode)


def build(sources, size=None, *, samples=None, padding="full"):
    mixture = keras.Input((samples, 1), name="mixture")
    x = mixture
    if padding == "full":
        x = keras.layers.ZeroPadding1D(WIDTH // 2, name="silence")(x)
    inside = None if samples is None else samples + (WIDTH - 1) * (padding == "full")
    x = core(sources, samples=inside)(x)
    if padding == "valid":
        x = keras.layers.ZeroPadding2D((0, WIDTH // 2), name="context")(x)
    return keras.Model(mixture, Estimates(sources, dtype="float32", name="stems")(x), name="toy")


TOY = types.SimpleNamespace(VARIANTS={"tiny": ToySizes()}, build=build, core=core)
SPEAKERS = ["speaker1", "speaker2"]


@pytest.fixture
def toy(monkeypatch):
    """An architecture called "toy"."""
    known = models.architecture
    monkeypatch.setattr(models, "architecture", lambda name: TOY if name == "toy" else known(name))


@pytest.fixture
def speech(tmp_path, rng):
    """Four speakers of one long tone each."""
    import soundfile

    for speaker in range(4):
        (tmp_path / "speech" / f"s{speaker}").mkdir(parents=True)
        sound = 0.1 * np.sin(np.arange(16000) * 0.2 * (speaker + 1))
        place = tmp_path / "speech" / f"s{speaker}" / "a.wav"
        soundfile.write(place, sound, 8000, subtype="FLOAT")
    return tmp_path / "speech"


def settings(speech, **fit):
    corpus = {"kind": "speech", "path": str(speech), "mixtures": 4, "seconds": 0.25}
    corpus |= {"shares": [0.5, 0.5, 0.0]}
    return {
        "name": "toy_speakers",
        "model": {"name": "toy", "sources": SPEAKERS},
        "data": {
            "train": corpus,
            "validation": {**corpus, "partition": "validation"},
            "tests": {"other": corpus},
        },  # for kzoo data mix
        "loss": {"name": "pit", "pairwise": {"name": "si_sdr", "zero_mean": True}},
        "fit": {"batch_size": 2, "epochs": 1, "steps_per_epoch": 2, **fit},
    }


def test_the_graph_is_the_core_and_its_domain_the_middle_of_the_sources(rng):
    system = build(SPEAKERS, samples=100, padding="valid")
    graph, domain = ToySizes().training(system)
    assert graph.input_shape == (None, 100, 1)
    assert graph.output_shape == (None, 2, 84, 1)
    sources = rng.standard_normal((3, 2, 100, 1)).astype("float32")
    np.testing.assert_array_equal(domain(sources), sources[:, :, 8:92])
    whole, middle = system(sources[:, 0]), graph(sources[:, 0])
    np.testing.assert_allclose(np.asarray(whole)[:, :, 8:92], middle, atol=1e-6)
    assert [w.path for w in graph.trainable_weights] == [w.path for w in system.trainable_weights]
    loss = DomainLoss(losses.get("pit"), domain)(sources, graph(sources[:, 0]))
    assert np.isfinite(float(loss))


def test_a_core_that_reaches_beyond_the_system_is_given_sound_there():
    graph, domain = ToySizes().training(build(SPEAKERS, samples=100))
    assert graph.input_shape == (None, 116, 1)
    assert domain(np.zeros((1, 2, 116, 1))).shape == (1, 2, 100, 1)


def test_a_core_of_any_length_takes_the_systems():
    mixture = keras.Input((100, 1), name="mixture")
    system = keras.Model(mixture, core(SPEAKERS)(mixture), name="toy")
    graph, domain = ToySizes().training(system, inference_mode=True)
    assert graph.input_shape == (None, 100, 1)
    assert domain(np.zeros((1, 2, 100, 1))).shape[2] == 84


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("options", "samples"), [({}, 1000), ({"segment_seconds": 0.25}, 2000)])
def test_segments_are_a_block_or_as_long_as_is_said(toy, speech, tmp_path, monkeypatch, options,
                                                    samples):  # fmt: skip
    seen = []
    opened = corpora.open_data
    monkeypatch.setattr(
        corpora, "open_data",
        lambda *a, **k: (seen.append(k["task"].samples), opened(*a, **k))[1],
    )  # fmt: skip
    lines = []
    train(settings(speech, **options), tmp_path / "run", say=lines.append)
    assert seen == [samples]
    assert any("val_loss" in line for line in lines)


def test_a_network_that_hears_the_whole_signal_is_trained_on_segments_of_any_length(speech):
    values = settings(speech, segment_seconds=0.25)
    values["model"] = {
        "name": "demucs",
        "sources": list(SPEAKERS),
        "variant": "tiny",
        "channels": 1,
    }
    made = compiled(resolved(values))
    assert made.system.input_shape == (None, 2000, 1)


@pytest.mark.usefixtures("eagerly")
def test_a_run_without_an_order_says_so_in_its_card(toy, speech, tmp_path):
    folder = train(settings(speech), tmp_path / "pit", say=lambda line: None)
    card = presets.load_card(folder)
    assert card["interchangeable"] is True
    assert card["bandwidth_hz"] == 4000
    assert card["trained"]["data"]["mixed"] == "on the fly, without end"
    named = {**settings(speech), "loss": {"name": "si_sdr"}}
    folder = train(named, tmp_path / "named", say=lambda line: None)
    assert "interchangeable" not in presets.load_card(folder)


def test_a_loss_that_takes_the_mixture_is_given_it(rng):
    sources, estimate = rng.standard_normal((2, 3, 1, 100, 1)).astype("float32")
    mixture = sources[:, 0] + rng.standard_normal((3, 100, 1)).astype("float32")
    targets = np.concatenate([sources, mixture[:, None]], axis=1)
    loss = DomainLoss(losses.get("weighted_sdr"), lambda x: x[:, :, 8:92])
    found = loss.call(targets, estimate[:, :, 8:92])
    expected = losses.weighted_sdr(sources[:, :, 8:92], estimate[:, :, 8:92], mixture[:, 8:92])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("eagerly")
def test_speech_in_noise_is_learned_with_the_weighted_sdr(toy, speech, tmp_path):
    values = settings(speech, segment_seconds=0.25)
    values["model"]["sources"] = ["speech"]
    values["loss"] = {"name": "weighted_sdr"}
    for corpus in values["data"].values():
        corpus["noise"] = str(speech)
    lines = []
    train(values, tmp_path / "run", say=lines.append)
    assert any("val_loss" in line for line in lines)


def test_examples_for_the_system_are_the_middle_of_those_of_a_longer_core(toy, speech):
    values = resolved({**settings(speech), "model": {"name": "toy", "sources": SPEAKERS}})
    made = compiled(values)
    sound = np.arange(1000.0, dtype="float32")[:, None]
    np.testing.assert_array_equal(made.middle(sound), sound)
    made.system = build(SPEAKERS, samples=984)
    np.testing.assert_array_equal(made.middle(sound[None])[0], sound[8:992])
    made.system = build(SPEAKERS, samples=1010)
    np.testing.assert_array_equal(made.middle(sound), np.pad(sound, ((5, 5), (0, 0))))


def test_half_precision_trains_with_a_loss_in_float32(toy, speech, tmp_path):
    lines = []
    values = settings(speech, precision="mixed_float16", epochs=2, steps_per_epoch=5)
    train(values, tmp_path / "run", say=lines.append)
    assert "nan" not in " ".join(lines)
    assert tf.keras.mixed_precision.global_policy().name == "float32"


def test_a_segment_of_no_length_is_refused(toy, speech, tmp_path):
    with pytest.raises(ValueError, match=r"segment_seconds must be above 0; got -1"):
        train(settings(speech, segment_seconds=-1.0), tmp_path / "run")
