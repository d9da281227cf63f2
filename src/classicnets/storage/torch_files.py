"""State dictionaries that others saved by `torch.save`, read as data and never as a program.

`torch.load(weights_only=True)` runs no code of the file's choosing, but lets a small file ask for
any amount of memory or time (compressed members, stride 0, nested tuples as keys). So the archive
is first held against the narrow form that `torch.save(model.state_dict())` writes, its pickle
followed without making any object it names; only then does torch read it.
"""

import math
import os
import pickletools
import re
import struct
import zipfile
from dataclasses import dataclass
from typing import Any, BinaryIO, Never

import torch
from torch import Tensor

from ..errors import WeightsError
from .tensor_files import TensorSpec

_MAX_DIRECTORY_BYTES = 4_000_000  # of the zip; 20,000 tensors need about 2,000,000
_MAX_PICKLE_BYTES = 600_000  # 3,000 tensors
_MAX_OTHER_BYTES = 16_000_000  # beside twice the tensors: the two above, and padding

_MEMBER = re.compile(
    r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id)"
)
_STORAGES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
    "torch ComplexFloatStorage": torch.complex64,
    "torch ComplexDoubleStorage": torch.complex128,
}
_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"


def read_specs(file: BinaryIO) -> dict[str, TensorSpec]:
    """Return what tensors an archive holds, none of them read.

    Raises:
        WeightsError: it is not a plain, uncompressed state dictionary.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        _check_archive(file, size)
        with zipfile.ZipFile(file) as archive:
            sizes = _member_sizes(archive, size)
            name = next((name for name in sizes if name.endswith("/data.pkl")), None)
            if name is None or sizes[name] > _MAX_PICKLE_BYTES:
                raise ValueError(f"it has no data.pkl of at most {_MAX_PICKLE_BYTES:,} bytes")
            state = _Follower(sizes, name.removesuffix(".pkl")).follow(archive.read(name))
        if not isinstance(state, dict) or not all(map(_is_tensor, state.values())):
            raise ValueError("it is no dictionary of tensors alone")
        specs = {key: value.spec for key, value in state.items()}
        num_bytes = sum(math.prod(spec.shape) * spec.dtype.itemsize for spec in specs.values())
        if size > 2 * num_bytes + _MAX_OTHER_BYTES:
            raise ValueError(f"it is {size:,} bytes long, its tensors {num_bytes:,}")
    except Exception as error:  # of zipfile, pickletools, or a stand-in used as what it is not
        raise _refused(file, f"{error!s:.200}") from error
    return specs


def read_tensors(file: BinaryIO, specs: dict[str, TensorSpec]) -> dict[str, Tensor]:
    """Return the tensors of an archive that `read_specs` approved.

    Raises:
        WeightsError: it is damaged, or torch finds something else in it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if damaged := archive.testzip():  # torch.load does not look at the check sums
                raise ValueError(f"its member {damaged!r:.80} fails its check sum")
        file.seek(0)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        found = {name: TensorSpec(value.dtype, tuple(value.shape)) for name, value in state.items()}
        if found != specs:
            raise ValueError("torch reads other tensors from it than its pickle says")
    except Exception as error:  # torch raises RuntimeError, ValueError, UnpicklingError and more
        raise _refused(file, f"{error!s:.200}") from error
    return dict(state)


def _refused(file: BinaryIO, reason: str) -> WeightsError:
    return WeightsError(
        f"{str(file.name)!r} is not a plain state dictionary of torch.save: {reason}; where you "
        "trust the file, load it with torch and save model.state_dict() alone, or use save_weights"
    )


def _check_archive(file: BinaryIO, size: int) -> None:
    """Raise unless the file is one zip archive from its first byte to its last."""
    start = file.read(4)
    file.seek(max(0, size - 98))
    tail = file.read(98)
    if not start.startswith(b"PK"):
        raise ValueError(
            "it is no zip archive; torch before 1.6 wrote another form, which can run programs"
        )
    end, locator, end64 = tail[-22:], tail[-42:-22], tail[-98:-42]
    if end[:4] != b"PK\5\6" or end[20:] != b"\0\0":
        raise ValueError("it is cut short, or something follows the archive")
    place, (length, offset) = size - 22, struct.unpack("<II", end[12:20])
    if locator[:4] == b"PK\6\7":  # the same again in 64 bits
        narrow, (length, offset) = (length, offset), struct.unpack("<QQ", end64[40:56])
        agree = all(a in (b, 2**32 - 1) for a, b in zip(narrow, (length, offset), strict=True))
        place = size - 98 if agree and end64[:4] == b"PK\6\6" else -1
    if offset + length != place or length > _MAX_DIRECTORY_BYTES:
        raise ValueError(f"its directory is damaged or over {_MAX_DIRECTORY_BYTES:,} bytes")


