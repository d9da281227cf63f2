"""Safetensors files, written tensor by tensor and read under strict limits.

The format: 8 bytes that give the header's length, the header (JSON: dtype, shape and place of each
tensor), the tensors' bytes without gaps. The safetensors package reads and writes the same files;
this reader is stricter (it refuses duplicate names and too many tensors), maps no memory, so that a
file cut short by someone else cannot crash the process, and takes a digest in the same pass.

Source: the README of the safetensors package, section "Format".
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, Protocol

import torch
from torch import Tensor

from ..errors import ConfigError, WeightsError

MAX_HEADER_BYTES = 4_000_000
MAX_TENSORS = 20_000
_MAX_DIMENSIONS = 64  # what torch itself allows

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class TensorSpec(NamedTuple):
    """What a file says of a tensor before its bytes are read."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{tuple(self.shape)} {str(self.dtype).removeprefix('torch.')}"


class Header(NamedTuple):
    """The checked header of a file: its tensors in the order of their bytes."""

    specs: dict[str, TensorSpec]
    metadata: dict[str, str]
    raw: bytes


class Digest(Protocol):
    """A hash of hashlib's."""

    def update(self, data: memoryview, /) -> None:
        """Take in more bytes."""


def encode(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> list[bytes | memoryview]:
    """Return the parts of a file: its header, then the memory of each tensor.

    Contiguous tensors of the CPU are not copied. Larger element types come first, which aligns all
    of them.

    Raises:
        ConfigError: a tensor has no bytes of its own (meta, sparse) or a type the format lacks.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    memories = []
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        if tensor.dtype not in _CODES or tensor.is_meta or tensor.layout != torch.strided:
            raise ConfigError(
                f"{name!r} is a {tensor.layout} {tensor.dtype} tensor on {tensor.device}, which a "
                f"file cannot hold; convert it to a dense one of {', '.join(map(str, _CODES))}"
            )
        memories.append(_memory(tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()))
        start, end = end, end + len(memories[-1])
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *memories]


def read_header(file: BinaryIO) -> Header:
    """Read and check the header of a file; the file is left where the tensors begin.

    Raises:
        WeightsError: the header is malformed, too large, or does not describe the file's bytes.
    """
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > min(size - 8, MAX_HEADER_BYTES):
        raise _malformed(
            file,
            f"its {size:,} bytes begin with a header of {length:,}, where at most "
            f"{MAX_HEADER_BYTES:,} and the file's size are allowed",
        )
    text = file.read(length)
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its __metadata__ is not of strings")
        if len(header) > MAX_TENSORS:
            raise ValueError(f"it lists {len(header):,} tensors, at most {MAX_TENSORS:,} are read")
        entries = sorted((_entry(name, value) for name, value in header.items()), key=_place)
        end = 0
        for name, _, start, stop in entries:
            if start != end:
                raise ValueError(f"{name!r:.80} begins at byte {start} instead of {end}")
            end = stop
        if end != size - 8 - length:
            raise ValueError(f"it describes {end:,} bytes, {size - 8 - length:,} follow it")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _malformed(file, f"bad header, {error!s:.200}") from error
    return Header({name: spec for name, spec, _, _ in entries}, metadata, prefix + text)


def read_tensors(file: BinaryIO, header: Header, digest: Digest) -> dict[str, Tensor]:
    """Read the tensors behind a header, each into memory of its own, and add them to a digest.

    Raises:
        WeightsError: the file ends early, or a tensor cannot be made.
    """
    tensors = {}
    for name, spec in header.specs.items():
        try:
            tensor = torch.empty(spec.shape, dtype=spec.dtype, device="cpu")
        except (RuntimeError, TypeError) as error:
            raise _malformed(file, f"{name!r:.80} cannot be of shape {spec.shape}") from error
        memory = _memory(tensor)
        if file.readinto(memory) != len(memory):  # type: ignore[attr-defined]
            raise _malformed(file, f"it ends inside {name!r:.80}")
        digest.update(memory)
        if spec.dtype == torch.bool and tensor.view(torch.uint8).gt(1).any():
            raise _malformed(file, f"{name!r:.80} holds booleans other than 0 and 1")
        tensors[name] = tensor
    return tensors


def _memory(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _malformed(file: BinaryIO, reason: str) -> WeightsError:
    return WeightsError(
        f"{str(file.name)!r} is not a sound safetensors file: {reason}; get or save it anew"
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name stands in it twice")
    return result


def _entry(name: str, value: Any) -> tuple[str, TensorSpec, int, int]:
    if value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r:.80} has other fields than dtype, shape and data_offsets")
    dtype, shape, (start, stop) = value["dtype"], value["shape"], value["data_offsets"]
    numbers = [*shape, start, stop]
    if dtype not in _DTYPES or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"{name!r:.80} is of an unknown type or of too many dimensions")
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError(f"{name!r:.80} has a size or place that is no whole number from 0")
    spec = TensorSpec(_DTYPES[dtype], tuple(shape))
    if stop - start != math.prod(shape) * spec.dtype.itemsize:
        raise ValueError(f"{name!r:.80} takes {stop - start} bytes, which its shape does not fill")
    return name, spec, start, stop


def _place(entry: tuple[str, TensorSpec, int, int]) -> tuple[int, int]:
    return entry[2:]
