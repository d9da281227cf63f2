import pytest
import torch

from classicnets.data.distortions import Distortions
from classicnets.data.loader import TensorLoader
from classicnets.errors import ConfigError
from classicnets.preparation import Preparation

STILL = {"shift": 0, "scale": 0, "squeeze": 0, "shear": 0}
MIDDLE = [0.5] * 6


def pictures(count=2):
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    images[..., 4:28, 4:28] = torch.randint(0, 256, (count, 1, 24, 24), generator=generator)
    return images


def apply(images, draws=MIDDLE, **ranges):
    return Distortions(**{**STILL, **ranges})(images, torch.tensor([draws] * len(images))).round()


def extent(picture):
    """Height and width of what is drawn."""
    rows, columns = (picture[0, 0] > 100).any(1), (picture[0, 0] > 100).any(0)
    return int(rows.sum()), int(columns.sum())


def square():
    image = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    image[..., 8:24, 8:24] = 255
    return image


def test_the_middle_of_each_range_changes_nothing():
    images = pictures()
    assert torch.equal(Distortions()(images, torch.tensor([MIDDLE] * 2)).round(), images.float())


def test_no_range_changes_nothing_whatever_the_draws():
    images = pictures()
    assert torch.equal(apply(images, [0.1, 0.9, 0.2, 0.3, 0.7, 0.5]), images.float())


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.0), (0.5, 1.0), (0.0, 0.5), (1.0, 0.75)])
def test_shift_moves_the_picture_by_a_fraction_of_it(right, down):
    images = pictures()
    shifts = [round((2 * draw - 1) * 0.125 * 32) for draw in (right, down)]  # whole pixels
    found = apply(images, [right, down, 0.5, 0.5, 0.5, 0.5], shift=0.125)
    assert torch.equal(found, torch.roll(images, (shifts[1], shifts[0]), (2, 3)).float())


@pytest.mark.parametrize(("draw", "side"), [(0.0, 12), (1.0, 20)])
def test_scale_changes_both_sides(draw, side):
    assert extent(apply(square(), [0.5, 0.5, draw, 0.5, 0.5, 0.5], scale=0.25)) == (side, side)


@pytest.mark.parametrize(("draw", "size"), [(0.0, (22, 12)), (1.0, (12, 20))])
def test_squeezing_makes_one_side_longer_and_the_other_shorter(draw, size):
    assert extent(apply(square(), [0.5, 0.5, 0.5, draw, 0.5, 0.5], squeeze=0.25)) == size


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_shear_moves_rows_along_and_none_up(draw):
    line = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    line[..., 4:28, 16] = 255
    found = apply(line, [0.5, 0.5, 0.5, 0.5, draw, 0.5], shear=0.5)
    columns = (found[0, 0, 4:28] * torch.arange(32)).sum(1) / found[0, 0, 4:28].sum(1)
    steps = columns.diff()
    assert steps.mean() == pytest.approx(0.5 - draw, abs=0.02)
    assert found[0, 0, :4].sum() == found[0, 0, 28:].sum() == 0


def test_the_wanted_part_of_the_pictures_is_left_as_it_is():
    images = pictures(400)
    draws = torch.rand(400, 6, generator=torch.Generator().manual_seed(3))
    found = Distortions(originals=0.25)(images, draws).round()
    same = (found == images).flatten(1).all(1)
    assert torch.equal(same, draws[:, 5] < 0.25)
    assert 80 < same.sum() < 120


def test_a_picture_does_not_depend_on_its_batch():
    images, draws = pictures(9), torch.rand(9, 6, generator=torch.Generator().manual_seed(3))
    together = Distortions()(images, draws)
    for index in range(9):
        alone = Distortions()(images[index : index + 1], draws[index : index + 1])
        assert torch.equal(alone[0], together[index])


def test_grey_stays_within_its_range_and_the_picture_within_its_shape():
    draws = torch.rand(50, 6, generator=torch.Generator().manual_seed(3))
    found = Distortions()(pictures(50), draws)
    assert found.shape == (50, 1, 32, 32)
    assert found.dtype == torch.float32
    assert 0 <= found.min() < found.max() <= 255


def test_a_loader_takes_them_and_tells_their_ranges():
    loader = TensorLoader(
        pictures(6), torch.arange(6), classes="012345", preparation=Preparation(32),
        batch_size=2, augment=Distortions(shear=0.1),
    )  # fmt: skip
    assert [len(labels) for _, labels in loader] == [2, 2, 2]
    assert "shear=0.1" in loader.settings["augment"]


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("shift", 1.1, "1"),
        ("scale", -0.1, "0.99"),
        ("squeeze", 1, "0.99"),
        ("shear", 11, "10"),
        ("originals", 2, "1"),
    ],
)
def test_ranges_are_checked(field, value, limit):
    with pytest.raises(ConfigError, match=f"{field} is .*; it must be a number from 0 to {limit}"):
        Distortions(**{field: value})
