import json
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classicnets.data.loader import TensorLoader
from classicnets.errors import ConfigError, DataError
from classicnets.preparation import Preparation

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


def test_other_sizes_are_resized_with_antialiasing():
    stripes = np.zeros((56, 84), dtype=np.uint8)
    stripes[::2] = 200
    found = (Preparation(28)(Image.fromarray(stripes)) * 255).round().int()[0, 0]
    assert found.shape == (28, 28)
    assert (found[2:-2].double().mean() - 100).abs() < 2
    assert found[2:-2].max() < 120


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
