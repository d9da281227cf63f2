"""The distortions of 1998, which made 540,000 more digits of MNIST's 60,000."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import centres, check_ranges


@dataclass(frozen=True)
class Distortions:
    """Shift, scale, squeeze and shear each picture at random, filled with background.

    For whoever repeats LeNet-5's 0.8 %; `Affine`, which also rotates, is what one uses today. All
    is drawn uniformly and applied at once, about the centre, by bilinear interpolation. The paper
    added 540,000 distorted pictures to its 60,000: of ten, one is left as it is, here by chance.

    Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11) 1998, section III.B, which names the four and gives no range.
    The defaults are ours, chosen by validation: one pixel of 32, a twentieth, a twentieth, and an
    italic of 6 degrees.

    Args:
        shift: largest shift along each axis, as a fraction of the picture; at most 1.
        scale: largest change of size, a fraction: 0.1 draws from 0.9 to 1.1; below 1.
        squeeze: largest change of shape, a fraction: 0.1 draws a factor of the width from 0.9 to
            1.1, by which the height is divided; below 1.
        shear: largest horizontal shift per height, either way; at most 10.
        originals: the part of the pictures that are left as they are, 0..1.

    Shape:
        images (N, C, H, W), pixels 0..255 with background 0, and draws (N, 6) in [0, 1); gives
        float32 (N, C, H, W), 0..255.

    Raises:
        ConfigError: a range below 0 or above what it can be.

    Example:
        >>> images = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
        >>> images = Distortions()(images, torch.full((2, 6), 0.5))  # the middle of each range
        >>> images.round().unique()
        tensor([255.])
    """

    shift: float = 0.03125
    scale: float = 0.05
    squeeze: float = 0.05
    shear: float = 0.1
    originals: float = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, shift=1, scale=0.99, squeeze=0.99, shear=10, originals=1)

    @property
    def name(self) -> str:
        """What checkpoints call it, with the ranges."""
        return repr(self)

    @property
    def draws(self) -> int:
        """Numbers wanted per picture, for two shifts, scale, squeeze, shear, and whether at all."""
        return 6

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change each picture as its row of draws says."""
        draws, chance = torch.split(draws, [5, 1], 1)
        ranges = (2 * draws - 1) * (chance >= self.originals)  # 0 is the middle of each
        right, down, scale, squeeze, shear = ranges.unsqueeze(2).unbind(1)  # (N, 1) each
        scale, squeeze = 1 + scale * self.scale, 1 + squeeze * self.squeeze
        height, width = images.shape[-2:]
        # where a new pixel comes from, on axes from -1 to 1
        x = (centres(width, images.device) - 2 * self.shift * right) / (scale * squeeze)  # (N, W)
        y = (centres(height, images.device) - 2 * self.shift * down) * squeeze / scale  # (N, H)
        from_x = x.unsqueeze(1) + (shear * self.shear * y).unsqueeze(2)  # (N, H, W)
        grid = torch.stack((from_x, y.unsqueeze(2).expand_as(from_x)), 3)
        return F.grid_sample(images.float(), grid, align_corners=False)
