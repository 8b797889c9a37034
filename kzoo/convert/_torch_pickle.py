"""Pickles of PyTorch read as data: a machine of its own that knows containers, numbers and tensors.

A pickle is a program. This machine takes its instructions apart with `pickletools`, and calls
nothing that they name: a tensor becomes a note of where its numbers lie, what is known to be
harmless and holds no tensors becomes `INERT`, and everything else is refused by its name.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_BYTES = 2**25  # of the pickles of a file; those of 600 tensors have 100 kB
MOST_OPERATIONS = 2**20  # 600 tensors take 20,000
MOST_AXES = 32
_LARGEST = 2**62  # of a number that counts something

DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
}
INERT: Any = object()  # what is known to be harmless, and not looked at
_HARMLESS = {
    ("_codecs", "encode"),
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("torch", "device"),
    ("torch.torch_version", "TorchVersion"),
    # Of Demucs, whose packages begin with their class.
    ("demucs.demucs", "Demucs"),
    ("demucs.hdemucs", "HDemucs"),
    ("demucs.htdemucs", "HTDemucs"),
    ("demucs.model", "Demucs"),
    ("demucs.tasnet", "ConvTasNet"),
}


class Storage(NamedTuple):
    """A run of `numel` numbers that is called `key`, from number `start` of it."""

    kind: str
    key: str
    numel: int
    start: int = 0


class Tensor(NamedTuple):
    """Some numbers of a storage; offset and strides are counted in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Name(NamedTuple):
    """A function or class that a pickle names."""

    module: str
    name: str


