"""SCNet against its authors' outputs: both ways of normalising, other sizes, lengths, counts."""

from dataclasses import replace

import keras
import made_scnet
import numpy as np
import pytest
from made_once import drawn_once

from kzoo import losses, models
from kzoo.convert import scnet as convert
from kzoo.layers.sparse_compression import FrameTransform, PadToEvenFrames
from kzoo.models import scnet
from kzoo.separation import BlockSeparator, System

SMALL = {"band_shares": (0.175, 0.392, 0.433), "n_fft": 1024, "hop_length": 256}
MONO = {
    "band_shares": (0.23, 0.37, 0.4), "n_fft": 64, "hop_length": 24, "sample_rate": 8000,
    "sources": ("vocals", "rest"),
}  # fmt: skip

each_network_is_drawn_once = drawn_once((scnet, "build"))


def authors(recorded, **options):
    """The network with the authors' recorded weights."""
    names = {key.removeprefix("param/"): x for key, x in recorded.items() if "/" in key}
    return convert.from_weights(names, **options)


def noise(rng, samples, channels=2):
    return (0.3 * rng.standard_normal((1, samples, channels))).astype(np.float32)


@pytest.mark.parametrize("normalize", ["spectrum", "none"])
def test_the_authors_network_is_reproduced(vectors, normalize):
    recorded = vectors("scnet_mono_small")
    model = authors(recorded, normalize=normalize, **MONO)
    found = model(np.swapaxes(recorded["input"], 1, 2))
    expected = np.swapaxes(recorded[f"output_{normalize}"], 2, 3)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.slow
def test_every_part_of_the_authors_network_is_reproduced(vectors):
    recorded = vectors("scnet_small")
    mixture = recorded["audio_int16"].T[None].astype(np.float32) / 32768
    model = authors(recorded, normalize="spectrum", **SMALL)
    layers = {}
    for block in range(3):
        layers[f"skip{block}"] = f"encoder{block + 1}_bands"
        layers[f"enc{block}"] = f"encoder{block + 1}_global"
        layers[f"fus{block}"] = f"decoder{block + 1}_fusion"
        layers[f"dec{block}"] = f"decoder{block + 1}_bands"
    for path in range(4):
        layers[f"dp{path}"] = f"dual_path{path + 1}_frames"
        layers[f"fc{path}"] = f"transform{path + 1}"
    outputs = {name: model.get_layer(name).output for name in layers.values()}
    inside, parts = keras.Model(model.input, outputs)(mixture), 0
    for name, expected in recorded.items():
        theirs, _, where = name.partition("_first")
        if theirs in layers:
            found = np.transpose(inside[layers[theirs]][0, : int(where)], (2, 1, 0))
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
            parts += 1
    assert parts == 20
    stems = np.swapaxes(model(mixture)[0], 1, 2)
    np.testing.assert_allclose(stems, recorded["output"], atol=1e-7)
    target = np.swapaxes(recorded["loss_target"], 1, 2)[None]
    estimate = np.swapaxes(recorded["output"], 1, 2)[None, :, :2048]
    loss = losses.get("spectrum_rmse", n_fft=1024, hop_length=256)(target, estimate)
    np.testing.assert_allclose(loss, [recorded["spec_rmse_loss"]], rtol=1e-6)
    plain = authors(recorded, normalize="none", **SMALL)(mixture)[0, :, :4000]
    expected = recorded["output_without_spectrum_norm_first4000"]
    np.testing.assert_allclose(np.swapaxes(plain, 1, 2), expected, atol=1e-6)


# Counted by PyTorch; ours lack the second biases of the LSTMs.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "theirs"), [("paper", 10_578_768), ("large", 42_181_232), ("half", 2_661_440)]
)
def test_there_are_as_many_weights_as_in_the_authors_network(variant, theirs):
    size = scnet.VARIANTS[variant]
    dims = (4, *size.filters)
    second = made_scnet.second_biases(made_scnet.shapes(**{**made_scnet.PAPER, "dims": dims}))
    assert scnet.build(size=size).count_params() + second == theirs


