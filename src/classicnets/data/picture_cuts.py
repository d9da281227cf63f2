"""How pictures of any size become squares: the middle, random crops and flips, AlexNet's ways.

A cut is a pure function of pictures and uniform numbers, so that what a picture becomes depends on
seed, epoch and index alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classicnets.errors import ConfigError
from classicnets.pictures import centre

_SCALE = (0.5, 1.0)  # part of the picture's area that a crop covers
_RATIO = (3 / 4, 4 / 3)  # width over height of a crop
_TRIES = 10  # for a crop of random area and ratio that lies inside the picture

# lambda_i and, a column each, p_i of RGB values in 0..1 on ImageNet, as published with
# fb.resnet.torch and used since; the paper prints none.
_PCA_VALUES = (0.2175, 0.0188, 0.0045)
_PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
_PCA_DEVIATION = 0.1  # of alpha_i


class Cut(Protocol):
    """What a loader asks of a cut."""

    @property
    def name(self) -> str:
        """What checkpoints call it; empty where nothing is random."""

    @property
    def draws(self) -> int:
        """Uniform random numbers wanted per picture and epoch."""

    def __call__(self, pictures: Sequence[Tensor], draws: Tensor) -> Tensor:
        """Pictures uint8 (height, width, 3), draws (N, d) -> (N, 3, size, size) in 0..255."""


@dataclass(frozen=True)
class CentreCut:
    """The middle square, as torchvision's `CenterCrop` takes it: how pictures are evaluated."""

    size: int
    name = ""
    draws = 0

    def __call__(self, pictures: Sequence[Tensor], draws: Tensor) -> Tensor:
        """Cut each picture; the draws are not looked at."""
        size = self.size
        squares = _squares(len(pictures), size)
        for square, picture in zip(squares, pictures, strict=True):
            top, left = (centre(length, size) for length in picture.shape[:2])
            square[:] = _planes(picture[top : top + size, left : left + size])
        return torch.from_numpy(squares)


@dataclass(frozen=True)
class CropFlip:
    """Random resized crops of half the area or more, mirrored half the time.

    The crops are distributed as those of torchvision's `RandomResizedCrop(size, (0.5, 1))`, and
    resized by torchvision, with antialiasing.
    """

    size: int
    name = "crop-flip"
    draws = 2 * _TRIES + 3

    def __call__(self, pictures: Sequence[Tensor], draws: Tensor) -> Tensor:
        """Cut each picture by its draws."""
        from torchvision.transforms.v2.functional import resize_image

        sizes = np.array([picture.shape[:2] for picture in pictures]).reshape(-1, 2)
        numbers = draws.double().numpy()
        boxes = _crop_boxes(sizes, numbers[:, :-1]).tolist()
        squares = _squares(len(pictures), self.size)
        for row, (top, left, height, width) in enumerate(boxes):
            crop = pictures[row].numpy()[top : top + height, left : left + width]
            pixels = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)
            resized = resize_image(pixels, [self.size, self.size], antialias=True).numpy()
            squares[row] = resized[..., ::-1] if numbers[row, -1] < 0.5 else resized
        return torch.from_numpy(squares)


@dataclass(frozen=True)
class AlexNet2012Cut:
    """Random crops of the central square of 256, mirrored half the time, their colours shifted.

    Paper: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
    NIPS 2012, sec. 2 and 4.1. The crops are not resized; of 224 pixels there are 33x33, where the
    paper's 2,048 pictures mean 32x32 and both mirrorings. To each pixel is added
    [p1 p2 p3][a1 l1, a2 l2, a3 l3]^T, a_i normal with deviation 0.1, drawn once per picture.

    Args:
        size: of the crops: 224, or 227.
        side: of the square they are taken from.
    """

    size: int
    side: int = 256
    name = "alexnet2012"
    draws = 6

    def __call__(self, pictures: Sequence[Tensor], draws: Tensor) -> Tensor:
        """Cut each picture by its draws; float32, since colours leave the whole numbers."""
        numbers = draws.double().numpy()
        squares = CentreCut(self.side)(pictures, draws).numpy()
        corners = (numbers[:, :2] * (self.side - self.size + 1)).astype(int).tolist()
        crops = _squares(len(pictures), self.size, np.float32)
        for row, (top, left) in enumerate(corners):
            crop = squares[row, :, top : top + self.size, left : left + self.size]
            crops[row] = crop[..., ::-1] if numbers[row, 2] < 0.5 else crop
        normal = torch.special.ndtri(draws[:, 3:].double() + 2.0**-25)
        colours = normal.numpy() * _PCA_DEVIATION * _PCA_VALUES @ np.array(_PCA_VECTORS).T
        crops += (255 * colours).astype(np.float32)[:, :, None, None]
        return torch.from_numpy(crops)


