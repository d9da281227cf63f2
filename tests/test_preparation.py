import json
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from classicnets.data.loader import TensorLoader
from classicnets.errors import ConfigError, DataError
from classicnets.preparation import Preparation, is_moving, picture_size, read_picture, read_pixels

LENET5 = Preparation(28, steps=(("pad", 32),), mean=(0.1307,), std=(0.3081,))
LENET1 = Preparation(28, steps=(("area", 16), ("pad", 28)))
PAPER = Preparation(28, steps=(("pad", 32),), mean=(0.1 / 1.275,), std=(1 / 1.275,))
PHOTO = Preparation(28, channels=3, shorter_side=32)
COLOUR = Preparation(8, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def pictures(count=3, channels=1, size=28, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_padding_surrounds_the_picture_with_background():
    images = pictures()
    padded = LENET5.uint8(images)
    assert padded.shape == (3, 1, 32, 32)
    assert torch.equal(padded[:, :, 2:30, 2:30], images)
    assert padded.sum() == images.sum()


def test_without_steps_pictures_stay_as_they_are():
    images = pictures()
    assert torch.equal(Preparation(28).uint8(images), images)
    assert Preparation(28).image_size == 28


def area_mean(image, size):
    """Slow and exact: each new pixel is the mean of the area it covers."""
    source = len(image)
    result = np.zeros((size, size), dtype=np.uint8)
    edges = [Fraction(k * source, size) for k in range(size + 1)]
    cover = [
        [max(Fraction(0), min(edges[i + 1], j + 1) - max(edges[i], j)) for j in range(source)]
        for i in range(size)
    ]
    for i in range(size):
        for j in range(size):
            total = sum(
                cover[i][k] * cover[j][m] * int(image[k][m])
                for k in range(source)
                for m in range(source)
                if cover[i][k] and cover[j][m]
            )
            result[i, j] = round(total * Fraction(size, source) ** 2)
    return result


@pytest.mark.parametrize("size", [16, 14, 28, 5])
def test_area_gives_each_pixel_the_mean_of_the_area_it_covers(size):
    image = pictures(1)
    found = Preparation(28, steps=(("area", size),)).uint8(image)
    assert np.array_equal(found[0, 0].numpy(), area_mean(image[0, 0].tolist(), size))


@settings(max_examples=25, deadline=None)
@given(source=st.integers(1, 20), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_bilinear_is_torchs_within_one_level(source, size, seed):
    images = pictures(2, 1, source, seed)
    found = Preparation(source, steps=(("bilinear", size),)).uint8(images)
    theirs = F.interpolate(images.double(), (size, size), mode="bilinear", align_corners=False)
    assert (found - theirs).abs().max() <= 0.5 + 1e-9


@pytest.mark.parametrize("step", ["area", "bilinear", "pad"])
def test_a_flat_picture_keeps_its_level(step):
    flat = torch.full((1, 3, 9, 9), 201, dtype=torch.uint8)
    found = Preparation(9, channels=3, steps=((step, 13),)).uint8(flat)
    assert found.max() == 201
    assert step == "pad" or found.min() == 201


def test_lenet1_has_a_16x16_digit_in_the_middle_of_28x28():
    images = pictures()
    prepared = LENET1.uint8(images)
    assert prepared.shape == (3, 1, 28, 28)
    reduced = Preparation(28, steps=(("area", 16),)).uint8(images)
    assert torch.equal(prepared[:, :, 6:22, 6:22], reduced)
    assert prepared.sum() == reduced.sum()


def test_pixels_do_not_depend_on_the_batch():
    images = pictures(5000)
    for preparation in (LENET5, LENET1, Preparation(28, steps=(("bilinear", 40),))):
        together = preparation.uint8(images)
        assert torch.equal(together[4321:4322], preparation.uint8(images[4321:4322]))
        batch = preparation.normalize(together[:70])
        assert torch.equal(batch[69:], preparation.normalize(together[69:70]))


def test_normalisation_subtracts_the_mean_and_divides_by_the_deviation():
    images = pictures(4, 3, 8)
    mean = torch.tensor(COLOUR.mean).view(3, 1, 1)
    std = torch.tensor(COLOUR.std).view(3, 1, 1)
    assert torch.allclose(COLOUR.normalize(images), (images / 255 - mean) / std, atol=1e-6)


def test_one_mean_serves_all_channels():
    images = pictures(4, 3, 8)
    one = Preparation(8, channels=3, mean=(0.5,), std=(0.25,))
    each = Preparation(8, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert torch.equal(one.normalize(images), each.normalize(images))


def test_the_default_is_zero_to_one():
    levels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert Preparation(28).normalize(levels).flatten().tolist() == [0.0, 1.0]


def test_paper_has_background_below_zero_and_ink_at_1_175():
    background, ink = PAPER.normalize(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2))[
        0, 0, 0
    ].tolist()
    assert background == pytest.approx(-0.1, abs=1e-7)
    assert ink == pytest.approx(1.175, abs=1e-6)


def test_normalising_leaves_its_input_alone():
    for images in (pictures(), pictures().float()):
        before = images.clone()
        LENET5.normalize(images)
        assert torch.equal(images, before)


def test_normalised_pictures_are_float32_whatever_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        assert LENET5.normalize(pictures()).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("preparation", [LENET5, LENET1, PAPER])
def test_a_saved_picture_gives_the_very_tensor_of_the_loader(tmp_path, preparation):
    images = pictures(4)
    loader = TensorLoader(
        preparation.uint8(images),
        torch.arange(4),
        classes="abcd",
        preparation=preparation,
        batch_size=4,
    )
    batch, _ = next(iter(loader))
    for index, image in enumerate(images):
        path = tmp_path / f"{index}.png"
        Image.fromarray(image[0].numpy()).save(path)
        for picture in (path, str(path), Image.open(path)):
            assert torch.equal(preparation(picture), batch[index : index + 1])


def test_colour_pictures_keep_the_order_of_their_channels(tmp_path):
    image = pictures(1, 3, 8)
    path = tmp_path / "colour.png"
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(path)
    assert torch.equal(COLOUR(path), COLOUR.normalize(image))


def grey_levels(picture, size=4):
    return (Preparation(size)(picture) * 255).round().int()[0, 0]


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
    found = Preparation(4, channels=3)(Image.new("L", (4, 4), 77))
    assert found.shape == (1, 3, 4, 4)
    assert torch.equal((found * 255).round(), torch.full((1, 3, 4, 4), 77.0))


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


def test_other_sizes_are_resized_with_antialiasing():
    stripes = np.zeros((56, 84), dtype=np.uint8)
    stripes[::2] = 200
    found = grey_levels(Image.fromarray(stripes), 28)
    assert found.shape == (28, 28)
    assert (found[2:-2].double().mean() - 100).abs() < 2
    assert found[2:-2].max() < 120


def test_1_bit_pictures_are_black_and_white():
    assert grey_levels(Image.new("1", (4, 4), 1)).unique().tolist() == [255]


@pytest.mark.parametrize("preparation", [LENET5, LENET1, PAPER, COLOUR, PHOTO])
def test_a_preparation_goes_through_json(preparation):
    written = preparation.to_dict()
    read = json.loads(json.dumps(written))
    assert read == written
    assert Preparation.from_dict(read) == preparation
    assert hash(Preparation.from_dict(read)) == hash(preparation)


def test_from_dict_refuses_other_fields():
    with pytest.raises(ConfigError, match=r"has the fields channels, mean, .*; received mean"):
        Preparation.from_dict({"mean": [0.1]})
    with pytest.raises(ConfigError, match="received none"):
        Preparation.from_dict({})


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 3), ("steps", [["pad"]]), ("mean", ["a"]), ("std", None)]
)
def test_from_dict_refuses_other_types(field, value):
    with pytest.raises(ConfigError, match="is no preparation"):
        Preparation.from_dict({**LENET5.to_dict(), field: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 2}, r"channels is 2; a picture has 1 \(grey\) or 3"),
        ({"source_size": 0}, "source_size is 0; it must be a whole number of pixels"),
        ({"source_size": 2.5}, "source_size is 2.5"),
        ({"steps": (("pad", True),)}, "the size after step 'pad' is True"),
        ({"steps": (("fold", 3),)}, "steps has 'fold'; the steps are pad, area, bilinear"),
        ({"steps": (("pad", 20),)}, "'pad' is to 20, below the 28"),
        ({"mean": (0.1, 0.2)}, r"mean is \(0.1, 0.2\); give 1 or 1 finite"),
        ({"std": (float("nan"),)}, r"std is \(nan,\); give 1 or 1 finite"),
        ({"std": ()}, r"std is \(\); give 1 or 1 finite"),
        ({"std": (0.0,)}, r"std is \(0.0,\); it divides the picture and must be above 0"),
    ],
)
def test_fields_that_cannot_work_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Preparation(**{"source_size": 28, **fields})


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 1, 28, 28),
        torch.zeros(2, 28, 28, dtype=torch.uint8),
        torch.zeros(2, 3, 28, 28, dtype=torch.uint8),
        torch.zeros(2, 1, 28, 29, dtype=torch.uint8),
    ],
)
def test_other_pictures_than_the_data_sets_are_refused(images):
    with pytest.raises(DataError, match=r"takes torch.uint8 of shape \(N, 1, 28, 28\)"):
        LENET5.uint8(images)


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no picture .*seven\.png; check the path"):
        LENET5(tmp_path / "seven.png")


