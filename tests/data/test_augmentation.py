import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classicnets.data.augmentation import Affine, find_augmentation
from classicnets.data.loader import TensorLoader
from classicnets.errors import ConfigError
from classicnets.preparation import Preparation

MIDDLE = [0.5] * 5
STILL = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0}


def pictures(count=2, size=32):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=generator)
    images[:, :, :4], images[:, :, -4:], images[..., :4], images[..., -4:] = 0, 0, 0, 0
    return images


def apply(images, draws=MIDDLE, **ranges):
    return Affine(**{**STILL, **ranges})(images, torch.tensor([draws] * len(images))).round()


def test_the_middle_of_each_range_changes_nothing():
    images = pictures()
    assert torch.equal(Affine()(images, torch.tensor([MIDDLE] * 2)).round(), images.float())


def test_no_range_changes_nothing_whatever_the_draws():
    images = pictures()
    assert torch.equal(apply(images, [0.1, 0.9, 0.2, 0.3, 0.7]), images.float())


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.75)])
def test_shift_moves_the_picture_by_a_fraction_of_it(right, down):
    images = pictures()
    shifts = [round((2 * draw - 1) * 0.125 * 32) for draw in (right, down)]  # whole pixels
    found = apply(images, [0.5, 0.5, 0.5, right, down], shift=0.125)
    expected = torch.roll(images, (shifts[1], shifts[0]), (2, 3))
    assert torch.equal(found, expected.float())


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_rotation_turns_the_picture(draw):
    images = pictures()
    found = apply(images, [draw, 0.5, 0.5, 0.5, 0.5], rotation=90)
    turned = [torch.rot90(images, turns, (2, 3)).float() for turns in (1, -1)]
    assert any(torch.equal(found, each) for each in turned)


def test_rotation_goes_both_ways():
    images = pictures()
    left, right = (apply(images, [draw, *MIDDLE[1:]], rotation=30) for draw in (0.0, 1.0))
    assert torch.equal(left.flip(3), apply(images.flip(3), [1.0, *MIDDLE[1:]], rotation=30))
    assert not torch.equal(left, right)


def test_scale_changes_the_size():
    square = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    square[:, :, 8:24, 8:24] = 200
    mass = [apply(square, [0.5, d, 0.5, 0.5, 0.5], scale=0.25).sum() / 200 for d in (0.0, 1.0)]
    assert mass == pytest.approx([12**2, 20**2], rel=0.02)


def test_shear_moves_rows_along():
    line = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    line[..., 15:17] = 200
    found = apply(line, [0.5, 0.5, 1.0, 0.5, 0.5], shear=0.5)[0, 0]
    centres = (found * torch.arange(32)).sum(1) / found.sum(1)
    steps = centres.diff()[4:-4]
    assert steps.abs() == pytest.approx([0.5] * len(steps), abs=0.02)


def test_what_comes_in_from_outside_is_background():
    full = torch.full((1, 1, 32, 32), 255, dtype=torch.uint8)
    found = apply(full, [0.5, 0.5, 0.5, 1.0, 0.5], shift=0.25)
    assert (found[..., :8] == 0).all()
    assert (found[..., 8:] == 255).all()


def test_background_stays_background_through_the_loader():
    preparation = Preparation(32, mean=(0.1 / 1.275,), std=(1 / 1.275,))
    loader = TensorLoader(
        torch.zeros(9, 1, 32, 32, dtype=torch.uint8),
        torch.zeros(9, dtype=torch.int64),
        classes=("nothing",),
        preparation=preparation,
        augment=Affine(),
    )
    images, _ = next(iter(loader))
    assert images.unique().tolist() == pytest.approx([-0.1])


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 40), size=st.integers(1, 40), batch=st.integers(1, 40), seed=st.integers()
)
def test_a_picture_changes_the_same_in_any_batch(count, size, batch, seed):
    generator = torch.Generator().manual_seed(seed % 2**63)
    shape = (count, 1, size, size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    draws = torch.rand(count, 5, generator=generator)
    parts = zip(images.split(batch), draws.split(batch), strict=True)
    alone = torch.cat([Affine()(part, part_draws) for part, part_draws in parts])
    assert torch.equal(Affine()(images, draws), alone)


def test_colour_and_oblong_pictures_keep_their_shape():
    images = torch.zeros(2, 3, 8, 12, dtype=torch.uint8)
    assert Affine()(images, torch.rand(2, 5)).shape == (2, 3, 8, 12)


def test_the_name_tells_other_ranges_apart():
    assert Affine().name == "affine"
    assert Affine(rotation=5).name == "Affine(rotation=5, scale=0.1, shear=0.1, shift=0.0625)"


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"rotation": 91}, "rotation is 91; it must be a number from 0 to 90"),
        ({"scale": 1.0}, "scale is 1.0; it must be a number from 0 to 0.99"),
        ({"shear": -0.1}, "shear is -0.1; it must be a number from 0 to 10"),
        ({"shift": float("nan")}, "shift is nan; it must be a number from 0 to 1"),
    ],
)
def test_ranges_that_cannot_work_are_refused(ranges, message):
    with pytest.raises(ConfigError, match=message):
        Affine(**ranges)


def test_an_augmentation_is_found_by_name_or_given():
    mine = Affine(shift=0.2)
    assert find_augmentation("affine") == Affine()
    assert find_augmentation(mine) is mine
    assert find_augmentation(None) is None
    assert json.dumps(find_augmentation("affine").name) == '"affine"'


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="augment is 'afine'; the names are affine"):
        find_augmentation("afine")


@pytest.mark.parametrize("augment", [3, torch.nn.Identity(), lambda images, draws: images])
def test_an_object_that_is_no_augmentation_is_refused(augment):
    with pytest.raises(ConfigError, match="give a name .affine., None, or an object with `name`"):
        find_augmentation(augment)
