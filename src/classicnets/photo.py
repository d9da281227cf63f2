"""One handwritten digit found in a photograph or scan, and made what MNIST's digits are.

The nets of MNIST know light ink on a background of 0, in a box of 20x20 whose centre of mass lies
in the middle of 28x28 (LeCun et al. 1998, Sec. III.A, after NIST's own programs). A photograph has
uneven paper, dark ink, a table around it, and the digit anywhere. Here the one becomes the other,
and what was seen is told.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from .pictures import read_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DigitPhoto", "digit_photo", "draw_photos"]

_SIZE, _DIGIT, _CENTRE = 28, 20, 14  # MNIST's field, box and centre of mass, in pixels
_WORK_SIZE = 800  # longer side of the picture that is searched
_EDGE = 4.0  # levels of 255 a pixel that light on paper changes by, at most
_LEAST_CONTRAST = 12  # levels of 255 that ink differs from paper, at least
_STROKE = 2.0  # of 20 pixels: 1 % of MNIST's digits are written more thinly than that

Grey = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DigitPhoto:
    """A digit as MNIST has them, and what was seen in the picture it came from.

    Attributes:
        picture: 28x28, grey, light ink on 0; `Preparation` and `predict` take it.
        box: left, top, right and bottom of the digit in the upright original; None without ink.
        inverted: whether the ink was darker than its background.
        background: level of the paper around the digit, 0 to 255.
        notes: what was seen and done, a phrase each.
        warnings: what speaks against trusting the answer, a phrase each.
    """

    picture: Image.Image
    box: tuple[int, int, int, int] | None
    inverted: bool
    background: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Blob:
    """Ink that hangs together: its labels, its box, its contrast in all, if it stands free."""

    numbers: frozenset[int]
    left: int
    top: int
    right: int
    bottom: int
    mass: float = 0.0
    free: bool = False

    def __lt__(self, other: "_Blob") -> bool:
        return (self.free, self.mass) < (other.free, other.mass)

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def joined(self, other: "_Blob") -> "_Blob":
        return _Blob(
            self.numbers | other.numbers,
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.mass + other.mass,
            self.free,
        )

    def encloses(self, other: "_Blob") -> bool:
        return (
            self.left < other.left
            and self.top < other.top
            and self.right > other.right
            and self.bottom > other.bottom
        )

    def gap(self, other: "_Blob") -> int:
        """Pixels between the boxes along the axis where they are further apart."""
        across = max(self.left, other.left) - min(self.right, other.right)
        return max(across, max(self.top, other.top) - min(self.bottom, other.bottom), 0)


def digit_photo(picture: "Image.Image | str | os.PathLike[str]") -> DigitPhoto:
    """Find the digit in a picture and give it MNIST's polarity, size and place.

    A smooth surface is laid through the paper; what differs from it is ink, darker or lighter,
    whichever makes the larger blob that stands free. What touches the edge or surrounds another
    blob is a frame. The largest blob left, with the pieces next to it, is scaled into 20x20 in its
    own proportions, with antialiasing, strokes much thinner than any of MNIST's thickened before;
    its centre of mass goes to the middle of 28x28. A picture that has MNIST's form is left as it
    is.

    Args:
        picture: a PIL image or a path, read by the rules of `read_picture`.

    Raises:
        DataError: as `read_picture` does.

    Example:
        >>> page = Image.new("L", (100, 80), 230)
        >>> page.paste(40, (60, 20, 68, 60))  # a one, dark on light
        >>> found = digit_photo(page)
        >>> found.box, found.inverted, found.background, found.picture.getpixel((14, 14))
        ((60, 20, 68, 60), True, 230, 255)
    """
    original = read_picture(picture, channels=1)
    if _has_form_of_mnist(np.asarray(original, dtype=np.float64)):
        return DigitPhoto(original, original.getbbox(), False, 0, ("taken as it is",))
    image = original.copy()
    image.thumbnail((_WORK_SIZE, _WORK_SIZE), Image.Resampling.BOX)
    levels = np.asarray(image, dtype=np.float64)
    sheet, paper, noise = _paper(levels)
    threshold = max(_LEAST_CONTRAST, 4 * noise)
    dark, light = (
        _ink(contrast, threshold, sheet) for contrast in (paper - levels, levels - paper)
    )
    inverted = dark[0][:1] > light[0][:1]
    blobs, labels = dark if inverted else light
    if not blobs:
        blank = Image.new("L", (_SIZE, _SIZE))
        level = round(float(np.median(paper)))
        return DigitPhoto(blank, None, False, level, warnings=("no ink found",))
    digit, others = _digit(blobs)
    rows, columns = slice(digit.top, digit.bottom), slice(digit.left, digit.right)
    contrast = (paper - levels if inverted else levels - paper)[rows, columns]
    own = np.isin(labels[rows, columns], list(digit.numbers))
    full = float(np.percentile(contrast[own], 90))
    near = ndimage.binary_dilation(own, iterations=1 + digit.height // 60)
    floor = min(2 * noise, full / 2)
    ink = np.where(near, (contrast - floor) / (full - floor), 0).clip(0, 1)

    prepared, thickened = _fit(ink, own)
    x_scale, y_scale = original.width / image.width, original.height / image.height
    box = (
        round(digit.left * x_scale),
        round(digit.top * y_scale),
        round(digit.right * x_scale),
        round(digit.bottom * y_scale),
    )
    level = round(float(np.median(paper[rows, columns])))
    kind = "dark on light, inverted" if inverted else "light on dark"
    notes = [f"{kind} (background {level})", "digit at {}, {} to {}, {}".format(*box)]
    if thickened:
        notes.append("thin strokes thickened")
    found = DigitPhoto(prepared, box, inverted, level, tuple(notes))
    return replace(found, warnings=tuple(_warnings(digit, others, levels.shape, full, threshold)))


def draw_photos(
    answers: Sequence[tuple["Image.Image | str | os.PathLike[str]", DigitPhoto, str]],
) -> "Figure":
    """Draw pictures, a row each: the original with the digit's box, and what the net was given.

    Args:
        answers: for each picture the original, what `digit_photo` made of it, and the answer.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(4, 2 * len(answers)), dpi=200, layout="constrained")
    axes: Any = figure.subplots(len(answers), 2, squeeze=False)
    for (left, right), (picture, photo, answer) in zip(axes, answers, strict=True):
        original = read_picture(picture)
        width, height = original.size
        original.thumbnail((_WORK_SIZE, _WORK_SIZE))
        left.imshow(original, extent=(0, width, height, 0))
        if photo.box is not None:
            x, y, x_end, y_end = photo.box
            frame = Rectangle((x, y), x_end - x, y_end - y, fill=False, edgecolor="#D55E00")
            left.add_patch(frame)
        right.imshow(photo.picture, cmap="gray", vmin=0, vmax=255)
        right.set_title(answer, fontsize=10)
        left.set_axis_off()
        right.set_axis_off()
    return figure


