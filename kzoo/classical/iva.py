"""AuxIVA: as many sources as microphones in a room, by the frequencies that sound together.

Ono, 2011, https://doi.org/10.1109/ASPAA.2011.6082320, determined, with each source brought back to
how it sounds at the microphones (Murata, Ikeda and Ziehe, 2001); as pyroomacoustics has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.classical.base import BlindMethod, learning_system
from kzoo.classical.ica import refuse_dependent
from kzoo.classical.spectra import Transform
from kzoo.separation import System

MODELS = ("laplace", "gauss")
_FLOOR = 1e-15
# Of a frequency's power against the loudest one's, and of its weakest direction's against its
# strongest one's (joint stereo of MP3 makes high frequencies mono): below is nothing to separate.
_SILENT = 1e-12
_FLAT = 1e-10


@dataclass(frozen=True, kw_only=True)
class AuxIva(BlindMethod):
    """Independent vector analysis by auxiliary functions.

    model: of a source, "laplace" or "gauss" (with a variance that changes in time).
    window_seconds: of the STFT; longer than most of the room's echo.
    learned_frames: of a recording, spread evenly over all of it.
    """

    summary: ClassVar[str] = "as many sources as microphones, in a room with echo"
    several_channels: ClassVar[bool] = True

    model: str = "laplace"
    iterations: int = 30
    window_seconds: float = 0.128
    learned_frames: int = 2000

    def __post_init__(self):
        super().__post_init__()
        _refuse_model(self.model)

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`."""
        self.refuse(channels)
        transform = Transform.lasting(self.window_seconds, sample_rate)
        grid = transform.block_grid(10.0, sample_rate)

        def rows(waveform: np.ndarray) -> np.ndarray:
            frames = np.moveaxis(transform.new(transform.forward(waveform), grid), 2, 0)
            return frames[frames.any(axis=(1, 2))]

        def separate(waveform: np.ndarray, images: np.ndarray) -> np.ndarray:
            spectra = np.einsum("jfcd,dft->jcft", images, transform.forward(waveform))
            return transform.inverse(spectra, len(waveform))

        return learning_system(
            self.sources,
            sample_rate,
            channels,
            grid,
            rows=rows,
            most=self.learned_frames,
            learn=self._images,
            separate=separate,
        )

    def _images(self, frames: np.ndarray) -> np.ndarray:
        """From spectra to each source at the microphones, `[sources, bins, channels, channels]`.

        frames: `[frames, channels, bins]`.
        """
        mixture = np.moveaxis(frames, 1, 2).astype(np.complex128)  # [frames, bins, channels]
        flat = mixture.reshape(-1, mixture.shape[2])
        refuse_dependent((flat.T @ flat.conj()).real)
        unmixing = auxiva(mixture, iterations=self.iterations, model=self.model)
        separated = np.einsum("fjc,tfc->tfj", unmixing, mixture)
        scales = np.stack(
            [projection(separated, mixture[:, :, c]) for c in range(mixture.shape[2])], axis=2
        )  # [bins, sources, channels]
        images = np.einsum("fjc,fjd->jfcd", scales, unmixing)
        images[:, ~separable(mixture)] = np.eye(mixture.shape[2]) / len(images)  # equal shares
        parts = np.einsum("fjc,tfj->tfjc", scales, separated)
        energies = np.sum(np.abs(parts) ** 2, axis=(0, 1, 3))
        return images[np.argsort(energies)[::-1]].astype(np.complex64)


def auxiva(mixture: np.ndarray, *, iterations: int = 30, model: str = "laplace") -> np.ndarray:
    """Spectra `[frames, bins, channels]` to the matrices `[bins, sources, channels]` that separate.

    They begin as identities; frequencies that are not `separable` keep them. Raises ValueError for
    another model.
    """
    _refuse_model(model)
    frames, bins, n_sources = mixture.shape
    unmixing = np.tile(np.eye(n_sources, dtype=mixture.dtype), (bins, 1, 1))
    audible = separable(mixture)
    heard = np.ascontiguousarray(mixture[:, audible].transpose(1, 2, 0))  # [bins, channels, frames]
    matrices = unmixing[audible]
    units = np.eye(n_sources, dtype=mixture.dtype)[:, None, :, None]  # [sources, 1, channels, 1]
    for _ in range(iterations):
        energies = np.sum(np.abs(matrices @ heard) ** 2, axis=0)  # [sources, frames]
        spread = 2 * np.sqrt(energies) if model == "laplace" else energies / bins
        for s, weights in enumerate(1 / np.maximum(spread, _FLOOR)):
            covariance = (heard * weights) @ heard.conj().transpose(0, 2, 1) / frames
            row = np.linalg.solve(matrices @ covariance, units[s])  # [bins, channels, 1]
            norm = np.sqrt((row.conj().transpose(0, 2, 1) @ covariance @ row).real)
            matrices[:, s] = (row / norm)[:, :, 0].conj()
    unmixing[audible] = matrices
    return unmixing


def separable(mixture: np.ndarray) -> np.ndarray:
    """Whether frequencies of `[frames, bins, channels]` have several directions, `[bins]`."""
    spectra = mixture.transpose(1, 2, 0)
    directions = np.linalg.eigvalsh(spectra @ spectra.conj().transpose(0, 2, 1))  # ascending
    strongest = directions[:, -1]
    return (strongest > _SILENT * strongest.max()) & (directions[:, 0] > _FLAT * strongest)


def projection(separated: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Factors `[bins, sources]` by which sources are as loud as in `reference`, in least squares.

    separated: `[frames, bins, sources]`; reference: the spectra of a microphone, `[frames, bins]`.
    """
    power = np.sum(np.abs(separated) ** 2, axis=0)
    shared = np.sum(separated.conj() * reference[:, :, None], axis=0)
    return shared / np.where(power > 0, power, 1)


def _refuse_model(model: str) -> None:
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
