"""Deep clustering: an embedding of every bin of a spectrogram, near to those of its own source.

Hershey et al., 2016, Deep clustering: discriminative embeddings for segmentation and separation,
https://arxiv.org/abs/1508.04306
Luo et al., 2017, Deep clustering and conventional networks for music separation: stronger together
(Chimera), https://arxiv.org/abs/1611.06265

BLSTMs see the log magnitudes and give each bin a unit vector; vectors of bins in which the same
speaker is loudest point the same way. K-means over a whole recording makes them masks, so how many
speakers there are is asked at separation and is in no weight. A Chimera's second head has a mask
for each source beside the embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.layers.masks import Estimates
from kzoo.layers.recurrent import LSTM
from kzoo.layers.spectra import BandMagnitude, MaskedSpectrum
from kzoo.models.base import domains
from kzoo.models.base.sizes import Sizes, check_positive, check_sources

_EPSILON = 1e-8  # asteroid's, in its magnitudes, logarithms and norms


@dataclass(frozen=True, kw_only=True)
class DeepClustering(Sizes):
    """The network of 2016 by default.

    n_fft, hop_length: window (the square root of a Hann window) and hop of the STFT, in samples.
    hidden: units of an LSTM in each direction. n_layers: so many BLSTMs follow each other.
    embedding: length of the vector of a bin, which can tell as many sources apart.
    dropout: after each BLSTM but the last.
    mask_head: so many sources have a sigmoid mask by Chimera's second head; 0 for no such head.
    stems: what makes them, "clusters" of the embeddings, or the "masks" of the second head.
    masking: whether a bin belongs to its nearest cluster, "binary", or to all by how near they are,
        "soft".
    magnitudes: "stft", or those of "asteroid", whose filterbank has a scale of its own.
    relative_db: the network sees levels down to so far below the loudest bin, so it does not depend
        on the gain of a recording; None for plain logarithms, as in the paper.
    """

    sample_rate: int = 8000
    channels: int = 1
    block_seconds: float = 10.0
    n_fft: int = 256
    hop_length: int = 64
    hidden: int = 600
    n_layers: int = 2
    embedding: int = 40
    dropout: float = 0.0
    mask_head: int = 0
    stems: Literal["clusters", "masks"] = "clusters"
    masking: Literal["binary", "soft"] = "binary"
    magnitudes: Literal["stft", "asteroid"] = "stft"
    relative_db: float | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "hidden", "n_layers", "embedding")
        if self.channels != 1:
            raise ValueError(f"channels must be 1: the network hears one; got {self.channels}")
        if self.stems == "masks" and not self.mask_head > 0:
            raise ValueError(
                "stems='masks' needs a mask_head of as many sources; without one they come of "
                f"clusters; got mask_head={self.mask_head}"
            )
        if self.relative_db is not None:
            check_positive(self, "relative_db")

    @property
    def bins(self) -> int:
        """The number of bins that have an embedding each, all of the STFT."""
        return self.n_fft // 2 + 1

    @property
    def task(self) -> str:
        """What the graph gives: waveforms by the second head, or embeddings to be clustered."""
        return "separation" if self.stems == "masks" else "clustering"

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, in whole hops."""
        return max(1, round(super().whole(samples) / self.hop_length)) * self.hop_length

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on magnitudes, the embeddings of all bins and, of a Chimera, its masks.

        Raises ValueError for a mask head whose masks are no stems: nothing says which sources'.
        """
        if self.mask_head and self.stems != "masks":
            raise ValueError("a network with a mask_head is trained with stems='masks'")
        return domains.embeddings(
            system,
            core="deep_clustering_core",
            packed=self.mask_head > 0,
            inference_mode=inference_mode,
        )


_ASTEROID = DeepClustering(n_layers=4, dropout=0.3, magnitudes="asteroid")
VARIANTS = {
    "paper": DeepClustering(),
    "asteroid": _ASTEROID,
    "chimera": replace(_ASTEROID, mask_head=2, stems="masks"),
    "small": DeepClustering(
        hop_length=128,
        hidden=128,
        n_layers=3,
        embedding=12,
        masking="soft",
        relative_db=80.0,
    ),
    "tiny": DeepClustering(
        n_fft=32,
        hop_length=8,
        hidden=6,
        n_layers=1,
        embedding=4,
        block_seconds=0.5,
        relative_db=80.0,
    ),
}
SPEAKERS = ("speaker1", "speaker2")


def core(size: DeepClustering = VARIANTS["paper"]) -> keras.Model:
    """The network: magnitudes `[batch, frames, bins, 1]` to what is known of every bin.

    `[batch, frames, bins, embedding]`, unit vectors; with a mask head
    `[batch, frames, bins, embedding + mask_head]`, the masks of the sources behind them.

    PyTorch's LSTMs have two biases, of which only the sum counts and which Keras's have one of:
    the paper's network has 18,345,960 weights here, and 18,355,560 there.
    """
    levels = keras.Input((None, size.bins, 1), name="magnitude")
    x = layers.Reshape((-1, size.bins), name="spectrum")(_seen(levels, size))
    for number in range(1, size.n_layers + 1):
        one = LSTM(size.hidden, return_sequences=True, name="lstm")
        x = layers.Bidirectional(one, name=f"lstm{number}")(x)
        if number < size.n_layers:
            x = layers.Dropout(size.dropout, name=f"lstm{number}_dropout")(x)
    v = layers.Dense(size.bins * size.embedding, activation="tanh", name="embedding_dense")(x)
    v = layers.Reshape((-1, size.bins, size.embedding), name="vectors")(v)
    found = UnitVectors(dtype="float32", name="embeddings")(v)
    if size.mask_head:
        m = layers.Dense(size.mask_head * size.bins, name="mask_dense")(x)
        m = layers.Reshape((-1, size.mask_head, size.bins), name="mask_logits")(m)
        m = ops.sigmoid(ops.cast(ops.swapaxes(m, 2, 3), "float32"))  # [batch, frames, bins, ...]
        found = ops.concatenate([found, m], axis=-1)
    return keras.Model(levels, found, name="deep_clustering_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    size: DeepClustering = VARIANTS["paper"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to embeddings `[batch, frames, bins, embedding]`.

    Frame m is centred on sample m * hop_length. With stems="masks" it gives stems,
    `[batch, sources, samples, 1]`. `build_clusters` separates by the embeddings.
    Raises ValueError for sources of one name, for more than an embedding can tell apart, and for
    others than there are masks.
    """
    check_sources(sources)
    _check_count(len(sources), size)
    network = core(size)
    waveform = keras.Input((samples, size.channels), name="waveform")
    real, imag = _stft(size)(waveform)
    found = network(_magnitude(size)(real, imag))
    if size.stems == "masks":
        masks = ops.moveaxis(found[..., size.embedding :], -1, 1)
        stems = _masked(ops.expand_dims(masks, -1), real, imag, waveform, size)
        found = Estimates(sources, dtype="float32", name="stems")(stems)
    else:
        found = found[..., : size.embedding]
    return keras.Model(waveform, found, name="deep_clustering")


