"""Rows of a manifest are done once, whatever is killed, doubled or damaged."""

import json
import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kzoo import batches
from kzoo.batches.once import UNFINISHED, Worker


@dataclass
class Copies:
    """A job that copies: refuses files of "broken" bytes, and does `before` first of each."""

    settings: dict = field(default_factory=lambda: {"gain": 1})
    before: object = lambda row: None
    loads: list = field(default_factory=list)
    done: list = field(default_factory=list)

    def load(self):
        self.loads.append(1)

        def work(row, folder):
            (folder / "copy.txt").write_bytes(b"half")
            self.before(row)
            content = Path(row.path).read_bytes()
            if content == b"broken":
                raise ValueError(f"{row.path}: is no\nsound")
            (folder / "copy.txt").write_bytes(content)
            self.done.append(row.id)
            return []

        return work


@pytest.fixture
def listed(tmp_path):
    """Write a manifest of files that hold their own names: it, opened."""

    def write(*rows, content=lambda path: path.name.encode()):
        for row in rows:
            path = tmp_path / row["path"]
            if not row.get("missing"):
                path.write_bytes(content(path))
        lines = [json.dumps({k: v for k, v in row.items() if k != "missing"}) for row in rows]
        (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
        return batches.Manifest.opened(tmp_path / "rows.jsonl")

    return write


def letters(out):
    return [json.loads(line) for line in (out / batches.DEAD_LETTERS).read_text().splitlines()]


def copies(out):
    return {path.parent.name: path.read_text() for path in out.glob("*/copy.txt")}


def test_a_second_run_makes_nothing_and_loads_nothing(listed, tmp_path):
    rows, out = listed({"path": "a.wav"}, {"path": "b.wav", "id": "two"}), tmp_path / "out"
    first, second = Copies(), Copies()
    assert batches.run(rows, first, out) == batches.Counts(made=2)
    assert batches.run(rows, second, out) == batches.Counts(kept=2)
    assert copies(out) == {"a": "a.wav", "two": "b.wav"}
    assert (len(first.loads), second.loads) == (1, [])


def test_a_killed_run_goes_on_and_leaves_nothing_half_made(listed, tmp_path):
    rows, out = listed(*({"path": f"{name}.wav"} for name in "abc")), tmp_path / "out"
    if not (child := os.fork()):

        def die(row):
            if row.id == "b":
                os.kill(os.getpid(), signal.SIGKILL)

        batches.run(rows, Copies(before=die), out)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert copies(out) == {"a": "a.wav"}
    assert list((out / UNFINISHED).iterdir()) != []
    job = Copies()
    assert batches.run(rows, job, out) == batches.Counts(made=2, kept=1)
    assert job.done == ["b", "c"]
    assert copies(out) == {name: f"{name}.wav" for name in "abc"}
    assert not (out / UNFINISHED).exists()


def test_what_is_damaged_is_listed_and_the_others_are_done(listed, tmp_path):
    out = tmp_path / "out"
    rows = listed({"path": "a.wav"}, {"path": "gone.wav", "missing": True}, {"path": "b.wav"})
    (tmp_path / "a.wav").write_bytes(b"broken")
    with open(rows.path, "a") as file:
        file.write('{"path": \n{"path": "b.wav", "gain": 2}\n{"path": "b.wav", "id": "../b"}\n')
    assert batches.run(rows, Copies(), out) == batches.Counts(made=1, dead=5)
    sound, gone, no_json, unknown, outside = letters(out)
    assert sound == {
        "path": str(tmp_path / "a.wav"), "id": "a", "reason": f"{tmp_path}/a.wav: is no sound",
    }  # fmt: skip
    assert gone["reason"] == f"{tmp_path}/gone.wav: No such file or directory"
    assert no_json["line"] == '{"path":'
    assert "no JSON" in no_json["reason"]
    assert "and not gain" in unknown["reason"]
    assert "'../b'" in outside["reason"]
    assert sorted(path.name for path in out.iterdir()) == [".lock", "b", batches.DEAD_LETTERS]
    (tmp_path / "a.wav").write_bytes(b"mended")
    assert batches.run(rows, Copies(), out) == batches.Counts(made=1, kept=1, dead=4)


def test_rows_that_are_there_twice_are_made_once(listed, tmp_path):
    out, job = tmp_path / "out", Copies()
    rows = listed({"path": "a.wav"}, {"path": "a.wav"}, {"path": "other.wav", "id": "a"})
    assert batches.run(rows, job, out) == batches.Counts(made=1, kept=1, dead=1)
    assert f"is of {tmp_path}/a.wav: give the rows ids" in letters(out)[0]["reason"]
    assert batches.run(rows, job, out, overwrite=True).dead == 1
    assert copies(out) == {"a": "a.wav"}


@pytest.mark.parametrize("content", [b"the same", None], ids=["same", "other"])
def test_two_workers_at_the_same_name_make_it_once(listed, tmp_path, content):
    """Both are in the midst of it when the first one is done."""
    out, together = tmp_path / "out", threading.Barrier(2)
    rows = listed(
        {"path": "one.wav", "id": "a"}, {"path": "two.wav", "id": "a"},
        content=lambda path: content or path.name.encode(),
    )  # fmt: skip
    worker, found = Worker(Copies(before=lambda row: together.wait(10))), []

    def do(line):
        try:
            found.append(batches.do_once(rows.row(line), worker, out))
        except batches.Refused as refused:
            found.append("refused" if "is of" in str(refused) else str(refused))

    threads = [threading.Thread(target=do, args=(line,)) for line in rows.lines()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["kept" if content else "made", "made" if content else "refused"]
    assert len(worker.job.loads) == 1
    record = json.loads((out / "a" / batches.RECORD).read_text())
    assert Path(record["path"]).read_text() == copies(out)["a"]


def test_what_has_changed_is_made_again_where_that_loses_nothing(listed, tmp_path):
    rows, out = listed({"path": "a.wav"}), tmp_path / "out"
    batches.run(rows, Copies(), out)
    (out / "a" / "copy.txt").write_text("cut")
    assert batches.run(rows, Copies(), out) == batches.Counts(made=1)
    louder = Copies(settings={"gain": 2})
    assert batches.run(rows, louder, out) == batches.Counts(dead=1)
    assert "other settings; --overwrite" in letters(out)[0]["reason"]
    assert batches.run(rows, louder, out, overwrite=True) == batches.Counts(made=1)
    (tmp_path / "a.wav").write_text("new sound")
    assert batches.run(rows, louder, out, overwrite=True) == batches.Counts(made=1)
    assert copies(out) == {"a": "new sound"}


def test_a_folder_of_somebody_else_stays(listed, tmp_path):
    rows, out = listed({"path": "a.wav"}), tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "vocals.wav").write_text("mine")
    assert batches.run(rows, Copies(), out, overwrite=True) == batches.Counts(dead=1)
    assert (out / "a" / "vocals.wav").read_text() == "mine"


def test_an_error_of_loading_is_none_of_the_rows(listed, tmp_path):
    job = Copies()
    job.load = lambda: (_ for _ in ()).throw(ValueError("no such preset"))
    with pytest.raises(ValueError, match="no such preset"):
        batches.run(listed({"path": "a.wav"}), job, tmp_path / "out")


def test_a_second_run_at_the_same_time_is_refused(listed, tmp_path):
    rows, out = listed({"path": "a.wav"}), tmp_path / "out"
    with batches.alone(out), pytest.raises(ValueError, match="another run writes to it"):
        batches.run(rows, Copies(), out)


def test_a_csv_has_rows_of_its_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('path,id,start\n"a, b.wav",,\nb.wav,two,1.5\n\nc.wav,1\nd.wav,,soon\n')
    rows = batches.Manifest.opened(path)
    one, two, short, wrong = rows.lines()
    assert rows.row(one) == batches.Row(str(tmp_path / "a, b.wav"), "a, b")
    assert rows.row(two) == batches.Row(str(tmp_path / "b.wav"), "two", {"start": 1.5})
    with pytest.raises(ValueError, match="2 fields where the first line has 3"):
        rows.row(short)
    with pytest.raises(ValueError, match="start must be a number of seconds from 0; got 'soon'"):
        rows.row(wrong)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "file,id\n", "and not file"),
        ("a.csv", "id\n", "no column path"),
        ("a.txt", "a.wav\n", "a .csv with a head line, or a .jsonl"),
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        batches.Manifest.opened(tmp_path / name)
