"""Checkpoints written by hand, byte by byte, and read without PyTorch."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from made_torch_files import checkpoint, integer, mapping, name, tensor, text

from kzoo.convert.torch_files import read_torch


def test_every_number_finds_its_place(tmp_path):
    numbers = np.arange(24, dtype="<f4")
    program = mapping({
        "whole": tensor("0", "FloatStorage", 24, (2, 3, 4), (12, 4, 1)),
        "transposed": tensor("0", "FloatStorage", 24, (4, 6), (1, 4)),
        "column": tensor("0", "FloatStorage", 24, (6,), (4,), offset=3),
        "scalar": tensor("1", "LongStorage", 1, (), ()),
        "empty": tensor("1", "LongStorage", 1, (0, 3), (3, 1)),
    })  # fmt: skip
    path = checkpoint(tmp_path / "a.pth", program, {"0": numbers, "1": np.array([7], "<i8")})
    found = read_torch(path)
    np.testing.assert_array_equal(found["whole"], numbers.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["transposed"], numbers.reshape(6, 4).T)
    np.testing.assert_array_equal(found["column"], numbers[3::4])
    assert found["scalar"] == 7
    assert found["scalar"].dtype == np.int64
    assert found["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("HalfStorage", np.array([1.5, -2], "<f2"), [1.5, -2]),
        ("DoubleStorage", np.array([1e-300, 2], "<f8"), [1e-300, 2]),
        ("BFloat16Storage", np.array([0x3FC0, 0xC000], "<u2"), [1.5, -2]),
        ("ByteStorage", np.array([255, 1], "u1"), [255, 1]),
        ("BoolStorage", np.array([True, False]), [True, False]),
    ],
)
def test_every_kind_of_number_is_read(tmp_path, kind, stored, expected):
    path = checkpoint(
        tmp_path / "a.pth", mapping({"x": tensor("0", kind, 2, (2,), (1,))}), {"0": stored}
    )
    np.testing.assert_array_equal(read_torch(path)["x"], expected)


def test_numbers_of_a_big_endian_machine_are_turned_round(tmp_path):
    program = mapping({"x": tensor("0", "FloatStorage", 2, (2,), (1,))})
    path = checkpoint(tmp_path / "a.pth", program, {"0": np.array([1, -3], ">f4")}, "big")
    np.testing.assert_array_equal(read_torch(path)["x"], [1, -3])


def test_a_nested_state_dict_is_found_or_named(tmp_path):
    state = mapping(
        {"x": tensor("0", "FloatStorage", 2, (2,), (1,))},
        make=name("collections", "OrderedDict") + b")R",
    )
    noted = state + b"}" + text("_metadata") + b"}sb"  # as state_dict() leaves it
    arguments = mapping({"n_src": integer(2)})
    data = {"0": np.array([1, 2], "<f4")}
    path = checkpoint(
        tmp_path / "a.pth", mapping({"model_args": arguments, "state_dict": noted}), data
    )
    for found in (read_torch(path), read_torch(path, "state_dict")):
        np.testing.assert_array_equal(found["x"], [1, 2])
    with pytest.raises(ValueError, match=r"no mapping called 'state'; there are: .*state_dict"):
        read_torch(path, "state")
    with pytest.raises(ValueError, match="no tensors: n_src"):
        read_torch(path, "model_args")
    both = checkpoint(tmp_path / "b.pth", mapping({"state_dict": noted, "ema": state}), data)
    with pytest.raises(ValueError, match="found: state_dict, ema"):
        read_torch(both)
    package = b"(" + name("demucs.model", "Demucs") + arguments + noted + b"t"
    listed = checkpoint(tmp_path / "c.th", package, data)
    np.testing.assert_array_equal(read_torch(listed)["x"], [1, 2])


@pytest.mark.parametrize(
    ("module", "attribute"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("numpy", "fromfile"),
     ("torch", "load"), ("torch._utils", "_rebuild_device_tensor_from_numpy")],
)  # fmt: skip
def test_a_program_in_the_file_is_refused_and_not_run(tmp_path, monkeypatch, module, attribute):
    run = []
    monkeypatch.setattr(os, "system", run.append)
    program = name(module, attribute) + b"(" + text(f"touch {tmp_path}/run") + b"tR"
    path = checkpoint(tmp_path / "a.pth", mapping({"x": program}))
    with pytest.raises(ValueError, match=f"wants {module}.{attribute}"):
        read_torch(path)
    assert run == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((3,), (1,), 0), ((2,), (1,), 1), ((2,), (-1,), 1), ((2,), (9,), 0)],
)
def test_a_tensor_cannot_reach_outside_its_storage(tmp_path, size, stride, offset):
    program = mapping({"x": tensor("0", "FloatStorage", 2, size, stride, offset)})
    path = checkpoint(tmp_path / "a.pth", program, {"0": np.zeros(2, "<f4")})
    with pytest.raises(ValueError, match="leaves its storage"):
        read_torch(path)


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "other.pth"
    other.write_bytes(pickle.dumps(1))
    with pytest.raises(ValueError, match=r"PyTorch 1\.6 or later"):
        read_torch(other)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(ValueError, match=r"one data\.pkl; it holds 0"):
        read_torch(tmp_path / "b.zip")
    short = mapping({"x": tensor("0", "FloatStorage", 9, (9,), (1,))})
    path = checkpoint(tmp_path / "c.pth", short, {"0": np.zeros(2, "<f4")})
    with pytest.raises(ValueError, match="shorter than the 9 numbers"):
        read_torch(path)
    with pytest.raises(ValueError, match=r"it lacks weights/data/0"):
        read_torch(checkpoint(tmp_path / "d.pth", short))
    with pytest.raises(ValueError, match="no checkpoint that can be read"):
        read_torch(checkpoint(tmp_path / "e.pth", b"(("))
