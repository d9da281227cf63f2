"""Random changes to training pictures, each a pure function of the pictures and their draws.

The loader gives every picture its own uniform numbers, a function of (seed, epoch, index), so that
a picture's change depends neither on its batch nor on the order.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from classicnets.errors import ConfigError

from .loader import Augmentation


@dataclass(frozen=True)
class Affine:
    """Rotate, scale, shear and shift each picture at random, filled with background.

    All is drawn uniformly and applied at once, about the centre, by bilinear interpolation. The
    angle is drawn through the tangent of its half, for then rational arithmetic gives the same
    bits in any batch; up to 30 degrees its density is even within 7 %.

    Args:
        rotation: largest angle either way, in degrees, 0 to 90.
        scale: largest change of size, a fraction: 0.1 draws from 0.9 to 1.1; below 1.
        shear: largest horizontal shift per height, either way.
        shift: largest shift along each axis, as a fraction of the picture.

    Shape:
        images (N, C, H, W), pixels 0..255 with background 0, and draws (N, 5) in [0, 1); gives
        float32 (N, C, H, W), 0..255.

    Raises:
        ConfigError: a range below 0 or above what it can be.

    Example:
        >>> images = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
        >>> images = Affine()(images, torch.full((2, 5), 0.5))  # the middle of each range
        >>> images.round().unique()
        tensor([255.])
    """

    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 0.0625

    def __post_init__(self) -> None:
        check_ranges(self, rotation=90, scale=0.99, shear=10, shift=1)

    @property
    def name(self) -> str:
        """What checkpoints call it, with the ranges where they are not the default."""
        return "affine" if self == Affine() else repr(self)

    @property
    def draws(self) -> int:
        """Numbers wanted per picture, for rotation, scale, shear and two shifts."""
        return 5

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change each picture as its row of draws says."""
        half, scale, shear, right, down = (2 * draws - 1).unsqueeze(2).unbind(1)  # (N, 1) each
        half = half * math.tan(math.radians(self.rotation) / 2)
        scale = (1 + half.square()) * (1 + scale * self.scale)
        cos, sin = (1 - half.square()) / scale, 2 * half / scale
        shear = shear * self.shear
        height, width = images.shape[-2:]
        x = centres(width, images.device) - 2 * self.shift * right  # (N, W); the picture is 2 wide
        y = centres(height, images.device) - 2 * self.shift * down  # (N, H)
        # where a new pixel comes from: turned and scaled back, then sheared
        from_x = torch.stack((cos + shear * sin, sin), 1) * x.unsqueeze(1)  # (N, 2, W)
        from_y = torch.stack((shear * cos - sin, cos), 1) * y.unsqueeze(1)  # (N, 2, H)
        grid = from_x.unsqueeze(2) + from_y.unsqueeze(3)  # (N, 2, H, W)
        return F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), align_corners=False)


_BY_NAME = {"affine": Affine}


def find_augmentation(augment: str | Augmentation | None) -> Augmentation | None:
    """The augmentation of a name; an augmentation itself, or None, is given back as it is.

    Raises:
        ConfigError: a name that is not known, or an object that is no augmentation.
    """
    if augment is None:
        return None
    if isinstance(augment, str):
        if augment not in _BY_NAME:
            raise ConfigError(f"augment is {augment!r}; the names are {', '.join(_BY_NAME)}")
        return _BY_NAME[augment]()
    if not callable(augment) or not hasattr(augment, "draws") or not hasattr(augment, "name"):
        raise ConfigError(
            f"augment is {augment!r}; give a name ({', '.join(_BY_NAME)}), None, or an object "
            "with `name`, `draws` and `__call__(images, draws)`"
        )
    return augment


def check_ranges(augment: object, **limits: float) -> None:
    """Raise a ConfigError unless each field named lies between 0 and its limit."""
    for field, limit in limits.items():
        value = getattr(augment, field)
        if not 0 <= value <= limit:
            raise ConfigError(f"{field} is {value!r}; it must be a number from 0 to {limit}")


def centres(size: int, device: torch.device) -> Tensor:
    """The centres of a row of pixels on an axis from -1 to 1."""
    return (2 * torch.arange(size, device=device) + 1 - size) / size