def load(stream: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """(content, storages by key) of the next pickle of the stream.

    The content is dicts, lists, tuples, texts, numbers, `Tensor` and `INERT`. Keys of dicts that
    are neither texts nor integers become objects without meaning. Raises ValueError for what is no
    pickle, for one that names anything which is not known to be harmless, and for one of more
    operations than `MOST_OPERATIONS`.
    """
    machine = _Machine()
    try:
        for name, argument in _instructions(stream):
            machine.spend(1)
            machine.run(name, argument)
        return machine.pop(), machine.storages
    except (LookupError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"it holds no checkpoint that can be read: {short(error)}") from error


def _instructions(stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """The names of a pickle's instructions and their arguments, up to its end."""
    with warnings.catch_warnings():  # of Python, that a text has a strange escape
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                yield opcode.name, argument
        except ValueError as error:
            raise ValueError(f"its pickle is damaged: {short(error)}") from error


class _Machine:
    """A stack, the stacks that marks have put aside, and what is remembered."""

    def __init__(self):
        self.stack: list = []
        self.outer: list[list] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.left = MOST_OPERATIONS

    def spend(self, operations: int) -> None:
        self.left -= operations
        if self.left < 0:
            raise ValueError(f"its pickle has more than {MOST_OPERATIONS} operations")

    def pop(self):
        if not self.stack:
            raise LookupError("an instruction lacks its operand")
        return self.stack.pop()

    def pop_to_mark(self) -> list:
        if not self.outer:
            raise LookupError("an instruction lacks its mark")
        found, self.stack = self.stack, self.outer.pop()
        return found

    def top(self, kind: type):
        if not (self.stack and isinstance(self.stack[-1], kind)):
            raise LookupError(f"an instruction lacks its {kind.__name__}")
        return self.stack[-1]

    def run(self, name: str, argument: Any) -> None:
        """One instruction, as `pickletools` calls it and reads its argument."""
        push = self.stack.append
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case "EMPTY_DICT":
                push({})
            case "EMPTY_LIST":
                push([])
            case "EMPTY_TUPLE":
                push(())
            case "NONE":
                push(None)
            case "NEWTRUE" | "NEWFALSE":
                push(name == "NEWTRUE")
            case _ if name in _CONSTANTS:
                push(argument)
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memo[argument] = self.top(object)
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top(object)
            case "BINGET" | "LONG_BINGET" | "GET":
                push(self.memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.pop() for _ in range(int(name[-1]))]
                self.stack.append(tuple(items[::-1]))
            case "TUPLE" | "LIST" | "DICT" as kind:
                items = self.pop_to_mark()
                made = {"TUPLE": tuple, "LIST": list, "DICT": _mapping}[kind](items)
                self.stack.append(made)
            case "APPEND":
                item = self.pop()
                self.top(list).append(item)
            case "APPENDS":
                items = self.pop_to_mark()
                self.top(list).extend(items)
            case "SETITEM":
                items = [self.pop(), self.pop()]
                self.top(dict).update(_mapping(items[::-1]))
            case "SETITEMS":
                items = self.pop_to_mark()
                self.top(dict).update(_mapping(items))
            case "GLOBAL":
                push(_known(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                self.stack.append(_known(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments, function = self.pop(), self.pop()
                self.stack.append(self.call(function, arguments))
            case "BUILD":
                self.pop()
                if self.stack[-1] is not INERT:
                    self.top(dict)  # what PyTorch notes on a mapping is dropped
            case "BINPERSID":
                self.stack.append(self.persistent(self.pop()))
            case _:
                raise ValueError(f"its pickle has the instruction {name}, which is not known")

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise TypeError("a call without a function, or without arguments")
        if function in _HARMLESS:
            return INERT
        match function.name, arguments:
            case "Fraction", ((int() | str()), *_):
                return _fraction(*arguments)
            case "OrderedDict", ():
                return {}
            case "OrderedDict", (list() as pairs,):
                self.spend(len(pairs))
                if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
                    raise TypeError("a mapping is made of pairs")
                return _mapping([item for pair in pairs for item in pair])
            case "Size", (tuple() as size,):
                return size
            case "_rebuild_parameter", (Tensor() as tensor, *_):
                return tensor
            case "_rebuild_tensor_v2" | "_rebuild_tensor", (storage, offset, size, stride, *_):
                return _tensor(storage, offset, size, stride)
        raise TypeError(f"{function.name} is called with other arguments than PyTorch's")

    def persistent(self, pid: Any) -> Any:
        """The storage, or the class with its source, which is left alone, that an id stands for."""
        match pid:
            case ("storage", Name() as kind, str(key), _, numel, *view) if kind in _STORAGES:
                storage = Storage(kind.name, key, _count(numel))
                if self.storages.setdefault(key, storage) != storage:
                    raise ValueError(f"two kinds of storage are called {short(key)}")
                match view:
                    case [] | [None]:
                        return storage
                    case [(_, start, length)] if _count(start) + _count(length) <= numel:
                        return storage._replace(start=start)
            case ("module", Name() as kind, str(), str()):
                return kind
        raise ValueError("it refers to data of a kind that is not known")


_CONSTANTS = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING",
}  # fmt: skip
_CALLED = {
    Name("collections", "OrderedDict"),
    Name("fractions", "Fraction"),
    Name("torch", "Size"),
    Name("torch._utils", "_rebuild_parameter"),
    Name("torch._utils", "_rebuild_tensor"),
    Name("torch._utils", "_rebuild_tensor_v2"),
}
_STORAGES = {Name("torch", name) for name in DTYPES}


def _known(module: Any, name: Any) -> Name:
    found = Name(module, name)
    if isinstance(module, str) and isinstance(name, str):
        if found in _CALLED or found in _STORAGES or found in _HARMLESS:
            return found
        module, name = short(module), short(name)
        raise ValueError(
            f"it wants {module}.{name}, which is not known to be harmless: nothing of it was run; "
            "keep nothing but tensors in the file (a state_dict)"
        )
    raise TypeError("a function is named by two texts")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor of it has no storage of a known kind")
    if not (isinstance(size, tuple) and isinstance(stride, tuple)):
        raise TypeError("sizes and strides are tuples")
    if len(size) != len(stride) or len(size) > MOST_AXES:
        raise ValueError(f"a tensor of it has {len(size)} sizes and {len(stride)} strides")
    return Tensor(storage, _count(offset), tuple(map(_count, size)), tuple(map(_count, stride)))


def _count(number: Any) -> int:
    if not isinstance(number, int) or not 0 <= number < _LARGEST:
        raise ValueError(
            "a tensor of it has impossible sizes, strides or offsets, or leaves its storage"
        )
    return int(number)


def _fraction(numerator: Any, denominator: Any = 1) -> float:
    """A fraction of two integers, or of a text as older Pythons write it: "39/5"."""
    if isinstance(numerator, str) and re.fullmatch(r"-?\d{1,18}(/\d{1,18})?", numerator):
        numerator, denominator = map(int, f"{numerator}/{denominator}".split("/")[:2])
    whole = isinstance(numerator, int) and isinstance(denominator, int)
    if not whole or not denominator or max(abs(numerator), abs(denominator)) >= _LARGEST:
        raise ValueError("a fraction of it is none of two integers")
    return numerator / denominator


def _mapping(items: list) -> dict:
    if len(items) % 2:
        raise LookupError("a key lacks its value")
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key: Any) -> Any:
    harmless = isinstance(key, str) or (isinstance(key, int) and abs(key) < _LARGEST)
    return key if harmless else object()


def short(text: Any) -> str:
    """A text from a file, fit for one line of a message."""
    text = str(text)
    text = "".join(c if c.isprintable() else "?" for c in text[:61])
    return text if len(text) <= 60 else f"{text[:57]}..."
