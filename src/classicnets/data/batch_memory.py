"""Memory for batches, used again as soon as nobody holds the batch that lay in it."""

import weakref

import numpy as np
from numpy.typing import NDArray


class BatchMemory:
    """Gives float32 arrays that threads may fill and hand on as tensors.

    A batch of pictures takes some 20 MB, which the system would map and fill with zeros anew each
    time. An array's memory comes back when the array itself is gone, and `torch.from_numpy` holds
    it for as long as a tensor, a view or a graph holds that memory.

    Args:
        shape: of the largest array, (batch_size, ...).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._free: list[NDArray[np.float32]] = []

    def take(self, count: int) -> NDArray[np.float32]:
        """An array of shape (count, ...), its values whatever they are."""
        try:
            whole = self._free.pop()
        except IndexError:
            whole = np.empty(self._shape, np.float32)
        part = whole[:count]
        weakref.finalize(part, self._free.append, whole).atexit = False
        return part