def test_files_that_are_no_pictures_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(pictures(1)[0, 0].numpy()).save(whole)
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
            LENET5(path)
    with pytest.raises(DataError, match="cannot be read as a picture"):
        LENET5(tmp_path)


def test_huge_pictures_are_refused_before_decoding(tmp_path):
    path = tmp_path / "huge.png"
    Image.new("1", (8000, 7000)).save(path)
    with pytest.raises(DataError, match=r"huge.png: the picture is 8000x7000; up to 50,000,000"):
        LENET5(path)


def test_modes_without_a_known_range_are_refused():
    with pytest.raises(DataError, match="mode F, floats of unknown range; save it with 8 bits"):
        LENET5(Image.new("F", (28, 28)))
    with pytest.raises(DataError, match="mode I with values -5 to -5; grey goes up to 65535"):
        LENET5(Image.new("I", (28, 28), -5))


@settings(deadline=None)
@given(width=st.integers(5, 90), height=st.integers(5, 90))
def test_with_a_shorter_side_the_middle_is_cut_as_torchvision_does(width, height):
    from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

    image = Image.fromarray(pictures(1, 3, 96)[0].permute(1, 2, 0).numpy()[:height, :width])
    expected = center_crop(resize(pil_to_tensor(image), [32], antialias=True), [28, 28])
    assert torch.equal((PHOTO(image)[0] * 255).round().to(torch.uint8), expected)


