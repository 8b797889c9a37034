"""Presets side by side: in their groups, the best first, and the best of those that are here."""

import json

import pytest

from kzoo import cli, config, presets
from kzoo.presets import card as cards
from kzoo.presets import shelf

TWO, FOUR = ["vocals", "accompaniment"], ["vocals", "drums", "bass", "other"]
MEASURED = {"definition": "SDR in dB", "data": "five songs"}
CARDS = cards.CARDS
PUBLISHED = {"definition": "SDR in dB", "by": "its authors on MUSDB18"}


@pytest.fixture(autouse=True)
def made(tmp_path, monkeypatch):
    """Cards of six presets, three of which are here."""
    monkeypatch.setattr(cards, "CARDS", tmp_path)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))

    def write(name, sources, *, here=False, licence="MIT (somebody)", **more):
        card = {
            "name": name,
            "summary": f"what {name} is",
            "task": "music separation" if sources else "pitch",
            "model": {"name": "unet" if sources else "crepe", "options": {"frames": 64}},
            "sample_rate": 44100,
            "licences": {"code": "Apache-2.0 (kzoo)", "weights": licence, "data": "private"},
            "trained": "elsewhere",
            "parameters": 2_500_000,
            **({"sources": sources} if sources else {}),
            **more,
        }
        config.dump_yaml(card, tmp_path / f"{name}.yaml")
        if here:
            (tmp_path / f"{name}.npz").write_bytes(b"")

    scores = {"vocals": 4.0, "accompaniment": 10.0}
    write("weak", TWO, here=True, quality={**MEASURED, "scores": scores}, licence="Apache-2.0")
    scores = {"vocals": 7.0, "accompaniment": 9.0}
    write("strong", TWO, here=True, quality={**MEASURED, "scores": scores}, gmac_per_second=1.25)
    write("far", TWO, published={**PUBLISHED, "scores": {"vocals": 9.0}}, licence="CC BY-NC 4.0",
          restricted="non-commercial use")  # fmt: skip
    scores = dict(zip(FOUR, (6.5, 5.9, 5.1, 4.2), strict=True))
    write("four", FOUR, here=True, published={**PUBLISHED, "scores": scores})
    write("five", [*FOUR, "piano"])
    write("ear", [])


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", "presets", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def names(**wanted):
    return [entry.name for entry in shelf.entries(**wanted)]


def test_groups_have_the_measured_first_and_the_best_of_them_before_others():
    assert names() == ["strong", "weak", "far", "four", "five", "ear"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"task": "Separation"}, ["strong", "weak", "far", "four", "five"]),
        ({"task": "pitch"}, ["ear"]),
        ({"stems": ["vocals", "drums"]}, ["four", "five"]),
        ({"stems": ["piano"]}, ["five"]),
        ({"licence": "apache"}, ["weak"]),
        ({"licence": "mit", "stems": TWO}, ["strong"]),
        ({"licence": "non-commercial"}, ["far"]),
        ({"licence": "GPL"}, []),
    ],
)
def test_filters_leave_what_they_say(wanted, expected):
    assert names(**wanted) == expected


def test_what_no_preset_has_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="task 'dancing'; the tasks are music separation, pitch"):
        shelf.entries(task="dancing")
    with pytest.raises(ValueError, match="gives tuba; the stems are accompaniment, bass, drums"):
        shelf.entries(stems=["vocals", "tuba"])


@pytest.mark.parametrize(
    ("asked", "stems", "expected"),
    [
        ("best", [], "strong"),  # though the accompaniment of another one is better
        ("best:accompaniment", [], "weak"),
        ("best", ["accompaniment"], "weak"),
        ("best", ["vocals"], "strong"),
        ("best:drums, bass", ["vocals"], "four"),
    ],
)
def test_the_best_is_of_those_here_and_for_the_stems_asked_for(asked, stems, expected):
    said = []
    assert shelf.named_or_best(asked, stems, say=said.append).name == expected
    (line,) = said
    assert line.startswith(f"best of those here: {expected} (")
    assert "SDR in dB" in line
    assert ("five songs" in line) == (expected != "four")


def test_a_bag_costs_what_its_parts_do(tmp_path):
    card = {**presets.load_card("strong"), "name": "bag", "bag": [{"preset": "strong"}] * 3}
    config.dump_yaml({k: v for k, v in card.items() if k != "quality"}, tmp_path / "bag.yaml")
    (bag,) = (entry for entry in shelf.entries() if entry.name == "bag")
    assert (bag.megabytes, bag.gmac_per_second, bag.state) == (30.0, 3.75, "here")


def test_a_figure_below_zero_is_better_than_none(tmp_path):
    for name in ("strong", "weak"):
        card = presets.load_card(name)
        card.pop("quality")
        if name == "weak":
            card["quality"] = {**MEASURED, "scores": {"vocals": -1.0}}
        config.dump_yaml(card, tmp_path / f"{name}.yaml")
    (tmp_path / "four.npz").unlink()
    opened, line = shelf.best()
    assert opened.name == "weak"
    assert "(-1, SDR in dB, five songs)" in line
    (tmp_path / "weak.npz").unlink()
    assert shelf.best()[1] == "best of those here: strong (of which no card has figures)"


def test_a_preset_that_is_named_is_itself():
    assert shelf.named_or_best("weak", say=pytest.fail) == "weak"


def test_where_nothing_is_here_those_to_fetch_are_named():
    with pytest.raises(presets.PresetError, match=r"piano together is here; to fetch are five \("):
        shelf.best(["piano"])


