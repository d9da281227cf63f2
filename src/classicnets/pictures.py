"""Pictures of users: what of their files is read, and how it becomes pixels."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from classicnets.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "as_pixels",
    "centre",
    "is_moving",
    "picture_size",
    "read_picture",
    "read_pixels",
    "resize_shorter_side",
]

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_MOVING = ("GIF", "PNG", "WEBP")  # an MPO's further pictures are other views of the first
_FIRST_FRAME = "a picture moves, and its first frame alone is taken; doctor names all that do"
_MAX_PIXELS = 50_000_000  # of one picture, read off its header before decoding
_MAX_ELONGATION = 20  # longer side over shorter, where the shorter is brought to a size
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation -> Pillow's Transpose


def picture_size(path: "str | os.PathLike[str]") -> tuple[int, int]:
    """Width and height from the header of a picture's file, nothing of it decoded.

    Raises:
        DataError: what the header shows to be unusable, of all that `read_picture` and
            `resize_shorter_side` refuse.
    """
    with _opened(path) as image:
        _check_elongation(image.width, image.height)
        return image.width, image.height


def read_picture(
    picture: "Image.Image | str | os.PathLike[str]", channels: int = 3
) -> "Image.Image":
    """A picture, upright, as 8-bit grey (1 channel) or RGB (3).

    Of a moving picture the first frame is taken, which a warning tells once. A picture is turned as
    its EXIF tag says (one that cannot be read turns nothing) and laid on white where it is
    transparent. 16-bit grey is divided by 257; CMYK, palettes and all else become RGB as Pillow has
    it, colour profiles unheeded.

    Raises:
        DataError: a file that is missing, no whole picture, of another format than JPEG, PNG, WebP,
            BMP and GIF, or of more than 50 million pixels; a mode without a known range.
    """
    from PIL import Image

    if isinstance(picture, Image.Image):
        return _convert(picture, channels)
    with _opened(picture) as image:
        moves = image.format in _MOVING and is_moving(picture)
        converted = _convert(image, channels)
    if moves:
        warnings.warn(_FIRST_FRAME, UserWarning, stacklevel=1)  # of one place: told once
    return converted


def is_moving(path: "str | os.PathLike[str]") -> bool:
    """Whether a picture's file has frames after the first, whole or not; those are not looked at.

    Raises:
        DataError: as `read_picture` does for what the header shows.
    """
    with _opened(path) as image:
        try:
            return image.format in _MOVING and bool(getattr(image, "is_animated", False))
        except Exception:  # Pillow met damage behind the first frame
            return True


def read_pixels(picture: "Image.Image | str | os.PathLike[str]", channels: int = 3) -> Tensor:
    """A picture by the rules of `read_picture`, as uint8 (height, width, channels)."""
    return as_pixels(read_picture(picture, channels))


def as_pixels(image: "Image.Image") -> Tensor:
    """A PIL image as uint8 (height, width, channels)."""
    import numpy as np

    return torch.from_numpy(np.array(image)).view(image.height, image.width, -1)


def resize_shorter_side(pixels: Tensor, size: int) -> Tensor:
    """A picture uint8 (height, width, C) with its shorter side of `size` pixels.

    The longer side is rounded down; the pixels are those of torchvision's `resize` of tensors,
    bilinear with antialiasing, which differ from Pillow's by a level or two.

    Raises:
        DataError: one side is more than 20 times the other.
    """
    from torchvision.transforms.v2.functional import resize_image

    height, width = pixels.shape[:2]
    _check_elongation(width, height)
    shorter = min(height, width)
    after = [size * height // shorter, size * width // shorter]
    planes: Tensor = resize_image(pixels.permute(2, 0, 1), after, antialias=True)
    return planes.permute(1, 2, 0).contiguous()


def centre(length: int, size: int) -> int:
    """Where the middle `size` pixels of `length` begin, as torchvision's `CenterCrop` rounds it."""
    return round((length - size) / 2)


@contextmanager
def _opened(path: "str | os.PathLike[str]") -> "Iterator[Image.Image]":
    """A picture's file, its header read and found sound; whatever then fails names the file."""
    from PIL import Image, UnidentifiedImageError

    path = os.fspath(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_pixels(image)
            yield image
    except FileNotFoundError as error:
        raise DataError(f"there is no picture {path}; check the path") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # of a damaged file Pillow raises whatever its parser ran into
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "what it holds is of another kind" if unknown else error
        raise DataError(
            f"{path} cannot be read as a picture ({reason}); give a whole file of one of the "
            f"formats {', '.join(_FORMATS)}"
        ) from error


def _check_pixels(image: "Image.Image") -> None:
    if image.width * image.height > _MAX_PIXELS:
        raise DataError(
            f"the picture is {image.width}x{image.height}; up to {_MAX_PIXELS:,} pixels are read"
        )


def _check_elongation(width: int, height: int) -> None:
    if max(width, height) > _MAX_ELONGATION * min(width, height):
        raise DataError(
            f"the picture is {width}x{height}; its longer side may be up to "
            f"{_MAX_ELONGATION} times the shorter"
        )


def _convert(image: "Image.Image", channels: int) -> "Image.Image":
    import numpy as np
    from PIL import Image

    _check_pixels(image)
    image.load()  # here, where damage raises; while looking for a tag it would be swallowed
    image = _upright(image)
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clamps it to white
        values = np.asarray(image, dtype=np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"the picture has mode {image.mode} with values {values.min()} to {values.max()}; "
                "grey goes up to 65535"
            )
        image = Image.fromarray((values / 257).round().astype(np.uint8))
    elif image.mode == "F":
        raise DataError("the picture has mode F, floats of unknown range; save it with 8 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _upright(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # a broken tag turns nothing
        return image
    return image if turn is None else image.transpose(Image.Transpose(turn))