def build_clusters(system: keras.Model, size: DeepClustering) -> tuple[keras.Model, keras.Model]:
    """Separation by clusters around the core of a trained system: (survey, separator).

    survey: waveform `[batch, samples, 1]` to (embeddings `[batch, frames, bins, embedding]`,
        magnitudes `[batch, frames, bins]`), of which centres of clusters are made.
    separator: that waveform and centres `[batch, sources, embedding]` to stems
        `[batch, sources, samples, 1]`, which sum to the waveform.
    """
    waveform = keras.Input(system.inputs[0].shape[1:], name="waveform")
    real, imag = _stft(size)(waveform)
    network = system.get_layer("deep_clustering_core")
    embeddings = network(_magnitude(size)(real, imag))[..., : size.embedding]
    levels = BandMagnitude(size.bins, dtype="float32", name="levels")(real, imag)
    survey = keras.Model(waveform, [embeddings, levels[..., 0]], name="deep_clustering_survey")

    centres = keras.Input((None, size.embedding), name="centres")
    masks = ClusterMasks(size.masking, dtype="float32", name="cluster_masks")(embeddings, centres)
    stems = _masked(masks, real, imag, waveform, size)
    return survey, keras.Model([waveform, centres], stems, name="deep_clustering_separator")


@keras.saving.register_keras_serializable("kzoo")
class UnitVectors(layers.Layer):
    """Vectors along the last axis divided by their length, which 0 has a gradient of 0 in."""

    def call(self, vectors):
        length = ops.sqrt(ops.maximum(ops.sum(ops.square(vectors), -1, keepdims=True), 1e-24))
        return vectors / (length + _EPSILON)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("kzoo")
