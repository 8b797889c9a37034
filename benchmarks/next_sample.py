"""Bits a sample of a generator's preset on held-out sound, beside predictors that are no networks.

    python benchmarks/next_sample.py RUN data/violin --held minji-kim_bwv1003_mov4

All give the chances of the same codes: the preset's of `--windows` seconds of the
held-out recording at equal distances, after what it hears, or `--before` seconds where it hears
all. Besides:

unigram: how often each code is in the other recordings.
linear: a predictor of `--taps` samples, by default all that the preset hears, or 32 where it hears
    all of the past; least squares over the other recordings, and its error is Laplace's with a
    scale that follows its last errors; a code's chance is that of its amplitudes.
fitted anew: the same of REFIT_TAPS samples, fitted every REFIT_EVERY samples to the REFIT_OVER
    before them, of which the last count most, on the same seconds as the preset.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, oaconvolve

FOLLOWS = (0.9, 0.97, 0.99)  # of a mean error what the next one leaves of it: the best is taken
SCALES = (0.5, 0.7, 1.0, 1.4)
REFIT_TAPS, REFIT_EVERY, REFIT_OVER = 32, 64, 2048


def unigram_bits(learned: np.ndarray, held: np.ndarray, levels: int) -> float:
    """Bits a code of `held`, after the counts of `learned` and one more of each."""
    counts = np.bincount(learned, minlength=levels) + 1.0
    return float(-np.log2(counts / counts.sum())[held].mean())


def predictor(waveforms: list[np.ndarray], taps: int) -> np.ndarray:
    """`[taps]` of the last samples, the latest first, by the autocorrelation method."""
    sums = np.zeros(taps + 1)
    for x in waveforms:
        length = next_fast_len(len(x) + taps, real=True)
        sums += irfft(np.square(np.abs(rfft(x, length))), length)[: taps + 1]
    sums[0] *= 1 + 1e-9
    return solve_toeplitz(sums[:-1], sums[1:])


def linear_bits(
    taps: np.ndarray, waveform: np.ndarray, codes: np.ndarray, edges: np.ndarray,
    follows: float, scale: float,
) -> np.ndarray:  # fmt: skip
    """Bits of each code but those that the predictor has no past of.

    edges: `[levels - 1]`, the amplitudes between the codes.
    """
    predicted = oaconvolve(waveform, np.r_[0.0, taps])[: len(waveform)]
    errors = np.abs(waveform - predicted)
    mean = lfilter([0.0, 1 - follows], [1.0, -follows], errors)  # of those before
    return laplace_bits(predicted, scale * mean + 1e-4, codes, edges)[len(taps) :]


def laplace_bits(predicted, width, codes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bits of each code, where the amplitude is about `predicted`, as wide as `width`."""
    bounds = np.r_[-np.inf, edges, np.inf]
    below, above = ((bounds[codes + k] - predicted) / width for k in (0, 1))
    # Of Laplace's distribution; on one side of 0 a difference of small numbers, not of ones.
    flipped = below > 0
    low, high = np.where(flipped, -above, below), np.where(flipped, -below, above)
    chance = np.where(
        high <= 0,
        0.5 * (np.exp(np.minimum(high, 0)) - np.exp(np.minimum(low, 0))),
        1 - 0.5 * np.exp(-np.maximum(high, 0)) - 0.5 * np.exp(np.minimum(low, 0)),
    )
    # A thousandth is shared by all codes, as any sound surprises.
    return -np.log2(0.999 * chance + 0.001 / (len(edges) + 1))


