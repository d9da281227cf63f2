"""How a picture becomes the input of a net: one record for whole data sets and for single pictures.

The same record prepares the uint8 pictures of a data set once, normalises its batches, turns one
picture of a user into the very tensor the data set would have given, and goes to JSON with a run.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from classicnets.errors import ConfigError, DataError
from classicnets.pictures import as_pixels, centre, read_picture, read_pixels, resize_shorter_side

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Preparation"]

_CHUNK = 4096  # pictures resampled at once, to bound the memory of their float64 copies


@dataclass(frozen=True)
class Preparation:
    """The way from a picture to the input of a net: size, steps, normalisation.

    A picture is brought to `source_size`, the size at which the data set has its pictures; `steps`
    then change its size, still in uint8; last come p / 255 and (p - mean) / std. The background of
    all pictures is 0. Pixels do not depend on the batch they are computed in: resampling is exact
    integer arithmetic, rounded once.

    Args:
        source_size: height and width of the data set's own pictures, in pixels.
        channels: 1 (grey) or 3 (RGB).
        steps: pairs of a name and the size after the step: ("pad", 32) puts background around the
            picture, ("area", 16) gives each pixel the mean of the area it covers, ("bilinear", 32)
            interpolates between the nearest four.
        mean: subtracted from pictures scaled to 0..1, one value or one per channel.
        std: divides them, likewise; above 0.
        shorter_side: None where a single picture is resized to `source_size`, each side by itself;
            otherwise its shorter side is brought to so many pixels and its centre is cut out.

    Shape:
        `uint8` (N, C, source_size, source_size) -> (N, C, image_size, image_size), both uint8;
        `normalize` keeps the shape and gives float32; a call gives (1, C, image_size, image_size).

    Raises:
        ConfigError: a field that cannot work.

    Example:
        >>> lenet5 = Preparation(28, steps=(("pad", 32),), mean=(0.1307,), std=(0.3081,))
        >>> lenet5.uint8(torch.zeros(5, 1, 28, 28, dtype=torch.uint8)).shape
        torch.Size([5, 1, 32, 32])
        >>> Preparation.from_dict(lenet5.to_dict()) == lenet5
        True
    """

    source_size: int
    channels: int = 1
    steps: tuple[tuple[str, int], ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ConfigError(f"channels is {self.channels!r}; a picture has 1 (grey) or 3 (RGB)")
        size = _check_size("source_size", self.source_size)
        for name, after in self.steps:
            if name not in _STEPS:
                raise ConfigError(f"steps has {name!r}; the steps are {', '.join(_STEPS)}")
            before, size = size, _check_size(f"the size after step {name!r}", after)
            if name == "pad" and size < before:
                raise ConfigError(f"step 'pad' is to {size}, below the {before} it starts from")
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels) or not all(map(math.isfinite, values)):
                raise ConfigError(
                    f"{field} is {values}; give 1 or {self.channels} finite numbers, "
                    "one for all channels or one each"
                )
        if min(self.std) <= 0:
            raise ConfigError(f"std is {self.std}; it divides the picture and must be above 0")
        side = self.shorter_side
        if side is not None and _check_size("shorter_side", side) < self.source_size:
            raise ConfigError(
                f"shorter_side is {side}; {self.source_size} pixels (source_size) are cut out of "
                "it, so give at least that"
            )

    @property
    def image_size(self) -> int:
        """Height and width after the last step."""
        return self.steps[-1][1] if self.steps else self.source_size

    def uint8(self, images: Tensor) -> Tensor:
        """The data set's own pictures at the size of the net, still uint8; computed on the CPU."""
        expected = (self.channels, self.source_size, self.source_size)
        if images.dtype != torch.uint8 or images.dim() != 4 or tuple(images.shape[1:]) != expected:
            raise DataError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; "
                f"this preparation takes torch.uint8 of shape (N, {', '.join(map(str, expected))})"
            )
        for name, size in self.steps:
            images = _STEPS[name](images, size)
        return images

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What pixels 0..255 are multiplied by, then what is added; float32 (1 or C, 1, 1)."""
        mean = torch.tensor(self.mean, dtype=torch.float64).view(-1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float64).view(-1, 1, 1)
        return (1 / (255 * std)).float(), (-mean / std).float()

    def normalizer(self, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
        """A function that normalises batches on `device`, its constants at hand."""
        scale, shift = (constant.to(device) for constant in self.scale_and_shift())

        def normalize(images: Tensor) -> Tensor:
            return images.to(torch.float32, copy=True).mul_(scale).add_(shift)

        return normalize

    def normalize(self, images: Tensor) -> Tensor:
        """Pixels 0..255 (N, C, H, W) as float32, scaled, less the mean, over the deviation."""
        return self.normalizer(images.device)(images)

    def __call__(self, picture: "Image.Image | str | os.PathLike[str]") -> Tensor:
        """One picture, a PIL image or the path of one, as a batch of one, ready for the net.

        The picture is read by the rules of `read_picture` and resized to the source size, each
        side by itself or, given a `shorter_side`, in its own proportions; bilinear, with
        antialiasing. It is neither inverted nor centred: like the pictures of the data set, a
        digit should be light on dark.

        Raises:
            DataError: as `read_picture` and `resize_shorter_side` do.
        """
        return self.normalize(self.uint8(self._source(picture)))

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {
            "source_size": self.source_size,
            "channels": self.channels,
            "steps": [list(step) for step in self.steps],
            "mean": list(self.mean),
            "std": list(self.std),
            "shorter_side": self.shorter_side,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preparation":
        """The record that `to_dict` came from; ConfigError where fields or types are others."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ConfigError(
                f"a preparation has the fields {', '.join(sorted(names))}; "
                f"received {', '.join(sorted(map(str, values))) or 'none'}"
            )
        try:
            return cls(
                values["source_size"],
                values["channels"],
                tuple((str(name), size) for name, size in values["steps"]),
                tuple(map(float, values["mean"])),
                tuple(map(float, values["std"])),
                values["shorter_side"],
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{dict(values)} is no preparation: {error}") from error

    def _source(self, picture: "Image.Image | str | os.PathLike[str]") -> Tensor:
        """A picture as uint8 (1, C, source_size, source_size)."""
        from PIL import Image

        size = self.source_size
        if self.shorter_side is not None:
            pixels = resize_shorter_side(read_pixels(picture, self.channels), self.shorter_side)
            top, left = (centre(length, size) for length in pixels.shape[:2])
            pixels = pixels[top : top + size, left : left + size]
        else:
            image = read_picture(picture, self.channels)
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            pixels = as_pixels(image)
        return pixels[None].permute(0, 3, 1, 2)


def _check_size(name: str, size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"{name} is {size!r}; it must be a whole number of pixels, at least 1")
    return size


def _pad(images: Tensor, size: int) -> Tensor:
    before = (size - images.shape[-1]) // 2
    after = size - images.shape[-1] - before
    return F.pad(images, (before, after, before, after))


def _area(images: Tensor, size: int) -> Tensor:
    source = images.shape[-1]
    cells = torch.arange(size * source)  # a raster in which both kinds of pixel have whole edges
    overlap = torch.zeros(size, source, dtype=torch.float64)
    overlap.index_put_((cells // source, cells // size), overlap.new_ones(()), accumulate=True)
    return _resample(images, overlap)


def _bilinear(images: Tensor, size: int) -> Tensor:
    source, unit = images.shape[-1], 2 * size  # in units of 1 / (2 size) all positions are whole
    rows = torch.arange(size)
    position = (2 * rows + 1) * source - size
    left, right_weight = position // unit, position % unit
    weights = torch.zeros(size, source, dtype=torch.float64)
    weights[rows, left.clamp(min=0)] += unit - right_weight
    weights[rows, (left + 1).clamp(max=source - 1)] += right_weight
    return _resample(images, weights)


_STEPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "pad": _pad,
    "area": _area,
    "bilinear": _bilinear,
}


def _resample(images: Tensor, weights: Tensor) -> Tensor:
    """W X W^T over the square of W's row sum; whole numbers in float64, so exact in any order."""
    area = weights[0].sum() ** 2
    chunks = [
        (weights @ chunk.double() @ weights.T).div_(area).round_().to(torch.uint8)
        for chunk in torch.split(images.cpu(), _CHUNK)
    ]
    return torch.cat(chunks)
