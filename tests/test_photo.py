"""A digit in a photograph is found, whatever the light, and becomes what MNIST's digits are."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from classicnets import DigitPhoto, create_model, digit_photo, predict
from classicnets.data import read_idx
from classicnets.errors import DataError
from classicnets.photo import draw_photos

Pixels = NDArray[np.uint8]


def page(
    digit: Image.Image,
    *,
    size: tuple[int, int] = (160, 200),
    at: tuple[int, int] = (40, 60),
    paper: int = 210,
    ink: int = 40,
    light: int = 0,
    noise: float = 0.0,
    frame: tuple[int, int] | None = None,
) -> Image.Image:
    """A mask of ink on paper whose light changes by `light` each way, in a frame (width, level)."""
    mask = np.zeros((size[1], size[0]))
    mask[at[1] : at[1] + digit.height, at[0] : at[0] + digit.width] = np.asarray(digit) / 255
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    levels = (paper + light * x + light * y) * (1 - mask) + ink * mask
    levels += np.random.default_rng(0).normal(0, noise, levels.shape)
    if frame is not None:
        levels = np.pad(levels, frame[0], constant_values=frame[1])
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def seven() -> Image.Image:
    """A seven of 60x90, as a mask of ink."""
    mask = Image.new("L", (60, 90))
    ImageDraw.Draw(mask).line([(3, 5), (54, 5), (20, 86)], 255, 9, joint="curve")
    return mask


def pixels(photo: DigitPhoto) -> NDArray[np.int64]:
    return np.asarray(photo.picture).astype(np.int64)


def unlikeness(one: DigitPhoto, other: DigitPhoto) -> float:
    """Mean difference of the pixels, as a part of the mean ink."""
    return float(np.abs(pixels(one) - pixels(other)).mean() / pixels(one).mean())


def test_the_digit_fills_20x20_of_28x28_and_its_mass_is_centred(seven: Image.Image) -> None:
    found = digit_photo(page(seven))
    assert found.picture.size == (28, 28)
    left, top, right, bottom = found.picture.getbbox()
    assert max(right - left, bottom - top) == 20
    levels = pixels(found)
    for axis in (0, 1):
        middle = (levels.sum(1 - axis) * np.arange(28)).sum() / levels.sum()
        assert middle == pytest.approx(14, abs=0.51)
    assert levels.max() == 255
    assert np.median(levels) == 0


def test_proportions_are_kept() -> None:
    wide = digit_photo(page(Image.new("L", (60, 15), 255)))
    left, top, right, bottom = wide.picture.getbbox()
    assert (right - left, bottom - top) == (20, 5)


@pytest.mark.parametrize(
    "how",
    [
        {"at": (90, 20)},
        {"light": 25},
        {"noise": 5.0},
        {"paper": 40, "ink": 220},
        {"paper": 255, "ink": 180},
        {"frame": (12, 30)},
        {"frame": (6, 255)},
        {"frame": (12, 60), "light": 15, "noise": 3.0},
        {"frame": (12, 200), "paper": 40, "ink": 220},
        {"frame": (70, 30)},
        {"size": (1200, 1500), "at": (700, 900)},
    ],
    ids=str,
)
def test_light_polarity_frame_and_place_make_no_difference(how: dict, seven: Image.Image) -> None:
    plain, other = digit_photo(page(seven)), digit_photo(page(seven, **how))
    assert unlikeness(plain, other) < 0.12
    assert other.inverted == (how.get("ink", 40) < how.get("paper", 210))


def test_it_says_where_the_digit_is_and_what_the_paper(seven: Image.Image) -> None:
    found = digit_photo(page(seven, at=(90, 20), frame=(10, 30)))
    expected = [
        edge + shift for edge, shift in zip(seven.getbbox(), (100, 30, 100, 30), strict=True)
    ]
    assert found.box == pytest.approx(expected, abs=1)
    assert found.inverted
    assert found.background == pytest.approx(210, abs=2)
    assert found.notes[0] == f"dark on light, inverted (background {found.background})"
    assert found.notes[1] == "digit at {}, {} to {}, {}".format(*found.box)
    assert found.warnings == ()


def test_the_box_of_a_large_photograph_is_in_its_own_pixels(seven: Image.Image) -> None:
    large = seven.resize((600, 900))
    found = digit_photo(page(large, size=(3000, 2000), at=(1500, 400)))
    left, top, right, bottom = large.getbbox()
    assert found.box == pytest.approx((1500 + left, 400 + top, 1500 + right, 400 + bottom), abs=8)


def test_a_printed_box_around_the_digit_is_no_part_of_it(seven: Image.Image) -> None:
    boxed = page(seven)
    ImageDraw.Draw(boxed).rectangle((20, 30, 140, 175), outline=60, width=3)
    assert unlikeness(digit_photo(page(seven)), digit_photo(boxed)) < 0.05


def test_a_broken_digit_is_kept_whole() -> None:
    mask = Image.new("L", (60, 90))
    draw = ImageDraw.Draw(mask)
    draw.rectangle((20, 5, 50, 13), fill=255)  # the flag of a five, a gap, the rest
    draw.rectangle((10, 20, 50, 85), fill=255)
    found = digit_photo(page(mask))
    assert found.box is not None
    assert found.box[1] == 65
    assert found.warnings == ()


def test_specks_are_no_part_of_the_digit(seven: Image.Image) -> None:
    dirty = page(seven)
    for x, y in ((5, 5), (150, 20), (20, 190), (110, 100)):
        dirty.paste(30, (x, y, x + 2, y + 2))
    assert unlikeness(digit_photo(page(seven)), digit_photo(dirty)) < 0.02


def test_two_digits_are_told_and_the_heavier_is_taken(seven: Image.Image) -> None:
    two = page(seven, size=(300, 200))
    two.paste(40, (200, 60, 215, 150))
    found = digit_photo(two)
    assert found.warnings == ("2 blobs could be digits; the heaviest was taken",)


def test_a_page_without_ink_is_told(seven: Image.Image) -> None:
    for empty in (page(seven, ink=210), page(seven, ink=210, noise=8.0), Image.new("L", (1, 1))):
        found = digit_photo(empty)
        assert found.warnings == ("no ink found",)
        assert found.box is None
        assert found.picture.getbbox() is None


def test_a_digit_at_the_edge_is_taken_and_told(seven: Image.Image) -> None:
    found = digit_photo(page(seven.crop((0, 0, 60, 80)), at=(40, 120)))
    assert found.warnings == ("the digit touches the edge of the picture",)
    assert found.picture.getbbox() is not None


def test_a_tiny_or_faint_digit_is_told(seven: Image.Image) -> None:
    tiny = digit_photo(page(seven.resize((6, 8)), size=(60, 60), at=(20, 20)))
    assert any("only 8 pixels high" in warning for warning in tiny.warnings)
    faint = digit_photo(page(seven, ink=192))
    assert faint.warnings == ("the ink is faint",)


def test_strokes_of_a_fine_pen_are_thickened() -> None:
    fine = Image.new("L", (300, 450))
    ImageDraw.Draw(fine).line([(15, 25), (270, 25), (100, 430)], 255, 6)
    found = digit_photo(page(fine, size=(500, 500), at=(50, 20)))
    assert "thin strokes thickened" in found.notes
    assert (pixels(found) > 200).sum() > 40


def test_a_picture_in_the_form_of_mnist_is_left_as_it_is(seven: Image.Image) -> None:
    ready = digit_photo(page(seven)).picture
    again = digit_photo(ready)
    assert again.picture.tobytes() == ready.tobytes()
    assert again.notes == ("taken as it is",)


def test_a_small_picture_of_another_form_is_made_like_it(seven: Image.Image) -> None:
    corner = Image.new("L", (28, 28))
    corner.paste(seven.resize((8, 12)), (2, 3))
    left, top, right, bottom = digit_photo(corner).picture.getbbox()
    assert max(right - left, bottom - top) == 20


def test_colour_paths_and_turned_photographs_are_read(seven: Image.Image, tmp_path: Path) -> None:
    upright = page(seven).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = digit_photo(tmp_path / "turned.png")
    assert unlikeness(digit_photo(upright), turned) == 0


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(DataError, match=r"page\.png cannot be read as a picture"):
        digit_photo(tmp_path / "page.png")


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (28, 28), (5, 5)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_any_picture_gives_28x28(size: tuple[int, int], seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    assert digit_photo(Image.fromarray(noise)).picture.size == (28, 28)


def test_the_drawing_has_a_row_for_each_picture(seven: Image.Image) -> None:
    original = page(seven)
    figure = draw_photos(
        [(original, digit_photo(original), "7, 99 %"), (seven, digit_photo(seven), "7")]
    )
    assert len(figure.axes) == 4
    assert figure.axes[1].get_title() == "7, 99 %"


def test_every_field_is_documented() -> None:
    text = inspect.getdoc(DigitPhoto) or ""
    for name in DigitPhoto.__dataclass_fields__:
        assert f"    {name}: " in text


def photographed(digit: Pixels, random: np.random.Generator) -> Image.Image:
    """A digit of MNIST as a photograph: any size and place, uneven paper, noise, frame, inverted.

    The digit is 60 to 200 pixels high, the page up to 2.2 times that each way.
    """
    height = int(random.integers(60, 200))
    width = int(height * random.uniform(0.8, 1.25))
    mask = Image.fromarray(digit).resize((width, height), Image.Resampling.BICUBIC)
    size = (int(width * random.uniform(1, 2.2)), int(height * random.uniform(1.3, 2.2)))
    at = (int(random.integers(size[0] - width + 1)), int(random.integers(size[1] - height + 1)))
    frame = (int(random.integers(2, 20)), int(random.integers(256)))
    photo = page(
        mask,
        size=size,
        at=at,
        paper=int(random.integers(150, 230)),
        ink=int(random.integers(10, 70)),
        light=int(random.integers(-25, 26)),
        noise=random.uniform(0, 6),
        frame=frame if random.random() < 0.5 else None,
    )
    return ImageChops.invert(photo) if random.random() < 0.5 else photo


def test_photographs_made_from_mnist_are_read_within_one_point_of_mnist(mnist_root: Path) -> None:
    count = 1000
    net = create_model("lenet5", pretrained=True)
    raw = mnist_root / "MNIST" / "raw"
    images = np.asarray(read_idx(raw / "t10k-images-idx3-ubyte", 3))[:count]
    labels = torch.as_tensor(read_idx(raw / "t10k-labels-idx1-ubyte", 1))[:count]
    random = np.random.default_rng(1)
    photos = [photographed(image, random) for image in images]
    found = predict(net, [digit_photo(photo).picture for photo in photos]).labels
    plain = predict(net, [Image.fromarray(image) for image in images]).labels
    assert int((found == labels).sum()) >= int((plain == labels).sum()) - 0.01 * count
