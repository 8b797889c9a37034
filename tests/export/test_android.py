"""The Android project of a bundle: whole, of its very files, grammatical, and not built here."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CARD = {"name": "small_voice", "sources": ["speech"], "summary": "cleans"}
STREAM = {"file": "small_voice_stream.tflite"}
NAMES = {"Decoder.kt", "MainActivity.kt", "Player.kt", "Resampler.kt", "SmallVoice.kt"}


@pytest.fixture(scope="module")
def android():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from export import android

        yield android


@pytest.fixture
def project(android, request, tmp_path):
    """The project of a made-up bundle, which streams and is made for a level, or neither."""
    more = {"stream": STREAM, "level_db": -26.0} if request.param else {}
    bundle, card = tmp_path / "bundle", {**CARD, **more}
    (bundle / "kotlin").mkdir(parents=True)
    (bundle / "small_voice_fp16.json").write_text(json.dumps(card))
    for name in ("small_voice_fp16.tflite", "small_voice_stream.tflite", "LICENCES.txt",
                 "kotlin/SmallVoice.kt"):  # fmt: skip
        (bundle / name).write_text("")
    android.write(bundle, tmp_path / "project")
    return tmp_path / "project"


@pytest.mark.parametrize("project", [False, True], indirect=True, ids=["blocks", "stream"])
def test_a_project_is_whole_and_grammatical(project, request):
    streams = "stream" in request.node.callspec.id
    main = project / "app" / "src" / "main"
    kotlin = {path.name for path in (main / "java" / "kzoo").iterdir()}
    assert kotlin == (NAMES | {"Live.kt"} if streams else NAMES)
    assets = {path.name for path in (main / "assets").iterdir()}
    assert assets == {"small_voice_fp16.tflite"} | ({STREAM["file"]} if streams else set())
    permissions = ElementTree.parse(main / "AndroidManifest.xml").findall("uses-permission")
    assert len(permissions) == streams
    assert "**It was not built here.**" in (project / "README.md").read_text()
    assert (project / "gradle" / "wrapper" / "gradle-wrapper.properties").is_file()
    texts = {path: path.read_text() for path in project.rglob("*") if path.is_file()}
    assert not [path for path, text in texts.items() if "__" in text]
    screen = (main / "java" / "kzoo" / "MainActivity.kt").read_text()
    assert ('Live(SmallVoiceStream(model("small_voice_stream.tflite")))' in screen) == streams
    assert ("separator.measure { " in screen) == streams
    tree_sitter = pytest.importorskip("tree_sitter", reason="pip install 'kzoo[dev]'")
    grammar = pytest.importorskip("tree_sitter_kotlin", reason="pip install 'kzoo[dev]'")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    for path, text in texts.items():
        if path.suffix in (".kt", ".kts"):
            assert not parser.parse(text.encode()).root_node.has_error, path


def test_a_mistake_is_one_line(android, tmp_path, capsys):
    assert android.main(["-p", "crepe_tiny", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "export.android: crepe_tiny is for pitch; there are projects for separation\n"
    )
    assert not (tmp_path / "out").exists()
