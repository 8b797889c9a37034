"""Whole tracks separated and scored between the epochs, at a cost that is printed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo import presets
from kzoo.config import ConfigError
from kzoo.data import Corpus
from kzoo.engines import tensorflow as engine
from kzoo.engines.blocks import open_network
from kzoo.metrics import best_order, pairwise, score_track
from kzoo.presets.weights import load_weights
from kzoo.separation import BlockSeparator
from kzoo.training.optimizers import averaged

MEASURES = {"SDR": "val_sdr", "SI-SDR": "val_si_sdr"}


class TrackScores(keras.callbacks.Callback):
    """Scores a separator every `every` epochs, and after the last, by SDR and SI-SDR.

    Tracks are separated by the road of `kzoo separate`, block by block with the averaged weights
    where the optimizer keeps any, so the figures are of what users will get. SDR is that of BSS
    Eval v4 and SI-SDR of the whole excerpt, as `kzoo evaluate` has them; here both are means over
    the tracks, and those over the sources are added to the epoch's logs as val_sdr and val_si_sdr,
    beside val_sdr_<source> and val_si_sdr_<source>. So callbacks that come later in the list, and
    the history, have them. A source that is silent in an excerpt is not scored there.

    Under a tf.distribute strategy the chief alone scores.
    """

    def __init__(
        self,
        corpus: Corpus,
        card: Mapping[str, Any],
        *,
        system: keras.Model | None = None,
        every: int = 5,
        tracks: int = 5,
        seconds: float = 30.0,
        say: Callable[[str], object] = print,
    ):
        """Prepare to score on `corpus`, which nothing is learned from.

        card: that of `kzoo.save_to_preset`: model, sources, sample_rate; with `interchangeable`
            sources are scored in their best order on each track.
        system: the model that ships, where another one of the same weights is trained.
        tracks: so many at most, at equal distances in the corpus; seconds: from their middle.
        Raises ConfigError where the card's sources or rate are not those of the corpus.
        """
        super().__init__()
        if list(card.get("sources", ())) != list(corpus.sources):
            raise ConfigError(
                f"the corpus has the sources {', '.join(corpus.sources)}, the card "
                f"{', '.join(card.get('sources', ())) or 'none'}"
            )
        if card["sample_rate"] != corpus.sample_rate:
            raise ConfigError(
                f"the corpus is at {corpus.sample_rate} Hz, the card at {card['sample_rate']} Hz"
            )
        self.corpus, self.card, self.system = corpus, dict(card), system
        self.every, self.seconds, self.say = every, seconds, say
        places = np.linspace(0, len(corpus.tracks) - 1, min(tracks, len(corpus.tracks)))
        self.tracks = [int(place) for place in places.round()]
        self._network = self._separator = None

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Score, where it is time to, and say what it cost."""
        due = (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]
        if not due or not self.model.distribute_strategy.extended.should_checkpoint:
            return
        began = time.perf_counter()
        found = self.scores()
        ended = time.perf_counter()
        if logs is not None:
            logs.update(found)
        figures = ", ".join(f"{name} {found[key]:.2f} dB" for name, key in MEASURES.items())
        count = f"{len(self.tracks)} track{'s' if len(self.tracks) > 1 else ''}"
        share = (ended - began) / (ended - self._began)
        self.say(
            f"epoch {epoch + 1}: {figures} on {count} ({ended - began:.1f} s, "
            f"{100 * share:.0f} % of the epoch)"
        )

    def scores(self) -> dict[str, float]:
        """The means of the tracks as they are now, by their names in the logs."""
        separator = self._current()
        rows = [self._of_track(separator, track) for track in self.tracks]  # {measure: [sources]}
        found = {}
        for measure, key in MEASURES.items():
            means = _means(np.stack([row[measure] for row in rows]))  # [sources]
            found[key] = float(_means(means))
            if len(means) > 1:
                names = (f"{key}_{source}" for source in self.corpus.sources)
                found |= dict(zip(names, map(float, means), strict=True))
        return found

    def _current(self) -> BlockSeparator:
        """The separator, built and compiled once, with the weights that the model has now."""
        system = self.system or self.model
        with averaged(self.model):
            if self._separator is None:
                self._network = self._opened(system)
                made = engine.network_system(self._network)
                self._separator = BlockSeparator(made, overlap=self.card.get("overlap", 0.0))
            weights = {weight.path: np.asarray(weight.value) for weight in system.weights}
            load_weights(self._network.model, weights, where="the model that is trained")
        return self._separator

    def _opened(self, system: keras.Model):
        with tempfile.TemporaryDirectory(prefix="kzoo.") as scratch:
            folder = Path(scratch, "scored")
            presets.save_to_preset(system, folder, {**self.card, "trained": "in part"})
            return open_network(presets.open_preset(folder))

    def _of_track(self, separator: BlockSeparator, track: int) -> dict[str, np.ndarray]:
        rate, length = self.corpus.sample_rate, self.corpus.tracks[track][1]
        samples = min(length, round(self.seconds * rate))
        sound = self.corpus.read(track, (length - samples) // 2, samples)
        references, mixture = sound["sources"], sound["mixture"]
        stems = separator.separate(mixture, rate)
        estimates = np.stack([stems[source] for source in self.corpus.sources])
        audible = [bool(np.any(reference)) for reference in references]
        scores = {measure: np.full(len(references), np.nan) for measure in MEASURES}
        if not any(audible):
            return scores
        if self.card.get("interchangeable"):
            estimates = estimates[best_order(pairwise(references, estimates))]
        for measure, values in score_track(
            MEASURES, references[audible], estimates[audible], mixture, rate
        ).items():
            scores[measure][audible] = np.where(np.isfinite(values), values, np.nan)
        return scores


def _means(values: np.ndarray) -> np.ndarray:
    """Means over the first axis of what is a number; NaN where nothing is."""
    counts = np.isfinite(values).sum(axis=0)
    return np.nansum(values, axis=0) / np.where(counts, counts, np.nan)
