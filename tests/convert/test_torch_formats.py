"""Files of PyTorch before 1.6, packages and safetensors; damaged and hostile ones end in a line."""

import gzip
import json
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_torch_files import (
    PROTO,
    STOP,
    checkpoint,
    integer,
    integers,
    legacy,
    mapping,
    name,
    tensor,
    text,
)

from kzoo.convert import _torch_pickle, demucs, torch_files
from kzoo.convert.torch_files import read_torch, read_torch_content

VECTORS = Path(__file__).parents[1] / "vectors"
LINE = mapping({"x": tensor("0", "FloatStorage", 3, (3,), (1,))})
NUMBERS = {"0": np.array([1, -2, 3], "<f4")}


def flat(content, at=""):
    """{path: array} of all arrays in what `read_torch_content` gives."""
    if isinstance(content, np.ndarray):
        return {at: content}
    if not isinstance(content, dict | list | tuple):
        return {}
    parts = content if isinstance(content, dict) else dict(enumerate(content))
    return {
        path: array
        for key, part in parts.items()
        for path, array in flat(part, f"{at}/{key}" if at else str(key)).items()
    }


def test_every_tensor_of_the_files_before_1_6_is_read_to_the_bit():
    found = {}
    for file, at in (("state.pth", "state"), ("demucs_v1.th", "demucs_v1"), ("optim.pt", "optim")):
        found |= flat(read_torch_content(VECTORS / f"torch_legacy_{file}"), at)
    places = {"demucs_v1/3/": "demucs_v1/", "optim/optimizer/state/": "optim/optimizer/"}
    for theirs, ours in places.items():
        found = {path.replace(theirs, ours): array for path, array in found.items()}
    with np.load(VECTORS / "torch_legacy.npz") as recorded:
        expected = {key.removesuffix("__bf16_as_float32"): recorded[key] for key in recorded}
    del expected["optim/param_groups_json"]
    assert found.keys() == expected.keys()
    assert len(found) == 34
    for path, array in expected.items():
        assert found[path].dtype == array.dtype
        np.testing.assert_array_equal(found[path], array, strict=True)


def test_a_package_of_demucs_is_data_without_its_class():
    path = VECTORS / "torch_legacy_demucs_v1.th"
    klass, args, kwargs, _ = read_torch_content(path)
    assert klass is None
    assert args == [["drums", "bass", "other", "vocals"]]
    assert kwargs["samplerate"] == 44100
    assert kwargs["segment"] == (1, 2)
    assert list(demucs.read(path)) == list(read_torch(path))


def test_a_file_as_demucs_v1_was_published_holds_its_weights(tmp_path, vectors):
    recorded = vectors("demucs_v1_small")
    weights = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    state = {}
    for number, (key, array) in enumerate(weights.items()):
        strides = [step // 4 for step in array.strides]
        state[key] = tensor(str(number), "FloatStorage", array.size, array.shape, strides)
    klass = b"(" + text("module") + name("demucs.model", "Demucs") + text("model.py")
    package = b"(" + klass + text("class Demucs: ...") + b"tQ" + b"]}" + mapping(state) + b"t"
    data = {str(number): array for number, array in enumerate(weights.values())}
    found = demucs.read(legacy(tmp_path / "demucs.th", package, data))
    assert found.keys() == weights.keys()
    for key, array in weights.items():
        np.testing.assert_array_equal(found[key], array, strict=True)


def test_a_package_of_the_later_demucs_is_read(vectors, shared):
    recorded = vectors("htdemucs_package")
    found = read_torch(shared / "vectors" / "htdemucs_package.th")
    assert {f"state/{key}" for key in found} | {"output_first_source"} == set(recorded)
    for key, array in found.items():
        np.testing.assert_array_equal(array, recorded[f"state/{key}"], strict=True)


def safetensors(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path):
    header = {"__metadata__": {"format": "pt"},
              "b": {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]},
              "a": {"dtype": "F32", "shape": [], "data_offsets": [4, 8]},
              "none": {"dtype": "I64", "shape": [0, 3], "data_offsets": [8, 8]}}  # fmt: skip
    data = np.array([0x3FC0, 0xC000], "<u2").tobytes() + np.float32(7).tobytes()
    found = read_torch(safetensors(tmp_path / "a.pth", header, data), key="model")
    np.testing.assert_array_equal(found["b"], np.array([[1.5], [-2]], np.float32), strict=True)
    np.testing.assert_array_equal(found["a"], np.float32(7))
    assert found["none"].shape == (0, 3)


