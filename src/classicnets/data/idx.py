"""A strict reader of IDX files, the format MNIST comes in: what the header promises, or an error.

Format: two zero bytes, the type (8: unsigned bytes), the number of dimensions, each dimension as
four bytes, big-endian; then the data (http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from classicnets.errors import DataError

_MAX_BYTES = 2**30  # 20 times MNIST; keeps a lying header from asking for all memory


def read_idx(path: str | os.PathLike[str], dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes, as it is or compressed (`.gz`).

    Never more is read than the header promises, and one byte to see that nothing follows.

    Args:
        path: the file.
        dimensions: those it must have: 3 for pictures, 1 for labels.

    Shape:
        uint8, as the header says: (N, H, W) or (N,).

    Raises:
        DataError: a file that cannot be read, is no whole gzip file, has another magic number, no
            data or more than 1 GiB, or fewer or more bytes than its header promises.

    Example:
        >>> path = getfixture("tmp_path") / "three-labels"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(path, dimensions=1)
        tensor([7, 2, 1], dtype=torch.uint8)
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(file, path, dimensions)
    except EOFError as error:
        raise DataError(f"{path} is cut off: its gzip stream has no end; fetch it again") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _read(file: io.BufferedReader | gzip.GzipFile, path: Path, dimensions: int) -> Tensor:
    size = 4 + 4 * dimensions
    header = file.read(size)
    magic = bytes((0, 0, 8, dimensions))
    if header[:4] != magic[: len(header)]:
        raise DataError(
            f"{path} begins with 0x{header[:4].hex()}, expected the magic number 0x{magic.hex()} "
            f"of an IDX file of bytes in {dimensions} dimensions"
        )
    if len(header) < size:
        raise DataError(f"{path} has {len(header)} bytes, expected a header of {size}")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    count = math.prod(shape)
    promise = f"{' x '.join(map(str, shape))} = {count} bytes of data"
    if not 0 < count <= _MAX_BYTES:
        raise DataError(f"{path} promises {promise}, expected 1 to {_MAX_BYTES}")
    data = torch.empty(shape, dtype=torch.uint8)
    found = file.readinto(data.view(-1).numpy().data)
    if found < count:
        raise DataError(f"{path} promises {promise}, found {found}; it is cut off")
    if file.read(1):
        raise DataError(f"{path} promises {promise}, found more; what follows is not IDX")
    return data
