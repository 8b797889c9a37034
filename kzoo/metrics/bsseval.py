"""BSS Eval: distortion, image, interference and artefacts, of whole signals or frame by frame.

Vincent, Gribonval and Févotte, 2006, Performance measurement in blind audio source separation
Stöter, Liutkus and Ito, 2018, The 2018 signal separation evaluation campaign (version 4, museval)

An estimate is taken apart by least squares: P is what FIR filters of its own reference explain of
it, Q what filters of all references explain. With T the reference and E the estimate,

    SDR = |T|² / |E - T|²       everything that is wrong
    ISR = |T|² / |P - T|²       filtering and wrong panning of the true source
    SIR = |P|² / |Q - P|²       other sources
    SAR = |Q|² / |E - Q|²       what no source explains

Version 4 (`bss_eval`) estimates the filters on the whole signal and applies them to each frame.
Version 3 (`bss_eval_images`, `bss_eval_sources`) estimates them anew for each frame.

Where references have next to nothing in a part of the spectrum, as lossy files above 16 kHz, their
Gram matrix is close to singular, and rounding decides what filters do there. Against museval, on
4 s of two stems of Ogg Vorbis with more or less noise added: up to a condition of 1e9 all measures
agree to 1e-7 dB, at 1e10 SIR and SAR to 1e-5, at 1e12 to 1e-2; above 1e15 they differ by decibels,
as museval's own do between one thread and two. SDR needs no filters and is exact; ISR was so to
0.002 dB. `BSSEval.condition` is the number, and `BSSEval.note` says what it means. The scores are
the same for any number of threads. `regularisation=1e-10` keeps filters small where there is no
sound: it changed ISR by 6e-4 dB at most, and SIR and SAR by up to 30 where nothing determines them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from kzoo.metrics import projection
from kzoo.metrics.order import best_order

WELL_CONDITIONED = 1e9  # up to here SIR and SAR are those of any program, to 1e-6 dB
_PLAIN_CHANNELS = 8  # up to here a signal may have fewer samples than channels
_BLOCK = 1 << 16


class BSSEval(NamedTuple):
    """The four measures in dB, each float64 `[sources, frames]`, and what they rest on.

    order: the estimate that is taken for each reference, int `[sources, frames]`; their own order
    unless another was asked for.
    condition: of the Gram matrix of the references, each channel at unit power; the highest of all
    frames that have filters of their own, and infinite where a matrix is singular.
    regularisation: the share of each channel's power that was added to its diagonal.
    """

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    order: np.ndarray
    condition: float
    regularisation: float

    @property
    def note(self) -> str:
        """A sentence for the reader of a table where SIR and SAR are not to be relied on, or ""."""
        if not self.condition > WELL_CONDITIONED:
            return ""
        return (
            "SIR and SAR depend on rounding, as parts of the spectrum are empty: the references' "
            f"Gram matrix has condition {self.condition:.0e}, above {WELL_CONDITIONED:.0e}"
        )


def bss_eval(
    references: np.ndarray,
    estimates: np.ndarray,
    *,
    window: float | None = 44100,
    hop: float | None = 44100,
    filters_len: int = 512,
    framewise_filters: bool = False,
    sources_version: bool = False,
    permute: bool = False,
    regularisation: float = 0.0,
    threads: int | None = None,
) -> BSSEval:
    """Score `estimates` against `references`, both `[sources, samples, channels]`.

    `[sources, samples]` is taken as mono. window, hop: frames in samples (44100 is museval's
    second at its rate; None or infinity for one frame of everything); only whole windows count.
    filters_len: taps of the distortion filters. framewise_filters: new filters for every frame,
    which is version 3. sources_version: the measure of `bss_eval_sources`, in which the target is
    the filtered reference and ISR is NaN; not for publication.
    permute: the order of estimates with the highest mean SIR, of each frame where the filters are,
    of the whole otherwise. regularisation: a share of each channel's power that is added to the
    diagonal of the Gram matrix, as white noise of that power would be.
    threads: as many as there are cores by default.

    A frame in which any reference or estimate is silent is NaN for every source, as in museval;
    take `track_medians`. An exact estimate has an SDR of infinity.
    Raises ValueError for shapes that differ, for a source that is silent throughout, and for NaN.
    """
    references, estimates = _checked(references, estimates)
    if not regularisation >= 0:
        raise ValueError(f"regularisation must be 0 or more; got {regularisation}")
    n_sources, samples, _ = references.shape
    frames = _frames(samples, window, hop)
    threads = threads or os.cpu_count() or 1
    indices = np.arange(n_sources)
    pairs = np.stack([indices, indices], axis=1)
    if permute:
        pairs = np.stack(np.meshgrid(indices, indices, indexing="ij"), axis=-1).reshape(-1, 2)
    heard = [t for t, frame in enumerate(frames) if not _any_silent(references, estimates, frame)]
    energies = np.full((8, len(pairs), len(frames)), np.nan)
    condition, added = np.nan, regularisation
    stretches = [(slice(0, samples), heard)]
    if framewise_filters:
        stretches = [(frames[t], [t]) for t in heard]
    for stretch, scored in stretches:
        if not scored:
            continue
        filters = projection.least_squares(
            references[:, stretch],
            estimates[:, stretch],
            pairs,
            filters_len,
            frame=max(frames[t].stop - frames[t].start for t in scored),
            regularisation=regularisation,
            threads=threads,
        )
        energies[..., scored] = projection.energies(
            references, estimates, [frames[t] for t in scored], pairs, filters, threads
        )
        condition = np.fmax(condition, filters.condition)
        added = max(added, filters.regularisation)
    scores = _ratios(energies, sources_version)
    order = np.tile(indices[:, None], len(frames))
    if permute:
        scores = scores.reshape(4, n_sources, n_sources, -1)
        order = _best_order(scores[2], framewise_filters)
        scores = scores[:, indices[:, None], order, np.arange(len(frames))]
    return BSSEval(*scores, order, float(condition), added)


def bss_eval_images(
    references: np.ndarray,
    estimates: np.ndarray,
    *,
    window: float | None = None,
    hop: float | None = None,
    permute: bool | None = None,
    threads: int | None = None,
) -> BSSEval:
    """Score by version 3, as mir_eval's `bss_eval_images` and `bss_eval_images_framewise` do.

    The arguments are `bss_eval`'s, with which this is `framewise_filters`. Without a window the
    whole is scored, and the order of the estimates is the one of the highest mean SIR; frame by
    frame it is the given one, unless `permute` says otherwise.
    """
    return _version_3(references, estimates, window, hop, permute, threads, sources=False)


def bss_eval_sources(
    references: np.ndarray,
    estimates: np.ndarray,
    *,
    window: float | None = None,
    hop: float | None = None,
    permute: bool | None = None,
    threads: int | None = None,
) -> BSSEval:
    """Score mono sources by version 3, as mir_eval's `bss_eval_sources` and its framewise form do.

    Same as `bss_eval_images` with the filtered reference for the target: what a filter of 512 taps
    does to a source costs nothing, and ISR is NaN. Takes `[sources, samples]`.
    """
    for name, signal in (("references", references), ("estimates", estimates)):
        if np.ndim(signal) != 2:
            raise ValueError(
                f"{name} must be mono, [sources, samples]; got shape {np.shape(signal)}: take "
                "bss_eval_images"
            )
    return _version_3(references, estimates, window, hop, permute, threads, sources=True)


def _version_3(references, estimates, window, hop, permute, threads, *, sources: bool) -> BSSEval:
    samples = np.shape(references)[1]
    if window is not None and len(_frames(samples, window, hop)) < 2:
        window = None  # mir_eval's rule: one window is no frame, and the whole is scored
    return bss_eval(
        references,
        estimates,
        window=window,
        hop=hop,
        framewise_filters=True,
        sources_version=sources,
        permute=window is None if permute is None else permute,
        threads=threads,
    )


def track_medians(scores: BSSEval) -> dict[str, np.ndarray]:
    """A track's figures: the median over its frames, NaN frames left out, `[sources]` each.

    The figure of a corpus is the median of these over its tracks (museval, SiSEC 2018). NaN where
    no frame has a value.
    """
    medians = {}
    for name in ("sdr", "isr", "sir", "sar"):
        medians[name] = np.array(
            [
                np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan
                for row in getattr(scores, name)
            ]
        )
    return medians


def _checked(references, estimates) -> tuple[np.ndarray, np.ndarray]:
    signals = []
    for name, given in (("references", references), ("estimates", estimates)):
        signal = np.asarray(given)
        if signal.dtype != np.float32:  # which is read as it is, a block at a time
            signal = np.asarray(given, np.float64)
        if signal.ndim == 2:
            signal = signal[:, :, None]
        if signal.ndim != 3 or signal.size == 0:
            raise ValueError(
                f"{name} must be [sources, samples, channels]; got shape {np.shape(given)}"
            )
        samples, channels = signal.shape[1:]
        if channels > max(samples, _PLAIN_CHANNELS):  # the filters are quadratic in the channels
            raise ValueError(
                f"{name} must be [sources, samples, channels]; got shape {np.shape(given)}, which "
                f"would be {channels} channels: transpose it, {name}.transpose(0, 2, 1)"
            )
        for j, source in enumerate(signal):
            if not all(np.isfinite(block).all() for block in _blocks(source)):
                raise ValueError(f"{name}[{j}] holds NaN or infinite samples")
            if _silent(source):
                raise ValueError(
                    f"{name}[{j}] is silent throughout, so its scores are undefined; leave it out"
                )
        signals.append(signal)
    if signals[0].shape != signals[1].shape:
        raise ValueError(
            "references and estimates must have one shape; "
            f"got {np.shape(references)} and {np.shape(estimates)}"
        )
    return signals[0], signals[1]


def _any_silent(references: np.ndarray, estimates: np.ndarray, frame: slice) -> bool:
    return any(_silent(source[frame]) for source in (*references, *estimates))


def _silent(source: np.ndarray) -> bool:
    # museval's rule: the sum of the channels is zero at every sample.
    return not any(block.sum(axis=1, dtype=np.float64).any() for block in _blocks(source))


def _blocks(source: np.ndarray):
    return (source[k : k + _BLOCK] for k in range(0, len(source), _BLOCK))


def _frames(samples: int, window: float | None, hop: float | None) -> list[slice]:
    window = np.inf if window is None else window
    hop = window if hop is None else hop
    if not (window > 0 and hop > 0):
        raise ValueError(f"window and hop must be positive; got window={window}, hop={hop}")
    if window >= samples:
        return [slice(0, samples)]
    count = int((samples - window + hop) // hop)
    return [slice(int(t * hop), int(min(t * hop + window, samples))) for t in range(count)]


def _ratios(energies: np.ndarray, sources_version: bool) -> np.ndarray:
    """The measures in dB `[4, pairs, frames]` of the energies of `projection.Parts`."""
    parts = projection.Parts(*energies)
    target, distortion = parts.target, parts.distortion
    if sources_version:
        target, distortion = parts.own, parts.not_own
    above = np.stack([target, target, parts.own, parts.every])
    below = np.stack([distortion, parts.spatial, parts.interference, parts.artefacts])
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(below == 0, np.inf, 10 * np.log10(above / below))
    if sources_version:
        scores[1] = np.nan
    return scores


def _best_order(sir: np.ndarray, of_each_frame: bool) -> np.ndarray:
    """The estimates for references, int `[sources, frames]`, by `[references, estimates, frames]`.

    Those of the highest mean SIR, over all frames that have one or for each frame by itself.
    """
    scored = ~np.isnan(sir).any(axis=(0, 1))
    order = np.tile(np.arange(len(sir))[:, None], sir.shape[-1])
    if of_each_frame:
        for t in np.flatnonzero(scored):
            order[:, t] = best_order(sir[..., t])
    elif scored.any():
        order[:] = best_order(sir[..., scored].mean(axis=-1))[:, None]
    return order