def test_a_shorter_side_below_the_source_size_is_refused():
    with pytest.raises(ConfigError, match="shorter_side is 20; 28 pixels .* so give at least that"):
        Preparation(28, shorter_side=20)


def test_pictures_too_long_for_their_shorter_side_are_refused(tmp_path):
    path = tmp_path / "long.png"
    Image.new("RGB", (210, 10)).save(path)
    for read in (PHOTO, picture_size):
        with pytest.raises(DataError, match="is 210x10; its longer side may be up to 20 times"):
            read(path)
    Image.new("RGB", (200, 10)).save(path)
    assert PHOTO(path).shape == (1, 3, 28, 28)
    assert picture_size(path) == (200, 10)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path, orientation):
    image = Image.fromarray(pictures(1, 3, 16)[0].permute(1, 2, 0).numpy()[:, :9])
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
    Image.fromarray(pictures(1, 3, 40)[0].permute(1, 2, 0).numpy()).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.png cannot be read as a picture"):
        read_picture(path)


def test_a_jpeg_cut_off_anywhere_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(pictures(1, 3, 64)[0].permute(1, 2, 0).numpy()).save(path)
    content = path.read_bytes()
    for k in range(1, 300):
        path.write_bytes(content[: len(content) * k // 300])
        with pytest.raises(DataError, match=r"cut\.jpg cannot be read as a picture"):
            read_pixels(path)


def test_grey_pictures_have_one_channel(tmp_path):
    path = tmp_path / "plain.jpg"
    Image.new("RGB", (9, 5), "red").save(path)
    assert read_pixels(path, 1).shape == (5, 9, 1)
    assert Preparation(4, shorter_side=5)(path).shape == (1, 1, 4, 4)
