"""ONNX files written by hand, byte by byte, and read without the onnx package."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest

from kzoo.convert.deepfilternet import read
from kzoo.convert.onnx_files import read_onnx


def varint(n):
    n &= (1 << 64) - 1
    found = bytearray()
    while n > 0x7F:
        found.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*found, n])


def field(number, value):
    """An integer, or bytes, text and messages, as they lie in the file."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, kind, shape, *numbers):
    return (
        b"".join(field(1, n) for n in shape) + field(2, kind) + field(8, name) + b"".join(numbers)
    )


def raw(array):
    return field(9, np.asarray(array).tobytes())


def constant(output, content):
    value = field(1, "value") + field(5, content) + field(20, 4)
    return field(2, output) + field(4, "Constant") + field(5, value)


def model(*initialisers, nodes=()):
    graph = b"".join(field(1, node) for node in nodes) + field(2, "a graph")
    graph += b"".join(field(5, content) for content in initialisers)
    return field(1, 7) + field(2, "by hand") + field(7, graph) + field(8, field(2, 12))


NUMBERS = np.arange(6, dtype="<f4") / 7
GRU = constant("gru", tensor("", 1, (2, 3), raw(NUMBERS)))
RELU = field(1, "gru") + field(2, "y") + field(4, "Relu")


def test_initialisers_and_constants_are_read_by_name():
    found = read_onnx(model(tensor("w", 1, (3, 2), raw(NUMBERS)), nodes=(RELU, GRU)))
    assert set(found) == {"w", "gru"}
    np.testing.assert_array_equal(found["w"], NUMBERS.reshape(3, 2))
    np.testing.assert_array_equal(found["gru"], NUMBERS.reshape(2, 3))


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    [
        (1, field(4, struct.pack("<2f", 1.5, -2)), np.array([1.5, -2], np.float32)),
        (1, b"\x25" + struct.pack("<f", 1.5) + b"\x25" + struct.pack("<f", -2), [1.5, -2]),
        (11, field(10, struct.pack("<2d", 1e-300, 2)), np.array([1e-300, 2])),
        (10, field(5, varint(0x3E00) + varint(0xC000)), np.array([1.5, -2], np.float16)),
        (10, raw(np.array([1.5, -2], "<f2")), np.array([1.5, -2], np.float16)),
        (7, field(7, varint(-3) + varint(1 << 40)), np.array([-3, 1 << 40])),
        (7, field(7, -3) + field(7, 5), np.array([-3, 5])),
        (6, field(5, varint(-3) + varint(7)), np.array([-3, 7], np.int32)),
        (9, raw([True, False]), np.array([True, False])),
        (13, field(11, varint(5) + varint(9)), np.array([5, 9], np.uint64)),
    ],
)
def test_every_kind_of_number_is_read(kind, numbers, expected):
    (found,) = read_onnx(model(tensor("x", kind, (2,), numbers))).values()
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == getattr(expected, "dtype", found.dtype)
    assert found.dtype.isnative


def test_scalars_and_empty_tensors_have_their_shapes():
    found = read_onnx(model(tensor("x", 1, (), raw(NUMBERS[:1])), tensor("none", 1, (0, 3))))
    assert found["x"].shape == ()
    assert found["none"].shape == (0, 3)


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(model(tensor("w", 1, (6,), raw(NUMBERS))))
    np.testing.assert_array_equal(read_onnx(path)["w"], NUMBERS)


def test_every_truncation_of_a_file_is_refused_in_words():
    whole = model(tensor("w", 1, (6,), raw(NUMBERS)), nodes=(GRU,))
    ends = len(field(8, field(2, 12)))  # what stands after the graph may be absent
    for length in (n for n in range(len(whole)) if n != len(whole) - ends):
        with pytest.raises(ValueError, match=r"no model of ONNX, or damaged: of .*, it"):
            read_onnx(whole[:length])


def outcome(content):
    """Say "read", or in which words `content` is refused."""
    try:
        found = read_onnx(content)
    except ValueError as error:
        return str(error)
    return "read" if all(isinstance(x, np.ndarray) for x in found.values()) else "no arrays"


def test_any_changed_byte_gives_arrays_or_a_refusal_in_words(rng):
    whole = model(tensor("w", 1, (6,), raw(NUMBERS)), nodes=(GRU,))
    changed = [
        outcome(whole[:at] + bytes([byte]) + whole[at + 1 :])
        for at in range(len(whole))
        for byte in rng.integers(0, 256, 16).tolist()
    ]
    assert [words for words in changed if words != "read" and "ONNX" not in words] == []
    assert 0.1 < changed.count("read") / len(changed) < 0.9


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "should have one graph and has 0"),
        (b"not a model of any kind", "damaged"),
        (b"\x0b", "it has a field of kind 3"),
        (b"\x00\x01", "a field without a number"),
        (b"\x08" + b"\xff" * 10, "more than 64 bits"),
        (field(7, 3), "of the graph, it is an integer"),
        (model(tensor("x", 8, (1,), field(6, "text"))), "'x' .* data type 8, which is no number"),
        (model(tensor("x", 1, (7,), raw(NUMBERS))), r"'x' .* 7 numbers, \(7,\); it holds 6"),
        (model(tensor("x", 1, (0, 1 << 62), raw(NUMBERS))), "'x' .* has the shape"),
        (model(tensor("x", 1, (-6,), raw(NUMBERS))), r"'x' .* has the shape \(-6,\)"),
        (model(tensor("x", 1, (1,), field(9, b"abc"))), "'x' .* ends within a number"),
        (model(tensor("x", 1, (6,), field(14, 1))), "'x' .* has its numbers in another file"),
        (model(tensor("x", 2, (1,), field(5, 300))), "'x' .* integers too large"),
        (model(*2 * [tensor("x", 1, (6,), raw(NUMBERS))]), "two tensors called 'x'"),
    ],
)
def test_what_is_no_model_or_holds_no_numbers_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        read_onnx(content)


def archive(path, **graphs):
    with tarfile.open(path, "w:gz") as file:
        for name, content in graphs.items():
            member = tarfile.TarInfo(f"tmp/export/{name}.onnx")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_of_graphs_is_read_without_what_is_no_weight(tmp_path):
    one = model(tensor("w", 1, (6,), raw(NUMBERS)), tensor("axis", 7, (1,), field(7, 3)))
    scale = constant("scale", tensor("", 1, (), raw(NUMBERS[:1])))
    path = archive(tmp_path / "a.tar.gz", enc=model(nodes=(GRU, scale)), erb_dec=one, df_dec=one)
    assert set(read(path)) == {"enc/gru", "erb_dec/w", "df_dec/w"}


def test_other_archives_are_refused_in_words(tmp_path):
    path = archive(tmp_path / "a.tar.gz", enc=model(), df_dec=model())
    with pytest.raises(ValueError, match=r"lacks erb_dec\.onnx"):
        read(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="no archive that can be read"):
        read(path)
    path.write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(ValueError, match="no archive that can be read"):
        read(path)