def adaptive_bits(waveform: np.ndarray, codes: np.ndarray, edges: np.ndarray, last: int) -> float:
    """Mean bits of the `last` codes by a predictor that is fitted anew as it goes."""
    bits = []
    for at in range(len(waveform) - last, len(waveform), REFIT_EVERY):
        past = waveform[max(0, at - REFIT_OVER) : at]
        heard = past * np.hanning(2 * len(past))[: len(past)]
        taps = predictor([heard], REFIT_TAPS)
        part = waveform[max(0, at - REFIT_OVER // 4 - REFIT_TAPS) : at + REFIT_EVERY]
        predicted = lfilter(np.r_[0.0, taps], [1.0], part)
        width = np.abs(part - predicted)[REFIT_TAPS:-REFIT_EVERY].mean() + 1e-4
        here = codes[at : at + REFIT_EVERY]
        bits.append(laplace_bits(predicted[-len(here) :], width, here, edges))
    return float(np.concatenate(bits).mean())


def scored(size, task, corpus, windows: int, before: int) -> Iterator[dict[str, np.ndarray]]:
    """Examples whose last second is scored, at equal distances in a corpus's first recording."""
    from kzoo.data.examples import Windows

    rate = size.sample_rate
    samples = size.whole(before + rate)
    drawn = samples + max(size.frame_samples, getattr(corpus, "hop_length", 1))
    length = corpus.tracks[0][1]
    hop = max(getattr(corpus, "hop_length", 1), (length - drawn) // windows)
    places = Windows(corpus, samples=drawn, hop=hop // 64 * 64 or 1)
    for number in range(min(windows, len(places))):
        yield task.predicted(places.example(number))


def network_bits(model, rate: int, examples: Iterable[dict[str, np.ndarray]]) -> float:
    """Mean bits a code of the last second of each example."""
    bits = []
    for found in examples:
        given = {x.name: found[x.name][None] for x in model.inputs}
        logits = np.float64(model.predict_on_batch(given)[0, -rate:])
        codes = found["target"][-rate:, 0].astype(int)
        own = logits[np.arange(len(codes)), codes]
        bits.append((np.logaddexp.reduce(logits, axis=-1) - own).mean() / np.log(2))
    return float(np.mean(bits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset", help="name or folder of a generator's preset, of codes")
    parser.add_argument("data", help="what kzoo data prepare --kind solo has written")
    parser.add_argument("--held", required=True, help="the recording that is held out")
    parser.add_argument("--windows", type=int, default=24, help="seconds that are scored")
    parser.add_argument("--before", type=float, default=1.0, help="seconds heard before each")
    parser.add_argument("--taps", type=int, help="samples that the predictor hears")
    chosen = parser.parse_args()

    from kzoo import data, presets
    from kzoo.dsp.quantisation import amplitudes_of, codes_of
    from kzoo.tasks import task

    opened = presets.open_preset(chosen.preset)
    size, _ = opened.sizes()
    known = {"kind": "solo", "path": chosen.data}
    learned = data.open_corpus(**known, exclude=[chosen.held])
    held = data.open_corpus(**known, include=[chosen.held])

    def sounds(corpus):
        whole = [(t, n // corpus.hop_length * corpus.hop_length) for t, (_, n) in
                 enumerate(corpus.tracks)]  # fmt: skip
        return [np.float64(corpus.read(t, 0, n)["waveform"][:, 0]) for t, n in whole]

    def codes(sound):
        return codes_of(sound, size.levels, size.quantisation)

    before = size.context_samples() or round(chosen.before * size.sample_rate)
    samples = size.whole(before + size.sample_rate)
    model = presets.from_preset(chosen.preset, samples=samples)
    own = task("generation")(model, {}, size)
    examples = list(scored(size, own, held, chosen.windows, before))
    bits = network_bits(model, size.sample_rate, examples)
    print(f"{opened.card['name']}: {bits:.3f} bits a sample", flush=True)
    training, [test] = sounds(learned), sounds(held)
    heard = np.concatenate([codes(x) for x in training])
    print(f"unigram: {unigram_bits(heard, codes(test), size.levels):.3f}")
    # Of linear codes each has all amplitudes from its own on, of the others those nearest to it.
    border = 1.0 if size.quantisation == "linear" else 0.5
    edges = np.float64(
        amplitudes_of(np.arange(size.levels - 1) + border, size.levels, size.quantisation)
    )
    count = chosen.taps or (size.context_samples() or 33) - 1
    taps = predictor(training, count)
    options = [(f, s) for f in FOLLOWS for s in SCALES]
    first = training[0][: 60 * size.sample_rate]
    best = min(
        options, key=lambda o: linear_bits(taps, first, codes(first), edges, *o).mean()
    )  # fmt: skip
    found = linear_bits(taps, test, codes(test), edges, *best).mean()
    print(f"linear, {count} taps, follows {best[0]}, scale {best[1]}: {found:.3f}")
    each = []
    for example in examples:
        target = example["target"][:, 0].astype(int)
        known = np.float64(amplitudes_of(target, size.levels, size.quantisation))
        each.append(adaptive_bits(known, target, edges, size.sample_rate))
    print(f"linear, {REFIT_TAPS} taps, fitted anew: {np.mean(each):.3f}")


if __name__ == "__main__":
    sys.exit(main())