def _has_form_of_mnist(levels: Grey) -> bool:
    """Whether it is 28x28, mostly 0, with no side of its edge inked, centred by mass."""
    if levels.shape != (_SIZE, _SIZE) or np.median(levels) != 0 or levels.max() < 128:
        return False
    edges = (levels[0], levels[-1], levels[:, 0], levels[:, -1])
    return all((edge > 0).mean() < 0.5 for edge in edges) and all(
        abs(middle - _CENTRE) <= 1 for middle in ndimage.center_of_mass(levels)
    )


def _paper(levels: Grey) -> tuple[Mask, Grey, float]:
    """Where the paper is, its level at each pixel as if all were paper, and the noise on it.

    Paper is a region without an edge in it; a quadratic in both coordinates is fitted to its
    pixels, and again without those that lie far from the first.
    """
    steps = np.abs(np.diff(levels)).ravel()  # of neighbours: light that is uneven adds little
    noise = 1.4826 * float(np.median(steps)) / 2**0.5 if steps.size else 0.0
    paper = _sheet(levels, max(_EDGE, noise))
    height, width = levels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    surface = np.full_like(levels, np.median(levels[paper]))
    fitted = paper
    for _ in range(4):
        weights = np.linalg.lstsq(terms[fitted], levels[fitted], rcond=None)[0]
        surface = terms @ weights
        distance = np.abs(levels - surface)
        fitted = paper & (distance <= max(2 * noise, 2 * np.median(distance[paper])))
    return paper & (distance <= max(_LEAST_CONTRAST, 4 * noise)), surface, noise


def _sheet(levels: Grey, edge: float) -> Mask:
    """The largest region without an edge, or one within it that fills a fifth of the picture."""
    slope = ndimage.gaussian_gradient_magnitude(levels, 1.0, mode="nearest")
    regions, count = ndimage.label(slope < edge)
    if not count:
        return np.ones_like(levels, dtype=np.bool_)
    sizes = np.bincount(regions.ravel())
    largest, *smaller = (1 + np.argsort(-sizes[1:], kind="stable"))[:2]
    table: Mask = regions == largest
    if smaller and sizes[smaller[0]] >= 0.2 * levels.size:
        sheet: Mask = regions == smaller[0]
        if ndimage.binary_fill_holes(table)[sheet].all():
            return sheet
    return table


