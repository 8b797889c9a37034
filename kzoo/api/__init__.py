"""The short way in: what `import kzoo` offers by name."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import kzoo
from kzoo import presets, separation
from kzoo.models import list_models
from kzoo.presets import list_presets
from kzoo.presets.cache import cache_folder

if TYPE_CHECKING:
    import keras

    from kzoo import comparison, evaluation

DEFAULT_PRESET = "spleeter_2stems"


__all__ = [
    "Separator",
    "build",
    "compare",
    "embed",
    "enhance",
    "evaluate",
    "export",
    "export_all",
    "export_page",
    "from_preset",
    "list_models",
    "list_presets",
    "melody",
    "pitch",
    "save_to_preset",
    "separate",
    "tag",
    "transfer",
]


def build(name: str, **options: Any) -> keras.Model:
    """Build an untrained model by the name of its architecture.

    options: `sources`, `samples` and whatever else the architecture's `build` takes; `variant`,
    by default the first of its VARIANTS; and any field of its sizes, which replaces the
    variant's.
    Raises ValueError for an unknown name or option, with the nearest known one.
    """
    from kzoo import models

    return models.build(name, **options)


def from_preset(preset: str | Path, **options: Any) -> keras.Model:
    """Build a preset's model with its verified weights; see `kzoo.presets.from_preset`."""
    return presets.from_preset(preset, **options)


def save_to_preset(model: keras.Model, folder: str | Path, card: Mapping[str, Any]) -> Path:
    """Write a model and its card as a preset folder; see `kzoo.presets.save_to_preset`."""
    return presets.save_to_preset(model, folder, card)


class Separator(separation.BlockSeparator):
    """A preset ready to separate many signals: built and compiled once, thread-safe.

    Pickled, it is its preset and options, and is built anew where it is loaded.
    """

    _rebuild: Callable[[], Separator] | None = None

    @classmethod
    def from_preset(
        cls,
        preset: str | Path = DEFAULT_PRESET,
        *,
        overlap: float = 0.0,
        consistent: bool = False,
        attenuation_limit_db: float | None = None,
        mwf: bool = False,
        n_sources: int | None = None,
        device: str | None = None,
        engine: str = "auto",
        progress: presets.Progress | None = None,
        **options: Any,
    ) -> Separator:
        """Fetch (once), verify, build and compile a preset, or load an exported .tflite of one.

        overlap: share of a block, up to 0.5, that fades into the next; 0 is the model's own grid,
            or what the preset's card says.
        consistent: make the stems sum to the mixture. mwf: refine them by a multichannel
            Wiener filter, in two passes. attenuation_limit_db: by how much at most an enhancer
            lowers what is no speech.
        n_sources: how many a preset that separates by clusters gives, by default as its card says.
        device: "cpu", "gpu", "gpu:1". progress: called with bytes fetched and bytes in all.
        engine: "tensorflow"; "litert", which starts without it, from a file that is made at the
            first time; or "auto", LiteRT where that file is there, see `kzoo.engines`.
        options: of the architecture's sizes and build, such as mask_extension="average".
        """
        from kzoo.engines import exported, litert

        opened = presets.open_preset(exported.opened(preset))
        if n_sources is not None:
            opened = opened.with_n_sources(n_sources)
        if litert.chosen(engine, opened, device=device, mwf=mwf, **options):
            system = litert.system(opened, progress=progress)
        else:
            from kzoo.engines import tensorflow

            system = tensorflow.system(opened, mwf=mwf, device=device, progress=progress, **options)
        share = overlap or opened.card.get("overlap", 0.0)
        limit = {"attenuation_limit_db": attenuation_limit_db}
        separator = cls(system, overlap=share, consistent=consistent, **limit)
        separator._rebuild = functools.partial(
            cls.from_preset, preset, overlap=overlap, consistent=consistent, mwf=mwf,
            n_sources=n_sources, device=device, engine=engine, **limit, **options,
        )  # fmt: skip
        return separator

    def __reduce__(self):
        return super().__reduce__() if self._rebuild is None else (self._rebuild, ())


