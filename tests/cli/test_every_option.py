"""Every option of every verb changes what it says it changes.

Each is given to a run that is otherwise the same; files, stdout and exit status are compared byte
for byte with those of the run without it. An option that is accepted and read by nothing fails
here, and so does a new one without a row.
"""

import contextlib
import functools
import io
import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import made_crepe
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from made_once import once

import kzoo.cli.demo
import kzoo.cli.presets
from kzoo import api, cli, config, models, presets, training, web
from kzoo.cli.app import command as program
from kzoo.deploy.formats import tflite
from kzoo.engines import tensorflow
from kzoo.evaluation import scoring
from kzoo.pitch_tracking import Pitch
from kzoo.synthesis import player, transfer

RATE = 8000
MUSIC, SPEECH = ("vocals", "accompaniment"), ("speech", "noise")

# Verb -> the words of a plain run; {name} is a file or folder of `material`.
PLAIN = {
    "": ("doctor",),
    "separate": ("{song}", "-p", "{preset}"),
    "enhance": ("{song}", "-p", "{enhancer}"),
    "export": ("-p", "{gains}", "-o", "out"),
    "evaluate": ("{estimates}", "--corpus", "{stems}", "--sources", "vocals,accompaniment",
                 "--baselines", "mixture", "--no-page", "-o", "out"),
    "compare": ("{song}", "one={recordings}", "two={estimates}/a", "--format", "flac"),
    "decompose": ("{estimates}/a/vocals.wav", "{stems}/a/vocals.wav",
                  "{stems}/a/accompaniment.wav", "-o", "out", "--no-plot"),
    "train": ("{training}",),
    "synthesize": ("{controls}", "-o", "out/a.wav"),
    "transfer": ("{voice}", "-o", "out/a.wav", "-p", "{organ}", "--method", "{nano}"),
    "pitch": ("{voice}", "--method", "{nano}", "--no-plot"),
    "serve": ("--page",),
    "demo": (),
    "data check": ("{stems}",),
    "data prepare": ("{stems}", "-o", "out"),
    "data mix": ("{config}", "-o", "out"),
    "presets download": ("unet_2stems_mobile",),
}  # fmt: skip


class Row(NamedTuple):
    """words: the option, put behind those of both runs. both: further words of both.

    again: both run where a plain run has written already. status: of the run with the option.
    printed: what is printed is compared, stderr being a terminal.
    """

    words: tuple = ()
    both: tuple = ()
    again: bool = False
    status: int = 0
    printed: bool = False


QUIET = Row(("--quiet",), printed=True)
OVERWRITE = Row(("--overwrite",), again=True)
NO_ENGINE = Row(
    ("--engine", "steam"), status=1
)  # tests/engines/test_litert.py has both that there are
NO_DEVICE = Row(("--device", "gpu:99"), status=1)
DEPTH = Row(("--bit-depth", "24"))
RECORDING = {
    "--overlap": Row(("--overlap", "0.25")),
    "--start": Row(("--start", "0.5")),
    "--duration": Row(("--duration", "0.5")),
    "--format": Row(("--format", "flac")),
    "--bit-depth": DEPTH,
    "--clip": Row(("--clip", "clamp"), both=("{loud}",)),
    "--tags": Row(("--no-tags",)),
    "--overwrite": OVERWRITE,
    "--device": NO_DEVICE,
    "--quiet": QUIET,
    "--out": Row(("-o", "elsewhere")),
}
SOUND = {
    "--out": Row(("-o", "out/b.wav")),
    "--preset": Row(("-p", "{other_organ}")),
    "--dry": Row(("--dry",), both=("-p", "{room}")),
    "--bit-depth": DEPTH,
    "--overwrite": OVERWRITE,
    "--engine": NO_ENGINE,
    "--quiet": QUIET,
}