@pytest.mark.parametrize("write", [checkpoint, legacy])
def test_files_are_read_packed_or_not(tmp_path, write):
    path = write(tmp_path / "a.th", LINE, NUMBERS)
    packed = tmp_path / "a.th.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        np.testing.assert_array_equal(read_torch(file)["x"], NUMBERS["0"])


def test_a_view_of_a_storage_begins_where_it_says(tmp_path):
    whole = b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cuda:0")
    seen = whole + integer(3) + b"(" + text("part") + integer(1) + integer(2) + b"ttQ"
    old = name("torch._utils", "_rebuild_tensor") + b"(" + seen + integer(0)
    program = mapping({"x": old + integers([2]) + integers([1]) + b"tR"})
    found = read_torch(legacy(tmp_path / "a.th", program, NUMBERS))
    np.testing.assert_array_equal(found["x"], [-2, 3])
    beyond = program.replace(integer(1) + integer(2), integer(2) + integer(2))
    with pytest.raises(ValueError, match="refers to data of a kind"):
        read_torch(legacy(tmp_path / "b.th", beyond, NUMBERS))


def laughing(levels):
    """A list of itself, ten times over on each level: a text of it would be longer than memory."""
    found = []
    for _ in range(levels):
        found = [found] * 10
    return found


def hostile(tmp_path):
    """{what it tries: (file, what is said of it)}."""

    def pickled(label, program, said, data=NUMBERS, write=legacy, **options):
        path = write(tmp_path / label.replace(" ", "_"), program, data, **options)
        return label, (path, said)

    def one(*numbers, kind="FloatStorage"):
        return mapping({"x": tensor("0", kind, *numbers)})

    large = b"\x8a\x08" + struct.pack("<q", 2**62)
    yield pickled("huge storage", one(2**31 - 1, (3,), (1,)), "lacks some of 2147483647 numbers")
    yield pickled("huge expanded", one(3, (2**31 - 1,) * 3, (0,) * 3), "is made of 3 numbers")
    yield pickled("huge empty", one(3, (0,) + (2**31 - 1,) * 3, (1,) * 4), "dimension|too big")
    yield pickled("many axes", one(3, (1,) * 40, (1,) * 40), "has 40 sizes")
    yield pickled("before", one(3, (2,), (-1,), 1), "leaves its storage")
    yield pickled("long int", one(3, (3,), (1,)).replace(integer(0), large, 1), "impossible sizes")
    yield pickled("two kinds", mapping({
        "x": tensor("0", "FloatStorage", 3, (3,), (1,)),
        "y": tensor("0", "DoubleStorage", 3, (3,), (1,))}), "two kinds of storage")  # fmt: skip
    yield pickled("unlisted", LINE, "lacks the storage 0", keys=[], data={})
    yield pickled("listed twice", LINE, "no tensor's, or one twice", keys=["0", "0"])
    yield pickled("unknown listed", LINE, "no tensor's, or one twice", keys=["9"])
    yield pickled("listed laughs", LINE, "no tensor's, or one twice", keys=[laughing(40)])
    yield pickled("no list", LINE, "no known version", keys={"0": 1})
    yield pickled("memo", b"Nr" + struct.pack("<I", 2**32 - 1), "holds a NoneType", {})
    yield pickled("long text", b"X" + struct.pack("<I", 2**32 - 1) + b"ab", "expected 4294967295")
    yield pickled("longer text", b"\x8d" + struct.pack("<Q", 2**62) + b"ab", "expected 46116860")
    yield pickled("nested key", b"})" + b"\x85" * 40_000 + b"Ns", "one mapping of tensors", {})
    yield pickled("operations", b"(" + b"]" * 10**5, "more than 100000 operations")
    laughs = b"]q\0"
    for level in range(1, 30):
        laughs += b"](" + (b"h" + bytes([level - 1])) * 9 + b"eq" + bytes([level])
    yield pickled("laughs", laughs, "one mapping of tensors", {})
    yield pickled("set", name("builtins", "set") + b"(]tR", "wants builtins.set")
    yield pickled("odd name", name("os", "sys\x1btem\r"), r"wants os.sys\?tem\?,")
    yield pickled("stack global", text("os") + text("system\n") + b"\x93", r"wants os.system\?,")
    yield pickled("persistent text", b"Pabc\n", "instruction PERSID")
    yield pickled("extension", b"\x82\x01", "instruction EXT1")
    yield pickled("no stack", b"0.", "instruction POP")
    yield pickled("no mark", b"t", "lacks its mark")
    yield pickled("called number", b"K\x01)R", "call without a function")
    yield pickled(
        "wrong arguments", name("torch._utils", "_rebuild_tensor_v2") + b")R", "other arg"
    )
    yield pickled("data beyond", LINE, "shorter than the 3", {"0": NUMBERS["0"][:2]}, checkpoint)

    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", PROTO + one(2**24, (2**24,), (1,)) + STOP)
        archive.writestr("w/data/0", bytes(2**26))
    yield "zip bomb", (bomb, "is compressed, which PyTorch does not do")
    overlap = mapping({f"{n}": tensor("0", "ByteStorage", 900, (900,), (1,)) for n in range(9)})
    overlap = overlap.replace(text("0") + text("cpu"), b"%s")
    for n in range(9):
        overlap = overlap.replace(b"%s", text(str(n)) + text("cpu"), 1)
    same = checkpoint(tmp_path / "same", overlap, {str(n): bytes(n == 0 and 900) for n in range(9)})
    yield "lacking", (same, "shorter than the 900 numbers")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(bytes(2**20)))
    yield "gzip bomb", (packed, "more than 50 times as long")
    offsets = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    for label, header, data in (
        ("overlapping tensors", {"x": offsets, "y": offsets}, bytes(4)),
        ("hole", {"x": {**offsets, "data_offsets": [4, 8]}}, bytes(8)),
        ("short tensor", {"x": offsets}, bytes(3)),
        ("huge tensor", {"x": {**offsets, "shape": [2**40, 2**40]}}, bytes(4)),
        ("deep header", b'{"x":' + b"[" * 10**5, b""),
    ):
        file = safetensors(tmp_path / label.replace(" ", "_"), header, data)
        yield label, (file, "no safetensors file that can be read")
    odd = safetensors(
        tmp_path / "kind", {"x": {**offsets, "dtype": "F8_E5M2", "shape": [4]}}, bytes(4)
    )
    yield "kind", (odd, "numbers of a kind that is not known: F8_E5M2")
    for label, content in (("nothing", b""), ("text", b"hello, world"), ("tar", b"storages" * 99)):
        (tmp_path / label).write_bytes(content)
        yield label, (tmp_path / label, "is no file of PyTorch's weights")


