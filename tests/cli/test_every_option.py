"""Every option of every verb changes what it says it changes.

Each is given to a run that is otherwise the same; files, stdout and exit status are compared byte
for byte with those of the run without it. An option that is accepted and read by nothing fails
here, and so does a new one without a row.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
from made_commands import execute, shorten
from made_material import write_material

from kzoo import models
from kzoo.cli.app import command as program

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
    "translate": ("{voice}", "-p", "{band}", "--to", "a"),
    "generate": ("-p", "{singer}", "-o", "out/a.wav", "--seconds", "0.05"),
    "tag": ("{voice}", "-p", "{ear}", "-o", "out"),
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
        "--shifts": Row(("--shifts", "1")),
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
        "--shifts": Row(("--shifts", "1"), both=("{preset}",)),
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
        "--dry-run": Row(("--dry-run",)),
        "--json": Row(("--json",), both=("--dry-run",)),
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
    "translate": {
        "--out": Row(("-o", "elsewhere")),
        "--preset": Row(("-p", "{other_band}")),
        "--to": Row(("--to", "b")),
        "--temperature": Row(("--temperature", "0")),
        "--top-k": Row(("--top-k", "1")),
        "--seed": Row(("--seed", "7")),
        "--plot": Row(("--plot",)),
        "--start": Row(("--start", "0.1")),
        "--duration": Row(("--duration", "0.1")),
        "--format": Row(("--format", "flac")),
        "--bit-depth": DEPTH,
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
    },
    "generate": {
        "--out": Row(("-o", "out/b.wav")),
        "--preset": Row(("-p", "{other_singer}")),
        "--seconds": Row(("--seconds", "0.06")),
        "--prime": Row(("--prime", "{voice}"), both=("--temperature", "0.02")),
        "--condition": Row(("--condition", "{controls}"), status=1),
        "--speaker": Row(("--speaker", "b"), status=1),
        "--seed": Row(("--seed", "1")),
        "--temperature": Row(("--temperature", "0.1")),
        "--top-k": Row(("--top-k", "2")),
        "--voices": Row(("--voices", "2")),
        "--picture": Row(("--picture", "out/a.png")),
        "--bit-depth": DEPTH,
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
    },
    "tag": {
        "--out": Row(("-o", "elsewhere")),
        "--preset": Row(("-p", "{other_ear}")),
        "--top": Row(("--top", "1")),
        "--threshold": Row(("--threshold", "1")),
        "--hop": Row(("--hop", "0.1"), both=("{loud}",)),
        "--embed": Row(("--embed",)),
        "--plot": Row(("--plot",)),
        "--device": NO_DEVICE,
        "--engine": NO_ENGINE,
        "--overwrite": OVERWRITE,
        "--quiet": QUIET,
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
        "--subset": Row(("--subset", "test"), both=("{tree}",)),
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
    **{
        ("reproduce", option): "cli/test_reproduce.py::"
        "test_the_short_form_of_a_training_comes_to_what_is_recorded"
        for option in ("--quick", "--quiet")
    },
    ("doctor", "--test"): "cli/test_self_test.py::"
    "test_the_doctor_fails_a_preset_that_gives_something_wrong",
    **{
        ("data download", option): f"downloads/test_downloads.py::{test}"
        for option, test in {
            "--out": "test_a_corpus_is_fetched_and_read",
            "--accept-licence": "test_the_licence_is_accepted_first",
            "--quiet": "test_its_folder_is_called_as_it_is_by_default",
        }.items()
    },
    **{
        ("data render", option): "data/test_midi_rendering.py::"
        "test_every_option_changes_what_is_rendered"
        for option in (
            "--out",
            "--soundfont",
            "--versions",
            "--seed",
            "--shares",
            "--sample-rate",
            "--tempo",
            "--transpose",
            "--programs",
            "--gain-db",
            "--reverb-seconds",
            "--direct-db",
            "--jobs",
            "--quiet",
        )
    },
    ("melody", "--engine"): "cli/test_melody_command.py::test_litert_hears_what_keras_hears",
    **{
        ("melody", option): "cli/test_melody_command.py::test_every_option_changes_what_is_written"
        for option in (
            "--out",
            "--preset",
            "--threshold",
            "--plot",
            "--sonify",
            "--midi",
            "--overwrite",
            "--device",
            "--quiet",
        )
    },
    **{
        ("onsets", option): "cli/test_onsets_command.py::test_every_option_changes_what_is_written"
        for option in (
            "--out",
            "--preset",
            "--threshold",
            "--distance-ms",
            "--plot",
            "--clicks",
            "--overwrite",
            "--device",
            "--quiet",
        )
    },
    **{
        ("presets list", option): "presets/test_shelf.py::"
        "test_the_options_of_the_list_choose_and_json_is_for_programs"
        for option in ("--task", "--stems", "--licence", "--json")
    },
    ("presets list", "--all"): "presets/test_shelf.py::"
    "test_what_is_no_choice_is_shown_where_all_are_asked_for_and_is_never_the_best",
    ("presets info", "--json"): "presets/test_shelf.py::"
    "test_the_card_is_drawn_and_as_json_it_is_whole",
    ("presets download", "--accept-licence"): "presets/test_published_files.py::"
    "test_a_verb_refuses_before_tensorflow_is_imported_and_names_a_preset_that_is_here",
    ("presets download", "--litert"): "engines/test_litert.py::test_stems_are_those_of_tensorflow",
    ("serve", "--page"): "web/test_folder.py::test_kzoo_serve_serves_a_page_and_nothing_else",
    ("separate", "--method"): "cli/test_separate_methods.py::test_a_method_writes_its_sources",
    **{
        ("separate", option): "cli/test_separate_methods.py::"
        "test_options_of_methods_come_to_the_method"
        for option in ("--n-sources", "--components", "--templates", "--divergence", "--margin")
    },
    ("separate", "--manifest"): "cli/test_separate_manifest.py::test_stems_are_those_of_the_verb",
    **{
        ("separate", option): f"cli/test_separate_manifest.py::{test}"
        for option, test in {
            "--runner": "test_two_processes_of_beam_give_the_same_stems",
            "--runner-option": "test_options_of_runners_are_checked",
        }.items()
    },
    **{
        ("data prepare", option): f"cli/test_prepare_runner.py::{test}"
        for option, test in {
            "--runner": "test_damage_is_counted_listed_and_left_out",
            "--runner-option": "test_what_does_not_go_together_is_refused",
        }.items()
    },
    ("separate", "--plot"): "cli/test_separate_by_clusters.py::"
    "test_as_many_sources_as_are_asked_for_and_their_picture",
    **{
        ("presets convert", option): "cli/test_presets_convert.py::"
        "test_options_of_the_conversion_come_to_the_preset"
        for option in (
            "--out",
            "--as",
            "--option",
            "--licence",
        )
    },
    ("evaluate", "--n-sources"): "cli/test_separate_by_clusters.py::"
    "test_evaluation_asks_presets_that_cluster_for_so_many_sources",
    ("evaluate", "--jobs"): "evaluation/test_evaluation.py::"
    "test_several_processes_give_the_same_figures",
}
PLAIN_MODEL = Path(__file__).parents[1] / "conformance" / "plain"  # gain_net, whose graph is small


@pytest.fixture(scope="module", autouse=True)
def plain_model():
    """The model of `PLAIN_MODEL` is one of the zoo's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "__path__", [*models.__path__, str(PLAIN_MODEL)])
        yield


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def run(material, tmp_path_factory):
    """Run `kzoo WORDS...` in a folder of its own: an Outcome. Plain runs are made once."""
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
        shorten(patch, material)
        yield call


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
