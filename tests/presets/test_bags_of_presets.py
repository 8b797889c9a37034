"""Presets that are bags: several presets by one card."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from made_material import MUSIC, RATE, save

from kzoo import api, config, models, presets

PLAIN_MODEL = Path(__file__).parents[1] / "conformance" / "plain"  # gain_net, whose graph is small
WEIGHTS = [{"vocals": 3.0, "accompaniment": 1.0}, {"vocals": 1.0}]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with two presets, and the card of their bag."""
    root = tmp_path_factory.mktemp("bag")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "__path__", [*models.__path__, str(PLAIN_MODEL)])
        save(root / "one", root / "other", "gain_net", MUSIC, variant="tiny")
        yield root


def written(root, **changes):
    bag = [{"preset": n, "weights": w} for n, w in zip(("one", "other"), WEIGHTS, strict=True)]
    card = config.load_yaml(root / "one" / "card.yaml")
    del card["weights"]
    config.dump_yaml({**card, "name": "both", "bag": bag, **changes}, root / "card.yaml")
    return root


def test_a_bag_separates_as_the_weighted_mean_of_its_presets(parts, rng):
    folder = written(parts)
    sound = rng.standard_normal((9000, 2)).astype(np.float32)
    one, other = (
        api.Separator.from_preset(folder / n, engine="tensorflow").separate(sound, RATE)
        for n in ("one", "other")
    )
    bag = api.Separator.from_preset(folder, engine="tensorflow")
    for made in (bag, pickle.loads(pickle.dumps(bag))):
        stems = made.separate(sound, RATE)
        mean = 0.75 * one["vocals"] + 0.25 * other["vocals"]
        np.testing.assert_allclose(stems["vocals"], mean, atol=1e-6)
        np.testing.assert_allclose(stems["accompaniment"], one["accompaniment"], atol=1e-6)
    opened = presets.open_preset(folder)
    single = presets.open_preset(folder / "one")
    assert opened.count_weights() == 2 * single.count_weights()
    assert opened.weights_path() == folder / "one" / "weights.npz"


def test_a_part_without_weights_counts_once_for_each_source_and_shifts_are_its_own(parts, rng):
    folder = written(parts, bag=[{"preset": "one"}, {"preset": "one"}])
    assert [weights for _, weights in presets.open_preset(folder).bag] == [
        {"vocals": 1.0, "accompaniment": 1.0}
    ] * 2
    bag = api.Separator.from_preset(folder, engine="tensorflow", shifts=2, seed=3, overlap=0.25)
    made = [part.make() for part in bag.parts]
    assert [(one.shifts, one.seed, one.overlap) for one in made] == [(2, 3, 0.25), (2, 4, 0.25)]


def test_what_its_scores_are_known_by_changes_with_each_weight(parts):
    known = presets.open_preset(written(parts)).weights_sha256()
    other = [{"preset": "one", "weights": WEIGHTS[0]}, {"preset": "other", "weights": WEIGHTS[0]}]
    assert presets.open_preset(written(parts, bag=other)).weights_sha256() != known
    assert presets.open_preset(written(parts)).weights_sha256() == known


def test_what_is_no_bag_and_what_a_bag_cannot_do_is_said(parts):
    for bag, message in (
        ([{"preset": "one", "weights": {"vocals": 0}}], "'bag' must be a list of mappings"),
        ([{"weights": {}}], "'bag' must be a list of mappings of a preset and its weights"),
        ("one", "'bag' must be a list of mappings"),
    ):
        with pytest.raises(presets.PresetError, match=message):
            presets.open_preset(written(parts, bag=bag))
    bag = [{"preset": "one", "weights": {"drums": 1.0}}]
    with pytest.raises(
        presets.PresetError, match=r"one gives vocals, accompaniment, and is weighed"
    ):
        api.Separator.from_preset(written(parts, bag=bag))
    with pytest.raises(presets.PresetError, match=r"is a bag of several models; take one: .*one, "):
        presets.open_preset(written(parts)).model()
    with pytest.raises(presets.PresetError, match="is a bag of several models, and takes no mwf"):
        api.Separator.from_preset(written(parts), mwf=True)


def test_a_bag_whose_parts_are_not_all_here_is_to_be_fetched(parts):
    bag = [{"preset": "one"}, {"preset": "spleeter_5stems", "weights": {"vocals": 1.0}}]
    opened = presets.open_preset(written(parts, bag=bag))
    assert opened.weights_path() is None
    assert opened.state.startswith("to fetch")