def test_hostile_files_are_refused_in_a_line_and_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_torch_pickle, "MOST_OPERATIONS", 10**5)
    monkeypatch.setattr(torch_files, "_PACKED", (2**16, 50))
    for label, (path, said) in hostile(tmp_path):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ValueError, match=said) as raised:
            read_torch(path)
        message = str(raised.value)
        assert message.startswith(str(path)), label
        assert "\n" not in message, label
        assert len(message) < 400, label
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 100_000, (label, grown)  # kB


def damaged(path, rng, trials):
    """The file cut short, with bits flipped, and with a run of it from elsewhere."""
    content = path.read_bytes()
    for trial in range(trials):
        changed = bytearray(content)
        at = int(rng.integers(len(content)))
        if trial % 3 == 0:
            del changed[at:]
        elif trial % 3 == 1:
            for place in rng.integers(len(content), size=rng.integers(1, 4)):
                changed[place] ^= 1 << int(rng.integers(8))
        else:
            source, length = int(rng.integers(len(content))), int(rng.integers(1, 40))
            changed[at : at + length] = content[source : source + length]
        yield bytes(changed)


def refused_or_read(tmp_path, path, rng, trials):
    """How many of the damaged files are refused, in one line each; others hold small arrays."""
    refused, broken = 0, tmp_path / "broken"
    for content in damaged(path, rng, trials):
        broken.write_bytes(content)
        try:
            found, message = flat(read_torch_content(broken)), ""
        except ValueError as error:
            found, message = {}, str(error)
        assert "\n" not in message
        assert len(message) < 400
        assert sum(array.size for array in found.values()) <= 2**21
        refused += bool(message)
    return refused


def samples(tmp_path):
    package = b"(" + name("demucs.model", "Demucs") + mapping({"n": integer(2)}) + LINE + b"t"
    header = {"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}
    return [
        checkpoint(tmp_path / "zip", package, NUMBERS),
        legacy(tmp_path / "legacy", package, NUMBERS),
        VECTORS / "torch_legacy_demucs_v1.th",
        VECTORS / "torch_legacy_state.pth",
        VECTORS / "torch_legacy_optim.pt",
        safetensors(tmp_path / "safetensors", header, NUMBERS["0"].tobytes()),
    ]


def test_damaged_files_are_read_or_refused_in_a_line(tmp_path, rng):
    for path in samples(tmp_path):
        assert refused_or_read(tmp_path, path, rng, 45) > 10


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_or_refused_in_a_line(tmp_path, rng, shared):
    for path in samples(tmp_path):
        refused_or_read(tmp_path, path, rng, 1000)
    refused_or_read(tmp_path, shared / "vectors" / "htdemucs_package.th", rng, 300)
