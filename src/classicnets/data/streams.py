"""Random numbers that are a pure function of their key, on every machine and in every version.

The bits come from numpy's PCG64 seeded through SeedSequence, whose streams numpy promises never to
change (NEP 19); what shuffles and scales them stands here. `torch.randperm` and numpy's
`Generator.permutation` carry no such promise, and a split that moved with an upgrade would put
validation pictures into the training set.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def permutation(count: int, seed: int, epoch: int, stream: str) -> Tensor:
    """A random order of range(count), int64 (count,), for fewer than 2**32 elements.

    Each index is put under random high bits, and the sum is sorted.
    """
    mask = np.uint64((1 << count.bit_length()) - 1)
    keys = _bits(count, seed, epoch, stream) & ~mask | np.arange(count, dtype=np.uint64)
    keys.sort()
    return torch.from_numpy((keys & mask).astype(np.int64))


def uniform(rows: int, columns: int, seed: int, epoch: int, stream: str) -> Tensor:
    """A table of uniform numbers in [0, 1), float32 (rows, columns), multiples of 2**-24."""
    bits = _bits(rows * columns, seed, epoch, stream) >> np.uint64(40)
    return torch.from_numpy(bits.astype(np.float32)).mul_(2.0**-24).view(rows, columns)


def _bits(count: int, seed: int, epoch: int, stream: str) -> NDArray[np.uint64]:
    key = np.random.SeedSequence([seed, epoch, int.from_bytes(stream.encode())])
    return np.random.PCG64(key).random_raw(count)