def test_shapes_of_the_made_weights_count_to_what_the_authors_have():
    found = made_scnet.shapes(**made_scnet.PAPER)
    assert len(found) == 372 + 12 * 2 * 2 - 48
    assert sum(int(np.prod(shape)) for shape in found.values()) == 10_578_768


@pytest.mark.parametrize(("samples", "frames"), [(1, 4), (390, 18), (384, 18), (408, 20), (23, 4)])
def test_there_is_an_even_number_of_frames_and_silence_before_the_last(samples, frames):
    pad = PadToEvenFrames(24, 33)  # the authors take 1 + hops, which must be even, of 24
    padded = pad(np.ones((1, samples, 1), np.float32))
    assert padded.shape == (1, (frames - 1) * 24, 1)
    assert pad.compute_output_shape((1, samples, 1)) == padded.shape
    assert np.all(padded[:, :samples] == 1)
    assert not np.any(padded[:, samples:])
    assert padded.shape[1] > samples


@pytest.mark.parametrize("frames", [4, 22, 476])
def test_transforms_over_frames_are_numpys(rng, frames):
    x = rng.standard_normal((2, frames, 3, 2)).astype(np.float32)
    spectrum = np.fft.rfft(x, axis=1, norm="ortho")
    expected = np.concatenate([spectrum.real, spectrum.imag], axis=-1)
    transform, inverse = FrameTransform(), FrameTransform(inverse=True)
    found = transform(x)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(inverse(expected.astype(np.float32)), x, atol=2e-6)
    assert transform.compute_output_shape(x.shape) == found.shape
    assert inverse.compute_output_shape(found.shape) == x.shape


@pytest.mark.parametrize("normalize", ["waveform", "both"])
def test_a_normalised_waveform_is_that_of_the_whole_recording(rng, normalize):
    """Level and offset pass through, of blocks that are loud and faint."""
    size = models.sizes("scnet", variant="tiny", dual_paths=0, normalize=normalize)
    size = replace(size, block_seconds=1000 / size.sample_rate)
    network, grid = scnet.build(["a", "b"], size), size.grid()
    separator = BlockSeparator(
        System(
            function=lambda block: np.asarray(network(block)),
            sources=["a", "b"],
            sample_rate=size.sample_rate,
            channels=2,
            grid=grid,
            standardised=size.standardised,
        )
    )
    mixture = noise(rng, 3 * grid.samples)[0] + np.float32(0.1)
    mixture[grid.samples :] *= 0.1
    stems = separator.separate(mixture, size.sample_rate)
    mono = mixture.mean(axis=1)
    mean, std = mono.mean(), mono.std(ddof=1)
    first = np.asarray(network(((mixture - mean) / std)[None, : grid.samples]))[0]
    expected = first[:, : grid.hop] * std + mean
    found = np.stack([stems["a"], stems["b"]])[:, : grid.hop]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    loud = separator.separate(3 * mixture + 0.2, size.sample_rate)
    np.testing.assert_allclose(loud["b"], 3 * stems["b"] + 0.2, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dual_paths": 3}, "dual_paths must be even.*got 3"),
        ({"filters": ()}, r"filters must be one number a block.*got \(\)"),
        ({"filters": (1, 4)}, r"none under compress=2; got \(1, 4\)"),
        ({"band_depths": (1, 1)}, "a number for each band"),
        ({"band_shares": (0.5, 0.4, 0.2)}, r"sum to 1; got \(0.5, 0.4, 0.2\)"),
        ({"band_kernels": (4, 2, 4)}, "band_kernels must be odd where the stride is 1"),
        ({"band_kernels": (3, 3, 4)}, "and the stride elsewhere; got band_kernels"),
        ({"band_depths": (1, -1, 0)}, "band_depths must be at least 0"),
        ({"conv_kernel": 2}, "conv_kernel must be odd; got 2"),
        ({"hop_length": 40}, "hop_length must be at most n_fft // 2"),
        (
            {"band_shares": (0.05, 0.05, 0.9), "n_fft": 16, "hop_length": 4},
            r"each band of each block must have a bin.*; 9 bins are too few",
        ),
        ({"normalize": "level"}, "normalize must be one of spectrum, waveform, both, none"),
    ],
)
def test_sizes_that_make_no_network_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        models.sizes("scnet", variant="tiny", **changes)