def make_cut(augment: str | None, image_size: int, side: int) -> Cut:
    """The cut of a training part by its name; None gives the middle."""
    cuts: dict[str | None, Cut] = {
        None: CentreCut(image_size),
        "crop-flip": CropFlip(image_size),
        "alexnet2012": AlexNet2012Cut(image_size, side),
    }
    if not isinstance(augment, str | None) or augment not in cuts:
        raise ConfigError(
            f"augment is {augment!r}; it is None or one of {', '.join(filter(None, cuts))}"
        )
    return cuts[augment]


def ten_crops(images: Tensor, size: int) -> Tensor:
    """The four corners and the middle of pictures, and their mirror images.

    Shape:
        (N, C, H, W) -> (N, 10, C, size, size).

    Example:
        >>> ten_crops(torch.zeros(2, 3, 256, 256), 224).shape
        torch.Size([2, 10, 3, 224, 224])
    """
    height, width = images.shape[-2:]
    if size > min(height, width):
        raise ConfigError(f"size is {size}; the pictures are {height}x{width}, give at most that")
    bottom, right = height - size, width - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    corners.append((centre(height, size), centre(width, size)))
    crops = [images[..., top : top + size, left : left + size] for top, left in corners]
    return torch.stack([*crops, *(crop.flip(-1) for crop in crops)], dim=1)


class TenCrop(nn.Module):
    """A net that looks at ten crops of each picture, as AlexNet was evaluated in 2012.

    Its output is the logarithm of the mean of the ten softmax outputs (NIPS 2012, sec. 4.1), so
    that `evaluate` and `predict` take it like any net. Give it the middle 256 of pictures for crops
    of 224: `image_folder(root, image_size=256, resize=256)`.

    Args:
        model: the net.
        size: of the crops; None for the net's own `input_shape`.

    Shape:
        (N, C, H, W) -> (N, num_classes).

    Raises:
        ConfigError: the net does not say its size, and no size is given; pictures smaller than it.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 2))
        >>> TenCrop(net, size=28)(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 2])
    """

    def __init__(self, model: nn.Module, size: int | None = None) -> None:
        super().__init__()
        size = getattr(model, "input_shape", (None,))[-1] if size is None else size
        if size is None:
            raise ConfigError("size is None, and the net has no input_shape; give the crops' size")
        self.model = model
        self.size: int = size

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the mean probabilities."""
        crops = ten_crops(images, self.size)
        outputs: Tensor = self.model(crops.flatten(0, 1))
        logs = outputs.log_softmax(1).view(*crops.shape[:2], -1)
        return logs.logsumexp(1) - math.log(crops.shape[1])


def _squares(count: int, size: int, kind: type = np.uint8) -> NDArray[Any]:
    return np.empty((count, 3, size, size), kind)


def _planes(pixels: Tensor) -> NDArray[np.uint8]:
    planes: NDArray[np.uint8] = pixels.numpy().transpose(2, 0, 1)
    return planes


def _crop_boxes(sizes: NDArray[Any], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Top, left, height and width of a random crop of each picture.

    The first of ten tries that lies inside the picture; where none does, the largest crop in the
    middle whose ratio is allowed.
    """
    heights, widths = sizes[:, 0, None], sizes[:, 1, None]
    low, high = np.log(_RATIO)
    areas = heights * widths * (_SCALE[0] + (_SCALE[1] - _SCALE[0]) * draws[:, :_TRIES])
    ratios = np.exp(low + (high - low) * draws[:, _TRIES : 2 * _TRIES])
    crop_widths = np.rint(np.sqrt(areas * ratios))
    crop_heights = np.rint(np.sqrt(areas / ratios))
    inside = (crop_widths <= widths) & (crop_heights <= heights)
    tries = inside.argmax(1)[:, None]
    found = inside.any(1, keepdims=True)
    wide, tall = np.rint(heights * _RATIO[1]), np.rint(widths / _RATIO[0])
    width = np.where(found, np.take_along_axis(crop_widths, tries, 1), np.minimum(widths, wide))
    height = np.where(found, np.take_along_axis(crop_heights, tries, 1), np.minimum(heights, tall))
    top = np.where(found, draws[:, [-2]] * (heights - height + 1), (heights - height) // 2)
    left = np.where(found, draws[:, [-1]] * (widths - width + 1), (widths - width) // 2)
    boxes: NDArray[np.int64] = np.floor(np.hstack([top, left, height, width])).astype(np.int64)
    return boxes