def _ink(contrast: Grey, threshold: float, sheet: Mask) -> tuple[list[_Blob], NDArray[np.int32]]:
    """The blobs of ink, and the label of each pixel; shadows that touch the ink are left out."""
    blobs, labels = _blobs(contrast, threshold, sheet)
    if not blobs:
        return blobs, labels
    full = np.percentile(contrast[np.isin(labels, list(blobs[0].numbers))], 95)
    return _blobs(contrast, max(threshold, 0.3 * float(full)), sheet)


def _blobs(contrast: Grey, threshold: float, sheet: Mask) -> tuple[list[_Blob], NDArray[np.int32]]:
    """What stands out of the paper and is no frame, the heaviest first; the label of each pixel."""
    labels, count = ndimage.label(contrast > threshold, structure=np.ones((3, 3)))
    masses = ndimage.sum_labels(contrast, labels, range(1, count + 1))
    tall = max(4, 0.025 * len(contrast))  # anything smaller is dirt
    (edge,) = _boxes(sheet.astype(np.int8))
    blobs = [
        replace(box, mass=float(mass), free=edge.encloses(box))
        for box, mass in zip(_boxes(labels), masses, strict=True)
        if max(box.height, box.right - box.left) >= tall
    ]
    blobs = [
        blob
        for blob in blobs
        if not any(blob.encloses(other) and other.height >= 0.3 * blob.height for other in blobs)
    ]
    if any(blob.free and blob.height >= tall for blob in blobs):
        blobs = [blob for blob in blobs if blob.free]  # else the digit itself touches the edge
    blobs.sort(key=lambda blob: (blob.height < tall, -blob.mass))
    return blobs if blobs and blobs[0].height >= tall else [], labels


def _boxes(labels: NDArray[np.signedinteger[Any]]) -> list[_Blob]:
    return [
        _Blob(frozenset({number}), x.start, y.start, x.stop, y.stop)
        for number, (y, x) in enumerate(ndimage.find_objects(labels), start=1)
    ]


def _digit(blobs: Sequence[_Blob]) -> tuple[_Blob, list[_Blob]]:
    """The heaviest blob with the pieces that belong to it, and the blobs that could be digits."""
    digit, *rest = blobs
    others = []
    for blob in rest:
        piece = blob.height < 0.5 * digit.height
        if piece and blob.mass < 0.01 * digit.mass:
            continue
        if digit.gap(blob) <= (0.2 if piece else 0.0) * digit.height:
            digit = digit.joined(blob)
        elif not piece:
            others.append(blob)
    return digit, others


def _fit(ink: Grey, own: Mask) -> tuple[Image.Image, bool]:
    """Ink of 0..1 as MNIST's picture, and whether its strokes had to be thickened."""
    edge = own & ~ndimage.binary_erosion(own)
    scale = _DIGIT / max(ink.shape)
    missing = (_STROKE - 2 * own.sum() / edge.sum() * scale) / scale  # in pixels of the ink
    image = Image.fromarray((255 * ink).round().astype(np.uint8))
    thickened = missing >= 2
    if thickened:
        image = image.filter(ImageFilter.MaxFilter(2 * int(missing / 2) + 1))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
    pixels *= 255 / pixels.max()
    field = np.zeros((_SIZE, _SIZE), dtype=np.uint8)
    places = []
    for middle, length in zip(ndimage.center_of_mass(pixels), pixels.shape, strict=True):
        start = min(max(0, round(_CENTRE - middle)), _SIZE - length)
        places.append(slice(start, start + length))
    field[tuple(places)] = pixels.round()
    return Image.fromarray(field), thickened


def _warnings(
    digit: _Blob, others: Sequence[_Blob], shape: tuple[int, ...], full: float, threshold: float
) -> Iterator[str]:
    if others:
        yield f"{len(others) + 1} blobs could be digits; the heaviest was taken"
    height, width = shape
    if digit.left == 0 or digit.top == 0 or digit.right == width or digit.bottom == height:
        yield "the digit touches the edge of the picture"
    if digit.height < _DIGIT / 2:
        yield f"the digit is only {digit.height} pixels high"
    if full < 2 * threshold:
        yield "the ink is faint"
