"""A file or folder is there whole, or it is as it was before."""

import pytest

from kzoo.files import file_sha256, replacing


def test_a_file_takes_its_place_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.json"
    with replacing(target) as place:
        assert (place.parent, place.suffix) == (target.parent, ".json")
        place.write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]
    assert target.read_text() == "whole"


@pytest.mark.parametrize("folder", [False, True])
def test_an_exception_leaves_what_was_there(tmp_path, folder):
    (tmp_path / "a").write_text("before")

    def interrupted():
        with replacing(tmp_path / "a") as place:
            if folder:
                place.mkdir()
            (place / "part" if folder else place).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_the_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a").startswith("ba7816bf")