OPTIONS = {
    "": {"--version": Row(("--version",))},
    "separate": {
        **RECORDING,
        "--preset": Row(("-p", "{other}")),
        "--two-stems": Row(("--two-stems", "vocals")),
        "--only": Row(("--only", "vocals")),
        "--mwf": Row(("--mwf",)),
        "--engine": NO_ENGINE,
        "--live": Row(("--live", "-"), status=1),  # tests/cli/test_live.py speaks into it
        "--consistent": Row(("--consistent",)),
    },
    "enhance": {
        **RECORDING,
        "--preset": Row(("-p", "{other_enhancer}")),
        "--noise": Row(("--noise",)),
        "--attenuation-limit": Row(("--attenuation-limit", "12")),
        "--list": Row(("--list",)),
        "--engine": NO_ENGINE,
        "--live": Row(("--live", "-"), status=1),  # tests/cli/test_enhancement.py speaks into it
    },
    "export": {
        "--preset": Row(("-p", "{other_gains}")),
        "--to": Row(("--to", "saved_model")),
        "--out": Row(("-o", "elsewhere")),
        "--precision": Row(("--precision", "fp16")),
        "--limit-db": Row(("--limit-db", "60")),
        "--block-seconds": Row(("--block-seconds", "2")),
        "--sound": Row(("--sound", "{song}")),
        "--all": Row(("--all",)),
        "--pairs": Row(("--pairs", "."), both=("--all",)),
        "--condition": Row(("--condition",), status=1),  # of another model than this one
        "--allow-flex": Row(("--allow-flex",)),
        "--fft": Row(("--fft", "dct"), status=1),  # of a model with a transform
        "--target": Row(("--target", "gpu")),
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
    },
    "serve": {
        "--preset": Row(("-p", "{other}")),
        "--port": Row(("--port", "8001")),
        "--quiet": QUIET,
    },
    "evaluate": {
        "--corpus": Row(("--corpus", "{tree}")),
        "--sources": Row(("--sources", "vocals")),
        "--out": Row(("-o", "elsewhere")),
        "--subset": Row(("--subset", "all"), both=("--corpus", "{tree}")),
        "--track": Row(("--track", "b")),
        "--start": Row(("--start", "1")),
        "--duration": Row(("--duration", "1")),
        "--baselines": Row(("--baselines", "ibm")),
        "--against": Row(("--against", "estimates")),
        "--overlap": Row(("--overlap", "0.25"), both=("{preset}",)),
        "--mwf": Row(("--mwf",), both=("{preset}",)),
        "--interchangeable": Row(("--interchangeable",)),
        "--measures": Row(("--measures", "SDR,LSD")),
        "--dnsmos": Row(("--dnsmos", "{song}"), status=1),
        "--page": Row(("--page",)),
        "--quiet": QUIET,
    },
    "compare": {
        "--out": Row(("-o", "elsewhere.html")),
        "--start": Row(("--start", "0.5")),
        "--duration": Row(("--duration", "0.5")),
        "--format": Row(("--format", "ogg")),
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
    },
    "decompose": {
        "--out": Row(("-o", "elsewhere")),
        "--noise": Row(("--noise", "{stems}/b/vocals.wav")),
        "--taps": Row(("--taps", "1")),
        "--start": Row(("--start", "0.5")),
        "--duration": Row(("--duration", "0.5")),
        "--plot": Row(("--plot",)),
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
    },
    "train": {
        "--out": Row(("-o", "elsewhere")),
        "--devices": Row(("--devices", "cpu")),
        "--quiet": QUIET,
    },
    "synthesize": {
        **SOUND,
        "--sample-rate": Row(("--sample-rate", "8000")),
        "--harmonics": Row(("--harmonics", "3")),
        "--slope": Row(("--slope", "3")),
        "--noise": Row(("--noise", "-20")),
    },
    "transfer": {
        **SOUND,
        "--octaves": Row(("--octaves", "-1")),
        "--match": Row(("--no-match",)),
        "--loudness-db": Row(("--loudness-db", "6")),
        "--gate": Row(("--gate", "0.8")),
        "--method": Row(("--method", "{wide}"), both=("--octaves", "0")),
        "--input-rate": Row(("--input-rate",)),
        "--picture": Row(("--picture", "out/a.png")),
    },
    "pitch": {
        "--out": Row(("-o", "elsewhere")),
        "--method": Row(("--method", "{wide}")),
        "--hop-ms": Row(("--hop-ms", "8")),
        "--fmin": Row(("--fmin", "600")),
        "--fmax": Row(("--fmax", "200")),
        "--decoder": Row(("--decoder", "local_average")),
        "--engine": NO_ENGINE,
        "--threshold": Row(("--threshold", "0.99")),
        "--plot": Row(("--plot",)),
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
    },
    "demo": {"--out": Row(("-o", "elsewhere")), "--quiet": QUIET},
    "data check": {
        "--kind": Row(("--kind", "sources")),
        "--sources": Row(("--sources", "vocals,bass")),
        "--mixture": Row(("--mixture", "other"), both=("{pairs}", "--kind", "pairs")),
        "--subset": Row(("--subset", "test"), both=("{tree}",)),
        "--quiet": QUIET,
    },
    "data prepare": {
        "--out": Row(("-o", "elsewhere")),
        "--kind": Row(("--kind", "sources")),
        "--sources": Row(("--sources", "vocals")),
        "--mixture": Row(("--mixture", "other"), both=("{pairs}", "--kind", "pairs")),
        "--exclude": Row(("--exclude", "b")),
        "--sample-rate": Row(("--sample-rate", "4000")),
        "--channels": Row(("--channels", "2")),
        "--dtype": Row(("--dtype", "float32")),
        "--licence": Row(("--licence", "CC0")),
        "--pitch": Row(("--pitch", "{wide}"),
                       both=("{recordings}", "--kind", "solo", "--pitch", "{nano}")),
        "--teacher": Row(("--teacher", "{other}"), both=("{recordings}", "--teacher", "{preset}")),
        "--quiet": QUIET,
    },
    "data mix": {"--out": Row(("-o", "elsewhere")), "--quiet": QUIET},
    "presets download": {"--quiet": QUIET},
}  # fmt: skip
# Compared by tests that know what must come out.
ELSEWHERE = {
    ("presets download", "--litert"): "engines/test_litert.py::test_stems_are_those_of_tensorflow",
    ("serve", "--page"): "web/test_folder.py::test_kzoo_serve_serves_a_page_and_nothing_else",
    ("separate", "--method"): "cli/test_separate_methods.py::test_a_method_writes_its_sources",
    **{
        ("separate", option): "cli/test_separate_methods.py::"
        "test_options_of_methods_come_to_the_method"
        for option in ("--n-sources", "--components", "--templates", "--divergence", "--margin")
    },
    ("separate", "--plot"): "cli/test_separate_by_clusters.py::"
    "test_as_many_sources_as_are_asked_for_and_their_picture",
    **{
        ("presets convert", option): "cli/test_presets_convert.py::"
        "test_options_of_the_conversion_come_to_the_preset"
        for option in (
            "--out",
            "--sample-rate",
            "--hop-length",
            "--residual",
            "--wiener-iterations",
            "--licence",
        )
    },
    ("evaluate", "--n-sources"): "cli/test_separate_by_clusters.py::"
    "test_evaluation_asks_presets_that_cluster_for_so_many_sources",
    ("evaluate", "--jobs"): "evaluation/test_evaluation.py::"
    "test_several_processes_give_the_same_figures",
}
PLAIN_MODEL = Path(__file__).parents[1] / "conformance" / "plain"  # gain_net, whose graph is small