def _member_sizes(archive: zipfile.ZipFile, file_size: int) -> dict[str, int]:
    members = archive.infolist()
    sizes = {member.orig_filename: member.file_size for member in members}
    if any("/code/" in name or name.endswith("/constants.pkl") for name in sizes):
        raise ValueError("it is a TorchScript archive, which holds a program")
    for member in members:
        if not _MEMBER.fullmatch(member.orig_filename):
            raise ValueError(
                f"it holds {member.orig_filename!r:.80}, which torch.save does not write"
            )
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"its member {member.filename!r:.80} is compressed")
    if len(sizes) < len(members) or len({name.split("/")[0] for name in sizes}) > 1:
        raise ValueError("two of its members bear one name, or they lie in two folders")
    if sum(sizes.values()) > file_size:
        raise ValueError("its members overlap")
    return sizes


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    spec: TensorSpec


def _is_tensor(value: object) -> bool:
    return isinstance(value, _Tensor)


class _Follower:
    """Follows the pickle of a state dictionary, with stand-ins for all it would make.

    Keys are strings and nothing is compared or hashed but strings and numbers, so the time is that
    of reading the pickle once.
    """

    def __init__(self, sizes: dict[str, int], folder: str) -> None:
        self._sizes = sizes
        self._folder = folder
        self._stack: list[Any] = []
        self._marks: list[int] = []

    def follow(self, pickle: bytes) -> Any:
        stack = self._stack
        memo: dict[Any, Any] = {}
        argument: Any
        for opcode, argument, place in pickletools.genops(pickle):
            match opcode.name:
                case "PROTO":
                    pass
                case "MARK":
                    self._marks.append(len(stack))
                case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                    stack.append(argument)
                case "NEWTRUE" | "NEWFALSE":
                    stack.append(opcode.name == "NEWTRUE")
                case "GLOBAL":
                    stack.append(self._known(argument))
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "EMPTY_DICT":
                    stack.append({})
                case "TUPLE":
                    stack.append(tuple(self._since_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(opcode.name[-1])
                    stack[-count:] = [tuple(stack[-count:])]
                case "BINPERSID":
                    stack.append(self._storage(*stack.pop()))
                case "REDUCE":
                    arguments = stack.pop()
                    stack.append(self._made(stack.pop().name, *arguments))
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    self._set(stack[-1], key, value)
                case "SETITEMS":
                    items = self._since_mark()
                    for key, value in zip(items[::2], items[1::2], strict=True):
                        self._set(stack[-1], key, value)
                case "BUILD":  # an OrderedDict's attributes: the versions of the modules
                    if not isinstance(stack.pop(), dict) or not isinstance(stack[-1], dict):
                        _refuse("an object with attributes")
                case "STOP" if place == len(pickle) - 1:
                    return stack.pop()
                case _:
                    _refuse(f"the operation {opcode.name}")
        return None

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _known(self, name: str) -> _Global:
        if name not in (_DICT, _TENSOR, _PARAMETER, *_STORAGES):
            _refuse(f"{name!r:.80}")
        return _Global(name)

    def _set(self, target: Any, key: Any, value: Any) -> None:
        if not isinstance(target, dict) or not isinstance(key, str):
            _refuse("a dictionary with other keys than strings")
        target[key] = value

    def _storage(self, kind: str, type_: _Global, key: str, device: str, count: int) -> _Storage:
        dtype = _STORAGES[type_.name]
        if kind != "storage" or self._sizes[f"{self._folder}/{key}"] != count * dtype.itemsize:
            raise ValueError(f"a storage of {count} {dtype} does not have the size of its member")
        return _Storage(dtype, count)

    def _made(self, name: str, *arguments: Any) -> Any:
        if name == _DICT and not arguments:
            return {}
        if name == _PARAMETER and isinstance(arguments[0], _Tensor):
            return arguments[0]
        if name != _TENSOR:
            _refuse(f"a call of {name}")
        storage, offset, shape, strides, _, _ = arguments
        if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
            raise ValueError("a tensor has a size that is no whole number from 0")
        reach = 1  # how many elements the dimensions of smaller stride span
        for stride, size in sorted(zip(strides, shape, strict=True)):
            if size > 1 and stride < reach:
                raise ValueError(f"elements of a tensor of shape {shape} overlap (stride {stride})")
            reach += (size - 1) * stride
        if math.prod(shape) and offset + reach > storage.count:
            raise ValueError(f"a tensor of shape {shape} does not fit into its storage")
        return _Tensor(TensorSpec(storage.dtype, tuple(shape)))


def _refuse(what: str) -> Never:
    raise ValueError(f"its pickle holds {what}, which a state dictionary of tensors does not need")
