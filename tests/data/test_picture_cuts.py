import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classicnets.data import TenCrop, ten_crops
from classicnets.data.picture_cuts import AlexNet2012Cut, CentreCut, CropFlip, _crop_boxes
from classicnets.data.streams import uniform
from classicnets.errors import ConfigError

sides = st.integers(28, 90)


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


def positions(height, width):
    """A picture whose first two channels tell where a pixel lies."""
    found = torch.zeros(height, width, 3, dtype=torch.uint8)
    found[..., 0] = torch.arange(height)[:, None]
    found[..., 1] = torch.arange(width)
    return found


@settings(deadline=None)
@given(height=sides, width=sides)
def test_the_middle_is_torchvisions_centre_crop(height, width):
    from torchvision.transforms.v2.functional import center_crop

    image = picture(height, width)
    found = CentreCut(28)([image], torch.empty(1, 0))
    assert torch.equal(found[0], center_crop(image.permute(2, 0, 1), [28, 28]))


@settings(deadline=None)
@given(sizes=st.lists(st.tuples(sides, st.integers(28, 300)), min_size=1, max_size=20))
def test_crops_lie_inside_and_have_the_area_and_ratio_asked_for(sizes):
    boxes = _crop_boxes(np.array(sizes), uniform(len(sizes), 22, 0, 0, "").double().numpy())
    for (height, width), (top, left, crop_height, crop_width) in zip(sizes, boxes, strict=True):
        assert 0 <= top <= height - crop_height
        assert 0 <= left <= width - crop_width
        slack = 1 / min(crop_height, crop_width)
        assert 3 / 4 * (1 - 2 * slack) <= crop_width / crop_height <= 4 / 3 * (1 + 2 * slack)
        area = crop_height * crop_width / (height * width)
        assert area <= 1
        if max(height, width) < 1.5 * min(height, width):
            assert area >= 0.5 * (1 - 2 * slack)


def test_crops_are_distributed_as_torchvisions():
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    transform = RandomResizedCrop(224, scale=(0.5, 1))
    image = torch.empty(3, 256, 341)
    theirs = [transform.make_params([image]) for _ in range(2000)]
    theirs = np.array([[one[k] for k in ("top", "left", "height", "width")] for one in theirs])
    ours = _crop_boxes(np.array([(256, 341)] * 2000), uniform(2000, 22, 0, 0, "").double().numpy())
    error = theirs.std(0) / np.sqrt(1000)
    assert (abs(ours.mean(0) - theirs.mean(0)) < 4 * error).all()
    assert np.allclose(ours.std(0), theirs.std(0), rtol=0.1)


def test_crops_are_resized_as_torchvision_does_and_mirrored_half_the_time():
    from torchvision.transforms.v2.functional import resized_crop

    images = [picture(60, 80, seed) for seed in range(40)]
    draws = uniform(40, CropFlip.draws, 0, 0, "augment")
    found = CropFlip(28)(images, draws)
    boxes = _crop_boxes(np.array([(60, 80)] * 40), draws.double().numpy()[:, :-1]).tolist()
    mirrored = 0
    for image, box, square in zip(images, boxes, found, strict=True):
        expected = resized_crop(image.permute(2, 0, 1), *box, [28, 28], antialias=True)
        mirror = torch.equal(square, expected.flip(-1))
        assert mirror or torch.equal(square, expected)
        mirrored += mirror
    assert 10 <= mirrored <= 30


def test_what_a_picture_becomes_does_not_depend_on_its_batch():
    images = [picture(40, 50, seed) for seed in range(5)]
    for cut in (CentreCut(28), CropFlip(28), AlexNet2012Cut(28, 32)):
        draws = uniform(5, cut.draws, 0, 0, "augment")
        whole = cut(images, draws)
        for row in range(5):
            one = cut(images[row : row + 1], draws[row : row + 1])
            assert torch.equal(one[0], whole[row])


def test_alexnets_crops_come_from_the_central_square_uniformly():
    cut = AlexNet2012Cut(28, 32)
    draws = uniform(2000, cut.draws, 0, 0, "augment")
    draws[:, 3:] = 0.5  # no colour
    draws[:, 2] = 0.9  # no mirror
    found = cut([positions(32, 48)] * 2000, draws)
    tops, lefts = found[:, 0, 0, 0].round(), found[:, 1, 0, 0].round() - 8
    for corner in (tops, lefts):
        values, counts = corner.unique(return_counts=True)
        assert values.tolist() == [0, 1, 2, 3, 4]
        assert (abs(counts - 400) < 100).all()
    assert torch.allclose(found[:, 0, 27, 0] - found[:, 0, 0, 0], torch.tensor(27.0))


def test_alexnets_colours_shift_whole_pictures_along_the_principal_components():
    cut = AlexNet2012Cut(28, 28)
    draws = uniform(5000, cut.draws, 0, 0, "augment")
    grey = torch.full((28, 28, 3), 128, dtype=torch.uint8)
    found = cut([grey] * 5000, draws)
    assert torch.equal(found, found[:, :, :1, :1].expand_as(found))
    shifts = ((found[:, :, 0, 0] - 128) / 255).double()
    values = torch.linalg.eigvalsh(shifts.T @ shifts / 5000).flip(0).sqrt()
    expected = 0.1 * torch.tensor([0.2175, 0.0188, 0.0045], dtype=torch.float64)
    assert torch.allclose(values, expected, rtol=0.05)


def test_ten_crops_are_corners_middle_and_their_mirror_images():
    images = positions(32, 36).permute(2, 0, 1)[None].float()
    crops = ten_crops(images, 28)
    assert crops.shape == (1, 10, 3, 28, 28)
    assert [tuple(crop[:2, 0, 0].tolist()) for crop in crops[0, :5]] == [
        (0, 0), (0, 8), (4, 0), (4, 8), (2, 4),
    ]  # fmt: skip
    assert torch.equal(crops[:, 5:], crops[:, :5].flip(-1))


def test_a_net_of_ten_crops_gives_the_mean_of_ten_probabilities():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 4))
    images = torch.rand(3, 3, 32, 32)
    found = TenCrop(net, 28)(images).exp()
    expected = torch.stack([net(ten_crops(images, 28)[:, k]).softmax(1) for k in range(10)]).mean(0)
    assert torch.allclose(found, expected, atol=1e-6)


def test_ten_crops_of_a_sure_net_stay_finite():
    class Sure(torch.nn.Module):
        def forward(self, crops):
            return torch.tensor([[120.0, -10.0]]).expand(len(crops), 2)

    found = TenCrop(Sure(), 28)(torch.zeros(1, 3, 32, 32))
    assert torch.allclose(found, torch.tensor([[0.0, -130.0]]))


def test_ten_crops_of_a_net_have_the_nets_own_size():
    net = torch.nn.Sequential(torch.nn.Flatten())
    with pytest.raises(ConfigError, match="size is None, and the net has no input_shape; give"):
        TenCrop(net)
    net.input_shape = (3, 28, 28)
    assert TenCrop(net).size == 28
    with pytest.raises(ConfigError, match="size is 28; the pictures are 20x20, give at most that"):
        TenCrop(net)(torch.zeros(1, 3, 20, 20))


@settings(deadline=None)
@given(height=sides, width=sides, row=st.integers(0, 9))
def test_cuts_take_pictures_of_any_shape(height, width, row):
    for cut in (CentreCut(28), CropFlip(28), AlexNet2012Cut(26, 28)):
        draws = uniform(10, cut.draws, 1, 0, "augment")[row : row + 1]
        found = cut([picture(height, width)], draws)
        assert found.shape == (1, 3, cut.size, cut.size)