class Terminal(io.StringIO):
    """A stderr on which progress is shown."""

    def isatty(self):
        return True


class Outcome(NamedTuple):
    status: int
    files: dict[str, bytes]
    out: bytes
    err: str


class Ear:
    """A pitch tracker that takes no time: 220 Hz, an octave higher by another method."""

    def __init__(self, method, *, hop_ms, engine="auto", progress=None):
        self.hop_ms, self.f0_hz = hop_ms, 440.0 if "wide" in str(method) else 220.0

    def track(self, blocks, sample_rate):
        frames = 1 + int(sum(map(len, blocks)) / sample_rate / self.hop_ms * 1000)
        seconds = np.arange(frames) * self.hop_ms / 1000
        confidence = np.where(seconds < 0.3, 0.9, 0.6)
        yield Pitch(seconds, np.full(frames, self.f0_hz), confidence, np.zeros(frames))


@pytest.fixture(scope="module", autouse=True)
def plain_model():
    """The model of `PLAIN_MODEL` is one of the zoo's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "__path__", [*models.__path__, str(PLAIN_MODEL)])
        yield


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """{name: path} of presets, recordings and corpora."""
    root = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)

    def write(name, sound, **options):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE, **options)
        return path

    def noise(seconds=2.0, level=0.1, channels=2):
        return level * rng.standard_normal((round(seconds * RATE), channels))

    with soundfile.SoundFile(root / "song.flac", "w", RATE, 2) as file:
        file.title = "A song"
        file.write(noise())
    write("loud.wav", noise(level=3.0), subtype="FLOAT")
    soundfile.write(
        root / "voice.wav",
        noise(1.0, channels=1) * np.linspace(0, 1, RATE)[:, None],
        2 * RATE,
        subtype="FLOAT",
    )
    for track, tree in (("a", "train"), ("b", "test")):
        stems = {name: noise(2.2, channels=1) for name in MUSIC}
        for name, other in (MUSIC, MUSIC[::-1]):
            for place in (f"stems/{track}", f"tree/{tree}/{track}"):
                write(f"{place}/{name}.wav", stems[name], subtype="FLOAT")
            swapped = 0.5 * stems[name] + stems[other] + 0.1 * stems[name] ** 2
            for place in (track, f"stems/{track}", f"tree/{track}"):
                write(f"estimates/{place}/{name}.wav", swapped, subtype="FLOAT")
    for name, seconds in (("clean", 0.5), ("noisy", 0.5), ("other", 0.3)):
        write(f"pairs/{name}/a.wav", noise(seconds))
    shutil.copytree(root / "stems" / "a", root / "recordings")
    lines = ["time,f0_hz,loudness_db", *(f"{k / 250},{200 + k},{-20 - k / 20}" for k in range(99))]
    (root / "controls.csv").write_text("\n".join(lines))
    tests = {"a": {"kind": "synthetic", "tracks": 1, "seconds": 0.5, "sample_rate": RATE}}
    values = {"model": {"sources": ["vocals", "bass"]}, "data": {"tests": tests}}
    config.dump_yaml(values, root / "config.yaml")
    training = {
        "model": {"name": "gain_net", "sources": list(MUSIC)},
        "data": {"train": {"kind": "synthetic", "tracks": 1, "seconds": 1.0}},
        "fit": {"batch_size": 1, "epochs": 1, "steps_per_epoch": 1, "segment_seconds": 0.5},
    }
    config.dump_yaml(training, root / "training.yaml")
    unet = {"variant": "tiny", "filters": [2, 3]}
    save(root / "preset", root / "other", "unet", MUSIC, **unet)
    save(root / "enhancer", root / "other_enhancer", "unet", SPEECH, **unet)
    save(root / "gains", root / "other_gains", "gain_net", MUSIC, variant="tiny")
    save_synthesisers(root)
    made_crepe.nano_preset(root / "nano", contrast=300.0)
    made_crepe.nano_preset(root / "wide", filters=(3, 2, 2, 2, 2, 4), contrast=300.0)
    return {path.stem: path for path in root.iterdir()}


def save(folder, other, name, sources, **options):
    """Two presets of a model, the second with other weights."""
    keras.utils.set_random_seed(0)
    options["sources"] = list(sources)
    card = {
        "name": "tiny", "sources": list(sources), "sample_rate": RATE, "channels": 2,
        "model": {"name": name, "options": options},
        "trained": "not at all: random weights from a seed",
    }  # fmt: skip
    model = models.build(name, **options)
    presets.save_to_preset(model, folder, card)
    presets.save_to_preset(halved(model), other, card)


def halved(model):
    model.set_weights([0.5 * weight for weight in model.get_weights()])
    return model


def save_synthesisers(root):
    """A preset in a room, the same without it, and the latter with other weights."""
    keras.utils.set_random_seed(0)
    options = {"variant": "tiny", "reverb_seconds": 0.2}
    model = models.build("ddsp", **options)
    model.get_layer("reverb").response.assign(np.eye(1, 1600, 800)[0])
    quantiles = {
        name: {
            "quantiles": dict(
                zip(transfer.solo.QUANTILES, np.linspace(*span, 7).tolist(), strict=True)
            )
        }
        for name, span in (("midi", (67.0, 88.0)), ("loudness_db", (-45.0, -15.0)))
    }
    card = {
        "name": "organ", "task": "synthesis", "sample_rate": RATE,
        "model": {"name": "ddsp", "options": options},
        "trained": {"steps": 1, "data": {"statistics": {**quantiles, "voiced": 0.9}}},
    }  # fmt: skip
    presets.save_to_preset(model, root / "room", card)
    card["model"]["options"] = {"variant": "tiny"}
    model = keras.Model(model.input, model.get_layer("reverb").input)
    presets.save_to_preset(model, root / "organ", card)
    presets.save_to_preset(halved(model), root / "other_organ", card)


@pytest.fixture(scope="module")
def run(material, tmp_path_factory):
    """Run `kzoo WORDS...` in a folder of its own: an Outcome. Plain runs are made once.

    What takes long is replaced: models are built and converted once, filters of scores have few
    taps, pitch is known in `transfer`, and demo writes down what it was asked for.
    """
    outcomes = {}

    def call(*words, after=None):
        key = (words, after)
        if key not in outcomes:
            folder = tmp_path_factory.mktemp("run")
            for name, content in call(*after).files.items() if after else ():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            outcomes[key] = execute(words, folder, material)
        return outcomes[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow, "system", once(tensorflow.system))
        patch.setattr(player, "instrument", once(player.instrument))
        made_crepe.networks_once(patch)
        patch.setattr(scoring, "bss_eval", functools.partial(scoring.bss_eval, filters_len=16))
        patch.setattr(tflite, "converted", converted_once(tflite.converted))
        patch.setattr(transfer, "PitchTracker", Ear)
        patch.setattr(api, "export", exported)
        patch.setattr(api, "export_page", lambda preset, *_, **__: asked(Path("out"), of=preset))
        patch.setattr(web, "serve", Served)
        patch.setattr(api, "export_all", lambda _, out, *, pairs, **__: asked(out, pairs=pairs))
        patch.setattr(training, "train", trained)
        patch.setattr(kzoo.cli.demo, "song_path", lambda: material["song"])
        patch.setattr(kzoo.cli.demo, "_STREAMS", dict.fromkeys(kzoo.cli.demo._STREAMS, 0))
        patch.setattr(kzoo.cli.demo, "separate", demonstrated)
        patch.setattr(kzoo.cli.presets, "fetch", fetched)
        yield call


class Served:
    """In place of a server, which would not end."""

    def __init__(self, folder, port):
        self.server_address, self.socket = ("", port), io.StringIO()

    def serve_forever(self):
        pass


def asked(folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "asked.json").write_text(json.dumps(options, default=str))


def converted_once(converted):
    """`tflite.converted` with a memory of the files of a model's weights and length."""
    files = {}

    def call(model, proof, **options):
        weights = tuple(weight.tobytes() for weight in model.get_weights())
        key = (weights, model.input_shape)
        if key not in files:
            files[key] = converted(model, proof, **options)
        return files[key]

    return call