def test_the_table_says_what_a_figure_is_and_whose(run):
    status, out, _ = run("list")
    assert status == 0
    lines = out.splitlines()
    heading = lines.index("music separation: vocals, accompaniment")
    head, rows = lines[heading + 2], lines[heading + 4 : heading + 7]
    strong, weak, far = rows
    assert [row.split()[0] for row in rows] == ["strong", "weak", "far"]
    assert strong.split()[1:4] == ["22.1", "10.0", "1.25"]
    measured, published = head.index("measured"), head.index("published")
    assert strong[measured:published].strip() == "vocals 7, accompaniment 9 (1)"
    assert far[measured:published].strip() == ""
    assert far[published:].startswith("vocals 9 (2)")
    assert "here" in weak
    assert "to fetch" in far
    assert far.rstrip().endswith("CC BY-NC 4.0; non-commercial use")
    assert "(1) SDR in dB; five songs" in lines
    assert "(2) SDR in dB; its authors on MUSDB18" in lines


def test_the_options_of_the_list_choose_and_json_is_for_programs(run):
    whole = run("list")[1]
    for words, left in (
        (("--task", "pitch"), ["ear"]),
        (("--stems", "vocals,drums"), ["four", "five"]),
        (("--licence", "nc"), ["far"]),
    ):
        status, out, _ = run("list", *words, "--json")
        assert status == 0
        assert [entry["name"] for entry in json.loads(out)] == left
        assert run("list", *words)[1] != whole
    status, out, err = run("list", "--licence", "GPL")
    assert (status, out) == (1, "")
    assert err.startswith("kzoo: no preset is all of that; leave out --task")
    assert json.loads(run("list", "--licence", "GPL", "--json")[1]) == []


def test_what_is_no_choice_is_shown_where_all_are_asked_for_and_is_never_the_best(run, tmp_path):
    card = {**presets.load_card("weak"), "quality": {**MEASURED, "scores": {"vocals": 99.0}}}
    config.dump_yaml({**card, "name": "weak", "unlisted": "a part of x"}, tmp_path / "weak.yaml")
    assert "weak" not in run("list")[1]
    (row,) = (line for line in run("list", "--all")[1].splitlines() if line.startswith(" weak "))
    assert "here, a part of x" in row
    assert run("list", "--all", "--json")[1] != run("list", "--json")[1]
    assert shelf.best()[0].name == "strong"


def test_published_parts_of_bags_are_no_choice():
    for path in CARDS.glob("*.yaml"):
        for part in config.load_yaml(path).get("bag", ()):
            assert "a part of" in config.load_yaml(CARDS / f"{part['preset']}.yaml")["unlisted"]


def test_the_card_is_drawn_and_as_json_it_is_whole(run):
    status, out, _ = run("info", "strong")
    assert status == 0
    assert out.startswith("strong: what strong is\n")
    facts = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    facts = {key: value.strip() for key, value in facts.items()}
    assert facts["weights"] == "2,500,000, 10 MB in float32"
    assert facts["licence of weights"] == "MIT (somebody)"
    assert facts["scores"] == "vocals: 7, accompaniment: 9"
    assert facts["state"] == "here"
    card = json.loads(run("info", "strong", "--json")[1])
    assert card == {**presets.load_card("strong"), "state": "here"}


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("unet_2stems_mobile", ["vocals: irm", "9.27", "15.72", "17.98", "9.63", "12.24"]),
        ("deepfilternet3", ["tsp: deepfilternet3", "1.97", "0.834", "12.25", "3.25"]),
        ("spleeter_2stems", ["masks", "sigmoid"]),
    ],
)
def test_cards_of_every_form_are_drawn(name, figures, monkeypatch, run):
    monkeypatch.setattr(cards, "CARDS", CARDS)
    status, out, _ = run("info", name)
    assert status == 0
    assert [line for line in out.splitlines() if all(figure in line for figure in figures)]


@pytest.mark.parametrize("name", [path.stem for path in sorted(CARDS.glob("*.yaml"))])
def test_a_cards_figures_for_the_list_are_among_its_scores(name, monkeypatch):
    monkeypatch.setattr(cards, "CARDS", CARDS)
    card = presets.load_card(name)
    for key in ("quality", "published"):
        assert set(card.get(key, {})) <= {"definition", "data", "by", "scores"}
    figures = card.get("quality", {}).get("scores", {})
    if not figures:
        return
    said = [card["scores"].get("means", {})]
    for held_out in card["scores"].get("held_out", ()):
        said += [{source: found.get(name)} for source, found in held_out.items()
                 if isinstance(found, dict)]  # fmt: skip
    for measure, figure in figures.items():
        told = [entry[measure] for entry in said if measure in entry]
        told += [entry["onsets"] for entry in said if "onsets" in entry]
        assert any(figure in (one if isinstance(one, list) else [one]) for one in told)


COUNTED = {  # {what tells how a network is built: the first preset of it}
    json.dumps(card["model"], sort_keys=True): name
    for name, card in reversed([(name, presets.load_card(name)) for name in presets.list_presets()])
    if "gmac_per_second" in card
}


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("gtcrn_speech", "unet_2stems_mobile")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(COUNTED.values())
    ],
)
def test_what_a_preset_costs_is_counted_in_its_graph(name, monkeypatch, unfilled):
    from benchmarks.preset_costs import counted

    monkeypatch.setattr(cards, "CARDS", CARDS)
    card = presets.load_card(name)
    assert counted(presets.open_preset(name)) == {
        key: card[key] for key in ("parameters", "gmac_per_second")
    }