def separate(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path = DEFAULT_PRESET,
    *,
    progress: separation.Progress | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Separate a signal: `[samples, channels]` or `[samples]` to {source: array of that shape}.

    waveform: floating point, full scale 1.0, at any rate; progress(seconds done, in all) may
    return False to cancel. options: those of `Separator.from_preset`. Where there is
    more than one signal keep a Separator: this function builds the model on every call.
    """
    separator = Separator.from_preset(preset, **options)
    return separator.separate(waveform, sample_rate, progress=progress)


def enhance(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path | None = None,
    *,
    progress: separation.Progress | None = None,
    **options: Any,
) -> np.ndarray:
    """Return the speech of a noisy signal, `[samples, channels]` or `[samples]`, in its shape.

    preset: one that gives "speech"; by default the best that ships. Channels are enhanced one by
    one where the model takes one channel. The other arguments are those of `separate`; for many
    signals keep a Separator and take its "speech".
    Raises presets.PresetError for a preset that gives no speech.
    """
    from kzoo.engines import exported

    enhancer = presets.enhancer(exported.opened(preset))
    return separate(waveform, sample_rate, enhancer, progress=progress, **options)["speech"]


def pitch(
    waveform: np.ndarray,
    sample_rate: int,
    method: str | Path = "crepe_tiny",
    *,
    threshold: float = 0.0,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (times in seconds, f0_hz, confidence), one value a frame, of a waveform.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0.

    threshold: f0_hz is NaN where the confidence is below it. options: those of `PitchTracker`
    (hop_ms=4, fmin_hz, fmax_hz, decoder, ...), which is the object to keep for many signals.
    """
    from kzoo.pitch_tracking import PitchTracker

    found = PitchTracker(method, **options)(waveform, sample_rate)
    f0_hz = np.where(found.confidence < threshold, np.nan, found.f0_hz)
    return found.times_seconds, f0_hz, found.confidence


def melody(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path = "deep_salience_melody",
    *,
    threshold: float = 0.3,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (times in seconds, f0_hz, salience), one value a frame, of the melody of a mixture.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0.

    threshold: f0_hz is NaN where the salience is below it. options: those of
    `kzoo.pitch_tracking.melody.MelodyTracker`, which is the object to keep for many signals.
    """
    from kzoo.pitch_tracking.melody import MelodyTracker

    found = MelodyTracker(preset, **options)(waveform, sample_rate)
    f0_hz = np.where(found.confidence < threshold, np.nan, found.f0_hz)
    return found.times_seconds, f0_hz, found.confidence


def tag(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path = "choi_crnn",
    *,
    top: int | None = 5,
    threshold: float = 0.0,
    **options: Any,
) -> list[tuple[str, float]]:
    """Return (tag, mean probability) of the `top` likeliest tags, the likeliest first.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0. top: None for all. threshold:
    leaves out tags of a lower mean. options: those of `listening.Listener` (hop_seconds, device),
    which is the object to keep for many signals, and which has the tags over time too.
    """
    return _heard(waveform, sample_rate, preset, options).top(top, threshold=threshold)


def embed(
    waveform: np.ndarray, sample_rate: int, preset: str | Path = "choi_crnn", **options: Any
) -> np.ndarray:
    """Return what a tagger's last dense layer takes, `[windows, features]` float32.

    waveform, options: as in `tag`. Similar recordings lie close, so these features are what
    another classifier can learn from few examples by.
    """
    return _heard(waveform, sample_rate, preset, options).embeddings


def _heard(waveform, sample_rate: int, preset: str | Path, options: Mapping[str, Any]):
    from kzoo.listening import Listener

    return Listener(preset, **options)(waveform, sample_rate)


def transfer(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path | None = None,
    *,
    input_rate: bool = False,
    **options: Any,
) -> tuple[np.ndarray, int]:
    """Play what a recording sings or plays by a trained synthesiser: (sound `[samples]`, rate).

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0, at any rate. The sound is as
    long, at the preset's rate, or with input_rate at the recording's. options: those
    of `TimbreTransfer` in `synthesis.transfer` (octaves, match, loudness_db, gate, dry, method,
    engine), which is the object to keep for many signals. Raises presets.PresetError for a preset
    that is no synthesiser, ValueError where nothing has a pitch.
    """
    from kzoo.synthesis.transfer import TimbreTransfer

    return TimbreTransfer(preset, **options)(waveform, sample_rate, input_rate=input_rate)


def evaluate(
    corpus: str | Path | Sequence[str | Path],
    systems: Sequence[str | Path] = (),
    *,
    sources: Sequence[str] | None = None,
    overlap: float = 0.0,
    mwf: bool = False,
    n_sources: int | None = None,
    interchangeable: bool = False,
    measures: str | None = None,
    dnsmos: str | Path | None = None,
    **options: Any,
) -> evaluation.Report:
    """Score presets, run folders, folders of estimates, and scores of museval, on `corpus`.

    systems: a path, a name, or NAME=PATH.

    corpus: of several, the tracks are averaged together. sources: by default those of the first
    preset. n_sources: of presets that separate by clusters. interchangeable: the order of sources
    means nothing, as that of speakers; presets whose card says so need no word. measures: names of
    `kzoo.metrics.MEASURES` with commas between, or all of "separation" or of "speech"; by default
    the latter where the corpus is speech in noise. dnsmos: the path of sig_bak_ovr.onnx.
    options: of `kzoo.evaluation.evaluate` (out, tracks, start_seconds, duration_seconds,
    baselines, against, processes, progress, ...).
    """
    from kzoo import evaluation
    from kzoo.api.systems import evaluation_systems
    from kzoo.evaluation.measures import named_measures, what_to_score

    kind, columns = named_measures((measures or "").replace(",", " ").split())
    chosen = evaluation_systems(
        [str(name) for name in systems], {"overlap": overlap, "mwf": mwf},
        n_sources=n_sources, interchangeable=interchangeable,
    )  # fmt: skip
    wanted, speech = what_to_score(
        corpus, chosen, sources=sources or (), measures=kind, dnsmos=dnsmos,
        subset=options.get("subset"), tracks=options.get("tracks", ()),
    )  # fmt: skip
    return evaluation.evaluate(
        corpus, chosen, sources=wanted, speech=speech, columns=columns, **options
    )


def compare(
    recording: str | Path,
    systems: Sequence[str | Path],
    path: str | Path = "compare.html",
    **options: Any,
) -> comparison.Written:
    """Write a page on which the stems of several systems are heard in turn, without a reference.

    systems: presets, run folders, methods without training and folders of stems, or NAME=PATH of
    one. options: of `kzoo.comparison.compare` (start_seconds, duration_seconds, format, ...).
    """
    from kzoo import comparison
    from kzoo.api.systems import comparison_systems

    opened = comparison_systems([str(name) for name in systems])
    return comparison.compare(recording, opened, path, **options)


def export(
    preset: str | Path,
    to: str,
    folder: str | Path,
    *,
    precision: str = "fp32",
    limit_db: float | None = None,
    block_seconds: float | None = None,
    sound: str | Path | None = None,
    allow_flex: bool = False,
    fft: str = "auto",
    target: str = "cpu",
    overwrite: bool = False,
    progress: presets.Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Export a preset as "tflite", "saved_model" or "onnx" into `folder`; returns its card.

    It is proven equal. TFLite has a static block of about `block_seconds` (by default the model's
    own); a SavedModel and an ONNX file take any length unless that is given.
    sound: a recording to compare on; by default `deploy.examples.noisy_speech` for presets that
        give speech, and `parity_sound` for others.
    limit_db: how near to Keras it must be, by default `deploy.parity.LIMITS_DB` of the precision.
    fft: of TFLite; "rfft2d" has its own transform, "matmul" none of it, and "auto" what is fastest
        on a CPU. target: "gpu" takes "matmul" and layers that hold in half precision, in which the
        file is tried too; it is called NAME_gpu.
    progress: told of (kernels measured, how many there are) where a precision is searched for; what
        was measured is kept in the cache, so that another try goes on there.
    options: of the architecture's sizes and build; with condition="input" the artefact of a
        conditioned U-Net takes what to extract, and is called NAME_any_stem.
    Raises deploy's ParityError and FlexError, FileExistsError without `overwrite`, and ImportError
    where LiteRT, which proves a TFLite file, is missing; whatever is raised, `folder` is left as it
    was.
    """
    from kzoo.deploy import request

    preset = presets.open_preset(preset)
    card = preset.card
    request.check(to, precision=precision, block_seconds=block_seconds, allow_flex=allow_flex)
    form = {"fft": request.transforms(to, fft, target), "target": target}
    name = request.artefact_name(card["name"], target=target, **options)
    request.places(to, folder, name=name, precision=precision, overwrite=overwrite)
    from kzoo.deploy.export import export

    original, size = _original(
        preset, to, block_seconds, sound=sound, form={**form, "allow_flex": allow_flex}, **options
    )
    return export(
        original.model, to, folder, name=name, proof=original.proof, original=original,
        sample_rate=size.sample_rate, precision=precision, limit_db=limit_db, base_card=card,
        allow_flex=allow_flex, overwrite=overwrite, progress=progress,
        memory=cache_folder() / "search",
    )  # fmt: skip


def export_all(
    preset: str | Path,
    folder: str | Path,
    *,
    block_seconds: float | None = None,
    sound: str | Path | None = None,
    pairs: str | Path | None = None,
    speakers: Sequence[str | Path] = (),
    say: Callable[[str], object] = print,
    progress: presets.Progress | None = None,
    make: bool = True,
    times: Literal["missing", "again", "none"] = "missing",
) -> dict[str, Any]:
    """Export a preset in every form to `folder`/NAME, with a table of them; returns the table.

    A SavedModel, TFLite in every precision, each with what it costs in size, time, memory and
    scores, and in fp32 and int8 of shorter blocks too. What does not hold its limit is in the
    table with the reason, and not kept. Forms that are there already are left as they are.
    block_seconds: of the shorter blocks, by default a quarter of the model's own. sound: as in
    `export`. pairs: a folder with `clean` and `noisy` recordings of the same names, on which what
    gives speech is scored; speakers: recordings of as many voices as are told apart. Music is
    scored on the song of the stempeg package.
    say: takes a line for each form. progress: as in `export`. make, times: as in
    `deploy.matrix.matrix`, so that times can be left for a quiet hour.
    Raises ValueError and ImportError as `export` does for a single form.
    """
    from kzoo.deploy import tables, truth
    from kzoo.deploy.matrix import forms, matrix
    from kzoo.files import file_sha256, replacing
    from kzoo.pictures.exports import draw_exports

    preset = presets.open_preset(preset)
    preset.refuse_untrained()
    weights = preset.download()
    size, _ = preset.sizes()
    rate, channels, sources = size.sample_rate, getattr(size, "channels", 1), ()
    if block_seconds is None:
        _, samples = size.static(None)
        block_seconds = round(samples / rate / 4, 1)
    true = None
    if size.task == "separation":
        sources = preset.sources
        true = truth.of_song(sources, rate, channels)
        if pairs is not None:
            level_db = preset.card.get("level_db")
            true = true or truth.of_pair(Path(pairs), sources, rate, channels, level_db)
        true = true or truth.of_speakers([*map(Path, speakers)], sources, rate, channels)
    known = {
        "card": dict(preset.card), "weights": file_sha256(weights), "kzoo": kzoo.__version__,
        "sound": sound and file_sha256(Path(sound)), "truth": true and true.description,
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = Path(folder) / preset.card["name"]
    table = matrix(
        place, name=preset.card["name"], key=key, wanted=forms([block_seconds]),
        prepare=lambda to, seconds: _original(
            preset, to, seconds, sound=sound, stream=seconds is None
        )[0],
        true=true, sample_rate=rate, base_card=preset.card, say=say, make=make, times=times,
        progress=progress, memory=cache_folder() / "search",
    )  # fmt: skip
    with replacing(place / "matrix.md") as temporary:
        temporary.write_text(
            f"# {preset.card['name']}\n\n{tables.markdown(table)}", encoding="utf-8"
        )
    with replacing(place / "matrix.png") as temporary:
        draw_exports(table, temporary)
    return table


def export_page(
    preset: str | Path,
    folder: str | Path,
    *,
    precisions: Sequence[str] = ("fp32", "fp16"),
    block_seconds: float | None = None,
    licences: str | None = None,
    node_modules: Path | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Write a page that runs a separator or enhancer in the browser; returns its networks' cards.

    folder: for any static host, of the page, a proven TFLite file of each precision with its card,
    and LiteRT.js. Of a preset that streams there is one file, the stream's. licences: of code,
    weights and data, as text; by default the card's own lines.
    node_modules: where npm has put LiteRT.js; by default npm fetches it once, into the cache.
    Raises as `export`; PresetError for what is no separator of a waveform alone, FileExistsError
    without `overwrite`, ImportError where npm is missing; `folder` is then as it was.
    """
    from kzoo import web
    from kzoo.deploy.placing import beside, move

    preset, folder = presets.open_preset(preset), Path(folder)
    task = preset.task if preset.task != "separation" else preset.sizes()[0].task
    if task != "separation":
        raise presets.PresetError(f"preset {preset} is for {task}; a page separates sound")
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder}: is there already; overwrite it or name another folder")
    web.litert_js.packages(node_modules)  # before what takes minutes
    lines = preset.card.get("licences", {}).items()
    with beside(folder) as scratch:
        cards = []
        for precision in precisions:
            cards.append(export(
                preset, "tflite", scratch / "networks", precision=precision,
                block_seconds=block_seconds,
            ))  # fmt: skip
            if "stream" in cards[0]:  # one file is of every precision
                break
        web.write_page(
            scratch / folder.name, cards, node_modules=node_modules,
            licences=licences or "\n".join(f"{what}: {licence}" for what, licence in lines),
            interchangeable=bool(preset.card.get("interchangeable", False)),
        )  # fmt: skip
        move(scratch / folder.name, folder, scratch)
    return cards


def _original(
    preset: presets.Preset,
    to: str,
    block_seconds: float | None,
    *,
    sound: str | Path | None,
    form: Mapping[str, Any] | None = None,
    stream: bool = True,
    **options: Any,
):
    """(the `deploy.export.Original` of a preset in a format, its sizes).

    form: the options of that class.
    """
    from kzoo import tasks
    from kzoo.deploy.export import Original

    size, arguments = preset.sizes(**options)
    if to == "tflite" or block_seconds is not None:
        samples = block_seconds and max(1, round(block_seconds * size.sample_rate))
        size, arguments["samples"] = size.static(samples)
    stream = stream and to == "tflite"
    prove = tasks.task(size.task).prove(preset, size, sound=sound, stream=stream)
    model = preset.model(size, **arguments)
    return Original(model, prove(model), **(form or {})), size
