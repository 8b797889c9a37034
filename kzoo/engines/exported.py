"""Exported files in the place of presets: what a .tflite of kzoo tells of itself is its card.

LiteRT alone runs them, without TensorFlow, in the blocks that the file was written for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.audio import pieces
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines.folder import of_blocks, of_streams
from kzoo.engines.states import STATE, Instrument, Step, beginnings
from kzoo.engines.windows import WindowNetwork
from kzoo.presets import EXPORTED, Preset, PresetError
from kzoo.separation import System

_SERVING, _STEP, _RESET = "serving_default", "step", "reset"
_JOINING = ("linear", "centred", "standardised")


@dataclass(frozen=True)
class Exported(Preset):
    """A file of `kzoo export`, for what runs presets by LiteRT.

    card: what the file tells of itself. path: of the file.
    """

    path: Path

    @property
    def clusters(self) -> bool:
        """No: what separates by clusters hears a recording twice, and is not exported."""
        return False

    def refuse_untrained(self) -> None:
        """Raise nothing: `kzoo export` has refused what is untrained."""

    def refuse_mwf(self) -> None:
        """Raise PresetError: the filter hears a recording twice, which no exported file does."""
        raise PresetError(f"{self}: an exported file has no multichannel Wiener filter (--mwf)")

    def weights_path(self) -> Path:
        """The file itself."""
        return self.path

    @property
    def frame_wise(self) -> bool:
        """Whether it hears names in frames."""
        return "names" in self.card and "hop_length" in self.card

    @property
    def stream(self) -> Mapping[str, Any] | None:
        """What it tells of its steps and their state; None for a file of whole blocks."""
        return self.card.get("stream")


def opened(preset: str | Path | Preset | None) -> str | Path | Preset | None:
    """An exported file opened; a preset's name, its folder, and None as they are.

    Raises PresetError for a file that is not there or not of kzoo, ValueError for one that is
    damaged.
    """
    if not isinstance(preset, str | Path) or Path(preset).suffix != EXPORTED:
        return preset
    from kzoo.deploy.formats.metadata import read_metadata

    path = Path(preset)
    if not path.is_file():
        raise PresetError(f"{path}: is not there")
    told = read_metadata(path)
    if told is None:
        raise PresetError(
            f"{path}: tells nothing of itself, as files of other programs do; kzoo runs what kzoo "
            "export has written"
        )
    if "sources" not in told:
        signatures = told["signatures"]
        signature = signatures.get(_STEP) or signatures[_SERVING]
        draws = "draws" in told
        plays = "f0_hz" in signature["inputs"] and not draws
        tells = "listening" if "names" in told else f"{', '.join(signature['outputs'])} of frames"
        task = "synthesis" if plays else "generation" if draws else tells
        told = {**told, "task": task}
        if plays and "stream" not in told:
            raise PresetError(
                f"{path}: plays one block and keeps no state; {told['name']}_stream{EXPORTED}, "
                "which kzoo export writes beside it, plays any length"
            )
    return Exported(str(preset), path.parent, told, path)


def system(file: Exported, *, live: bool, threads: int) -> System:
    """Separate by a file, in its own blocks.

    Raises PresetError for what LiteRT cannot use, for blocks that are joined in a way that is not
    known here, and with `live` for what hears whole blocks.
    """
    told, stream = file.card, file.stream
    if live and stream is None:
        raise PresetError(
            f"{file}: hears whole blocks and cannot run live; of presets with a latency kzoo "
            f"export writes NAME_step{EXPORTED}, which can"
        )
    sources, function, begin = told["sources"], None, None
    joining = told.get("joining", {})  # of files that say none, blocks fade by squared sines
    if unknown := [name for name in joining if name not in _JOINING]:
        raise PresetError(
            f"{file}: its blocks are joined {', '.join(unknown)}, which this kzoo does not know; a "
            "newer one wrote the file: pip install -U kzoo"
        )
    if stream is not None:
        step = _step_samples(stream)
        # A second at a time where there is time for it: levels are measured on blocks.
        samples = step if live else step * max(1, told["sample_rate"] // step)
        grid = BlockGrid(samples, samples, context=True)
        begin = of_streams(_begin(file, step, threads), sources)
    else:
        samples = told["block_samples"]
        grid = BlockGrid(
            samples, samples - told["overlap_samples"],
            linear=joining.get("linear", False), centred=joining.get("centred", False),
        )  # fmt: skip
        run = _runner(file, _SERVING, threads)
        if "condition" in told:
            run, sources = _of_conditions(run, told), told["condition"]["names"]
        function = of_blocks(run, sources)
    return System(
        sources=tuple(sources), sample_rate=told["sample_rate"], channels=told["channels"],
        grid=grid, interchangeable=told.get("interchangeable", False),
        standardised=joining.get("standardised", False),
        delay=stream["delay_samples"] if stream else 0, function=function, begin=begin,
    )  # fmt: skip


def listener(file: Exported, *, threads: int) -> WindowNetwork:
    """Hear windows by a file, which gives no embeddings; raises as `instrument`.

    PresetError for one that tells of frames.
    """
    if file.frame_wise:
        raise PresetError(f"{file}: tells of frames, not of windows; kzoo onsets runs it")
    told, heard = file.card, _runner(file, _SERVING, threads)
    return WindowNetwork(
        tuple(told["names"]), told["sample_rate"], told["block_samples"], told.get("hop_seconds"),
        run=lambda window: (heard(waveform=window[:, None])["probabilities"].copy(), None),
    )  # fmt: skip


def frames(file: Exported, *, threads: int) -> Callable[[Iterable[np.ndarray]], Iterator]:
    """Hear frames by a file that streams: blocks `[samples]` to `[frames, names]` stretches.

    There are 1 + samples // hop_length frames, each said at its own time. Raises PresetError for a
    file that tells of windows, for one of a single block, and as `instrument`.
    """
    stream = file.stream
    if not file.frame_wise:
        raise PresetError(f"{file}: tells of windows, not of frames; kzoo tag runs it")
    if stream is None:
        raise PresetError(
            f"{file}: hears one block, with silence around it; {file.card['name']}_stream"
            f"{EXPORTED}, which kzoo export writes beside it for what hears the past alone, hears "
            "any length"
        )
    hop_length, begin = stream["hop_length"], _begin(file, _step_samples(stream), threads)
    at_once = stream["frames"] * max(1, file.card["sample_rate"] // _step_samples(stream))

    def heard(signal: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        step, late, wanted = begin(), stream["delay_samples"] // hop_length, 0
        silence = np.zeros(at_once * hop_length, np.float32)
        rest = [(silence, 0)] * -(-late // at_once)
        blocks = pieces(signal, hop_length, at_once, 0, hop_length)
        for piece, count in itertools.chain(blocks, rest):
            wanted += count
            found = step(waveform=piece[None, :, None])["probabilities"][0]
            early, late = late, max(0, late - len(found))
            found = found[early:][:wanted]
            wanted -= len(found)
            if len(found):
                yield found

    return heard


def _step_samples(stream: Mapping[str, Any]) -> int:
    return stream["frames"] * stream["hop_length"]


def instrument(file: Exported, *, threads: int) -> Instrument:
    """Play by a file, in whose sound the room is; raises PresetError for what LiteRT cannot use."""
    stream = file.stream
    return Instrument(_begin(file, stream["frames"], threads), stream["hop_length"], None)


def drawing_steps(file: Exported, *, threads: int) -> Callable[[], Step]:
    """Begin a sound that a generator's file draws, by single steps of it; raises as `instrument`.

    PresetError for a file without steps.
    """
    if file.stream is None or _RESET not in file.card["signatures"]:
        raise PresetError(
            f"{file}: says what may come next and draws nothing; {file.card['name']}_stream"
            f"{EXPORTED}, which kzoo export writes beside it where what a sample hears of its "
            "conditions is known with it, draws sound"
        )
    return _begin_step(file, threads)


def _begin(file: Exported, length: int, threads: int) -> Callable[[], Step]:
    """Begin streams in silence, of blocks of whole steps, each as long as `length`."""
    begin_step = _begin_step(file, threads)

    def begin() -> Step:
        step = begin_step()

        def steps(**block: np.ndarray) -> dict[str, np.ndarray]:
            found = [
                step(**{name: x[:, at : at + length] for name, x in block.items()})
                for at in range(0, next(iter(block.values())).shape[1], length)
            ]
            return {name: np.concatenate([x[name] for x in found], axis=1) for name in found[0]}

        return steps

    return begin


def _begin_step(file: Exported, threads: int) -> Callable[[], Step]:
    """Begin single steps in silence: the state is handed on, or is the file's own."""
    shapes = file.card["signatures"]
    if _RESET not in shapes:
        begun = file.stream["begins_with"]
        silence = {
            name: np.array(begun.get(name, np.zeros(shape)), np.float32).reshape(shape)
            for name, shape in shapes[_STEP]["inputs"].items()
            if name.startswith(STATE)
        }
        return beginnings(_runner(file, _STEP, threads), silence)
    ready = [_interpreter(file, threads)]  # whatever is wrong with it is said before the first

    def begin() -> Step:
        # A file's state is its interpreter's: each stream has one, which lives as long as its step.
        interpreter = ready.pop() if ready else _interpreter(file, threads)
        interpreter.get_signature_runner(_RESET)()
        return interpreter.get_signature_runner(_STEP)

    return begin


def _of_conditions(run: Step, told: Mapping[str, Any]) -> Step:
    """All that a file can be asked for, one after the other."""
    (output,), what, names = told["sources"], *map(told["condition"].get, ("input", "names"))
    alone = np.eye(len(names), dtype=np.float32)

    def stems(waveform: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: run(waveform=waveform, **{what: asked})[output]
            for name, asked in zip(names, alone, strict=True)
        }

    return stems


def _runner(file: Exported, signature: str, threads: int) -> Step:
    return _interpreter(file, threads).get_signature_runner(signature)


def _interpreter(file: Exported, threads: int) -> Any:
    from kzoo.deploy.interpreter import loaded

    try:
        return loaded(file.path, threads=threads)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise PresetError(f"{file}: LiteRT cannot use it ({reason})") from None
