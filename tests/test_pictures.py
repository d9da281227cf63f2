from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from classicnets.errors import DataError
from classicnets.pictures import (
    is_moving,
    picture_size,
    read_picture,
    read_pixels,
    resize_shorter_side,
)


def noise(size, channels=3):
    return np.random.default_rng(0).integers(0, 256, (size, size, channels), dtype=np.uint8)


def grey_levels(picture):
    return read_pixels(picture, 1)[..., 0].int()


def test_16_bit_grey_is_divided_by_257(tmp_path):
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4369
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    expected = torch.from_numpy((values / 257).round().astype(np.int32))
    assert torch.equal(grey_levels(path), expected)
    assert torch.equal(grey_levels(Image.fromarray(values.astype(np.int32))), expected)


def test_colour_becomes_grey_by_the_usual_weights():
    colour = Image.new("RGB", (4, 4), (200, 100, 50))
    assert grey_levels(colour)[0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_grey_becomes_colour_with_equal_channels():
    found = read_pixels(Image.new("L", (4, 4), 77), 3)
    assert torch.equal(found, torch.full((4, 4, 3), 77, dtype=torch.uint8))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_pictures_are_laid_on_white(mode):
    clear = Image.new(mode, (4, 4))
    assert (grey_levels(clear) == 255).all()


def test_pictures_are_turned_as_their_exif_tag_says(tmp_path):
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left
    path = tmp_path / "turned.png"
    image.save(path, exif=exif)
    assert torch.equal(grey_levels(path), grey_levels(image.rotate(-90)))


def test_1_bit_pictures_are_black_and_white():
    assert grey_levels(Image.new("1", (4, 4), 1)).unique().tolist() == [255]


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no picture .*seven\.png; check the path"):
        read_picture(tmp_path / "seven.png")


def test_files_that_are_no_pictures_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(noise(28, 1)[..., 0]).save(whole)
    contents = {
        "empty.png": b"",
        "page.png": b"<html>not found</html>",
        "cut.png": whole.read_bytes()[:300],
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read as a picture .*JPEG, PNG"):
            read_picture(path)
    with pytest.raises(DataError, match="cannot be read as a picture"):
        read_picture(tmp_path)


def test_huge_pictures_are_refused_before_decoding(tmp_path):
    path = tmp_path / "huge.png"
    Image.new("1", (8000, 7000)).save(path)
    with pytest.raises(DataError, match=r"huge.png: the picture is 8000x7000; up to 50,000,000"):
        read_picture(path)


def test_modes_without_a_known_range_are_refused():
    with pytest.raises(DataError, match="mode F, floats of unknown range; save it with 8 bits"):
        read_picture(Image.new("F", (28, 28)))
    with pytest.raises(DataError, match="mode I with values -5 to -5; grey goes up to 65535"):
        read_picture(Image.new("I", (28, 28), -5))


def shorter_side_32(path):
    return resize_shorter_side(read_pixels(path), 32)


def test_pictures_too_long_for_their_shorter_side_are_refused(tmp_path):
    path = tmp_path / "long.png"
    Image.new("RGB", (210, 10)).save(path)
    for read in (shorter_side_32, picture_size):
        with pytest.raises(DataError, match="is 210x10; its longer side may be up to 20 times"):
            read(path)
    Image.new("RGB", (200, 10)).save(path)
    assert shorter_side_32(path).shape == (32, 640, 3)
    assert picture_size(path) == (200, 10)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path, orientation):
    image = Image.fromarray(noise(16)[:, :9])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    image.save(path, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(np.asarray(read_picture(path)), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the damage
def test_an_exif_tag_that_cannot_be_read_turns_nothing(tmp_path):
    image = Image.new("RGB", (9, 16), "red")
    path = tmp_path / "odd.jpg"
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", b"Exif\0\0", b"nonsense"):
        image.save(path, exif=exif)
        assert read_picture(path).size == (9, 16)


def test_cmyk_palettes_and_moving_pictures_become_rgb(tmp_path):
    red = Image.new("RGB", (9, 9), (254, 0, 0))
    blue = Image.new("RGB", (9, 9), (0, 0, 254))
    red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    red.quantize(4).save(tmp_path / "palette.png")
    red.save(tmp_path / "moving.gif", save_all=True, append_images=[blue])
    red.save(tmp_path / "moving.webp", save_all=True, append_images=[blue], lossless=True)
    red.save(tmp_path / "moving.png", save_all=True, append_images=[blue])
    for path in tmp_path.iterdir():
        told = pytest.warns(UserWarning, match="a picture moves, and its first frame alone is")
        with told if path.stem == "moving" else nullcontext():
            found = np.asarray(read_picture(path)).astype(int)
        assert found.shape == (9, 9, 3)
        assert abs(found - (254, 0, 0)).max() <= 3, path.name
        assert is_moving(path) == (path.stem == "moving")


def test_palettes_with_clear_colours_are_laid_on_white(tmp_path):
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "clear.png", transparency=0)
    assert (np.asarray(read_picture(tmp_path / "clear.png")) == 255).all()


def test_damaged_pixels_are_an_error_though_the_tag_of_orientation_stands_behind_them(tmp_path):
    path = tmp_path / "damaged.png"
    Image.fromarray(noise(40)).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.png cannot be read as a picture"):
        read_picture(path)


def test_a_jpeg_cut_off_anywhere_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(noise(64)).save(path)
    content = path.read_bytes()
    for k in range(1, 300):
        path.write_bytes(content[: len(content) * k // 300])
        with pytest.raises(DataError, match=r"cut\.jpg cannot be read as a picture"):
            read_pixels(path)


def test_grey_pictures_have_one_channel(tmp_path):
    path = tmp_path / "plain.jpg"
    Image.new("RGB", (9, 5), "red").save(path)
    assert read_pixels(path, 1).shape == (5, 9, 1)