EXPORT, TRAIN = api.export, training.train


def exported(preset, to, out, *, allow_flex, **options):
    """What Flex would be needed for is another test's: that it is allowed is written down."""
    card = EXPORT(preset, to, out, allow_flex=allow_flex, **options)
    asked(out, allow_flex=allow_flex)
    return card


def trained(values, folder, *, devices, **options):
    """One device is as good as another: its name is written down."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the .*eagerly")  # tf.data keeps its graphs
        tf.config.run_functions_eagerly(True)
        try:
            TRAIN(values, folder, devices=devices, **options)
        finally:
            tf.config.run_functions_eagerly(False)
    asked(folder, devices=devices)


def demonstrated(files, preset, out, *, quiet, **options):
    asked(Path(out))
    if not quiet:
        print("a song", file=sys.stderr)
    raise SystemExit(0)  # what comes after is proven where its verbs are


FETCH = kzoo.cli.presets.fetch


def fetched(preset, *, show):
    if show:
        print("fetching", file=sys.stderr)
    return FETCH(preset, show=False)


def execute(words, folder, material):
    words = [word.format(**material) for word in words]
    out, err = io.TextIOWrapper(io.BytesIO()), Terminal()
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", ["kzoo", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setenv("TERM", "xterm")
        with pytest.raises(SystemExit) as stop:
            cli.main()
    out.flush()
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return Outcome(stop.value.code or 0, files, out.buffer.getvalue(), err.getvalue())


def figures(verb, outcome):
    """What counts of a run; of `evaluate` the tables of figures, as the rest repeats its words.

    Of `train` weights, what was asked for and the last line, as Keras tells the time before it,
    and the names of the files that tell the time.
    """
    if verb == "train":
        same = ("weights.npz", "asked.json")
        files = {name: name.endswith(same) and data for name, data in outcome.files.items()}
        return outcome.status, files, outcome.out.splitlines()[-1:]
    if verb == "evaluate":
        files = {name: data for name, data in outcome.files.items() if name.endswith(".csv")}
        return outcome.status, files, "out/report.html" in outcome.files
    return outcome.status, outcome.files, outcome.out


def leaves(command, verb=""):
    """(verb, its command) of a whole program, the program itself as ""."""
    yield verb, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{verb} {name}".strip())


def options():
    """(verb, option) of the whole program, without --help and arguments."""
    for verb, command in leaves(program):
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                yield verb, next(name for name in parameter.opts if name.startswith("--"))


ROWS = [(verb, option) for verb, rows in OPTIONS.items() for option in rows]


def test_every_option_of_the_program_has_a_row():
    assert sorted({*ROWS, *ELSEWHERE}) == sorted(set(options()))


@pytest.mark.parametrize("place", ELSEWHERE.values())
def test_what_is_compared_elsewhere_is_there(place, request):
    file, test = place.split("::")
    assert f"def {test}(" in (request.config.rootpath / "tests" / file).read_text("utf-8")


@pytest.mark.parametrize("verb", PLAIN)
def test_the_same_words_give_the_same_files(run, material, tmp_path, verb):
    words = (*verb.split(), *PLAIN[verb])
    first, again = run(*words), execute(words, tmp_path, material)
    assert first.status == 0, first.err
    assert figures(verb, first) == figures(verb, again)


@pytest.mark.parametrize(("verb", "option"), ROWS, ids=[" ".join(row).strip() for row in ROWS])
def test_an_option_changes_what_is_written(run, verb, option):
    row = OPTIONS[verb][option]
    words = (*verb.split(), *PLAIN[verb])
    after = words if row.again else None
    if row.both and row.both[0].startswith("{") and verb.startswith("data"):
        words = (*verb.split(), *row.both, *PLAIN[verb][1:])
    else:
        words += row.both
    changed = (*row.words, *words) if verb == "" else (*words, *row.words)
    plain, found = run(*words, after=after), run(*changed, after=after)
    assert found.status == row.status, found.err
    if row.printed:
        assert len(found.out) + len(found.err) < len(plain.out) + len(plain.err)
    else:
        assert figures(verb, found) != figures(verb, plain)