class ScaledMagnitude(layers.Layer):
    """asteroid's magnitudes of (real, imag) `[batch, frames, bins, 1]`: of its filterbank's scale.

    Its analysis and synthesis filters are alike, and so are divided by sqrt(n_fft^2 / hop) / 2, the
    first and the last also by sqrt(2).
    """

    def __init__(self, n_fft: int, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.n_fft, self.hop_length = n_fft, hop_length

    def call(self, real, imag):
        gains = np.full((self.n_fft // 2 + 1, 1), 2 / np.sqrt(self.n_fft**2 / self.hop_length))
        gains[[0, -1]] /= np.sqrt(2)
        gains = ops.convert_to_tensor(gains, real.dtype)
        return ops.sqrt(ops.square(real * gains) + ops.square(imag * gains) + _EPSILON)

    def compute_output_shape(self, real_shape, imag_shape):
        return real_shape

    def get_config(self):
        return {**super().get_config(), "n_fft": self.n_fft, "hop_length": self.hop_length}


@keras.saving.register_keras_serializable("kzoo")
class ClusterMasks(layers.Layer):
    """(embeddings, centres `[batch, sources, embedding]`) to masks of clusters, which sum to one.

    `[batch, frames, bins, embedding]` to `[batch, sources, frames, bins, 1]`. masking: as in
    `DeepClustering`; the soft ones fall with the squared distance, as in Isik et al., 2016,
    https://arxiv.org/abs/1607.02173, whose hardness is 5.
    """

    hardness = 5.0

    def __init__(self, masking: str = "binary", **kwargs):
        super().__init__(**kwargs)
        self.masking = masking

    def call(self, embeddings, centres):
        batch, frames, bins, length = ops.shape(embeddings)
        flat = ops.reshape(embeddings, (batch, frames * bins, length))
        nearness = 2 * ops.matmul(flat, ops.swapaxes(centres, 1, 2))
        nearness = nearness - ops.expand_dims(ops.sum(ops.square(centres), -1), 1)
        if self.masking == "soft":
            masks = ops.softmax(self.hardness * nearness, axis=-1)
        else:
            nearest = ops.argmax(nearness, axis=-1)
            masks = ops.one_hot(nearest, ops.shape(centres)[1], dtype=embeddings.dtype)
        masks = ops.reshape(ops.swapaxes(masks, 1, 2), (batch, -1, frames, bins))
        return ops.expand_dims(masks, -1)

    def compute_output_shape(self, embeddings_shape, centres_shape):
        return (embeddings_shape[0], centres_shape[1], *embeddings_shape[1:3], 1)

    def get_config(self):
        return {**super().get_config(), "masking": self.masking}


def _seen(levels, size: DeepClustering):
    """What the BLSTMs see of the magnitudes `[batch, frames, bins, 1]`."""
    if size.relative_db is None:
        return ops.log(levels + _EPSILON)
    loudest = ops.max(levels, axis=(1, 2, 3), keepdims=True)
    below_db = ops.log(levels / loudest) * (20 / math.log(10))
    return ops.relu(below_db + size.relative_db) / 20


def _transform(size: DeepClustering) -> dict:
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    return {"n_fft": size.n_fft, "hop_length": size.hop_length, "window": "sqrt_hann",
            "padding": "center", "dtype": "float32"}  # fmt: skip


def _stft(size: DeepClustering):
    return STFT(**_transform(size), name="stft")


def _magnitude(size: DeepClustering):
    if size.magnitudes == "asteroid":
        return ScaledMagnitude(size.n_fft, size.hop_length, dtype="float32", name="magnitude")
    return BandMagnitude(size.bins, dtype="float32", name="magnitude")


def _masked(masks, real, imag, waveform, size: DeepClustering):
    """Masks `[batch, sources, frames, bins, 1]` to stems `[batch, sources, samples, 1]`."""
    masked = MaskedSpectrum(dtype="float32", name="masked")(masks, real, imag)
    return InverseSTFT(**_transform(size), name="inverse_stft")(*masked, waveform)


def _check_count(sources: int, size: DeepClustering) -> None:
    if size.stems == "masks" and sources != size.mask_head:
        raise ValueError(f"there are masks of {size.mask_head} sources; got {sources} sources")
    if sources > size.embedding:
        raise ValueError(
            f"embeddings of length {size.embedding} tell at most as many sources apart; got "
            f"{sources}"
        )
