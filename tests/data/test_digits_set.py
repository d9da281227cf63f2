import inspect
import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import classicnets.data
from classicnets.data import digits, fashion_mnist, mnist
from classicnets.errors import ConfigError, DeviceError


def everything(loader):
    loader.set_epoch(0)
    batches = list(loader)
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def test_digits_are_1200_to_train_237_to_validate_and_the_last_360_to_test():
    splits = digits()
    sizes = [loader.num_images for loader in (splits.train, splits.val, splits.test)]
    assert sizes == [1200, 237, 360]
    assert splits.classes == splits.train.classes == tuple("0123456789")
    for seed in (0, 1):
        _, labels = everything(digits(seed=seed).test)
        assert labels.tolist() == load_digits().target[-360:].tolist()


def test_the_parts_share_no_picture_and_leave_none_out():
    splits = digits(image_size=8, normalize="none")
    images = torch.cat([everything(part)[0] for part in (splits.train, splits.val, splits.test)])
    levels = (images * 16).round().double().view(-1, 64)
    expected = torch.from_numpy(load_digits().data)
    assert sorted(levels.tolist()) == sorted(expected.tolist())


def test_the_seed_rules_the_split():
    first, same, other = (everything(digits(seed=seed).val)[0] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_standard_constants_are_those_of_the_training_part():
    splits = digits(image_size=8, val_size=0)
    images, _ = everything(splits.train)
    assert splits.train.num_images == 1437
    assert images.mean().item() == pytest.approx(0, abs=1e-6)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_without_validation_val_is_none():
    splits = digits(val_size=0)
    assert splits.val is None
    assert splits.options["val_size"] == 0


@pytest.mark.parametrize(
    ("name", "low", "high"), [("paper", -0.1, 1.175), ("signed", -1.0, 1.0), ("none", 0.0, 1.0)]
)
def test_normalize_sets_background_and_ink(name, low, high):
    images, _ = everything(digits(image_size=8, normalize=name).test)
    assert [images.min().item(), images.max().item()] == pytest.approx([low, high], abs=1e-6)


@pytest.mark.parametrize("size", [8, 16, 28, 32, 35, 5])
def test_digits_come_in_any_size(size):
    images, _ = next(iter(digits(image_size=size).test))
    assert images.shape == (256, 1, size, size)


def test_a_smaller_digit_lies_in_the_middle_of_background():
    images, _ = everything(digits(image_size=28, digit_size=16, normalize="none").test)
    full, _ = everything(digits(image_size=16, normalize="none").test)
    assert torch.equal(images[..., 6:22, 6:22], full)
    images[..., 6:22, 6:22] = 0
    assert not images.any()


def test_training_is_shuffled_and_augmented_and_evaluation_is_neither():
    splits = digits(batch_size=50, augment="affine")
    assert splits.train.settings["shuffle"]
    assert splits.train.settings["augment"] == "affine"
    assert splits.train.batch_size == 50
    for loader in (splits.val, splits.test):
        assert not loader.settings["shuffle"]
        assert loader.settings["augment"] is None
        assert loader.batch_size == 256
    assert digits(batch_size=300).test.batch_size == 300
    first, second = (torch.cat([images for images, _ in splits.val]) for _ in range(2))
    assert torch.equal(first, second)


def test_the_options_make_the_same_splits_again():
    options = {
        "batch_size": 30,
        "image_size": 28,
        "digit_size": 16,
        "val_size": 100,
        "augment": "affine",
        "normalize": "paper",
        "seed": 5,
        "train_size": 400,
        "repeat": 2,
    }
    splits = digits(**options)
    assert json.loads(json.dumps(splits.options)) == options
    again = digits(**splits.options)
    assert again.options == options
    for part in ("train", "val", "test"):
        one, two = getattr(splits, part), getattr(again, part)
        assert one.settings == two.settings
        assert torch.equal(everything(one)[0], everything(two)[0])


def test_a_picture_of_the_data_set_prepared_alone_gives_the_loaders_tensor():
    splits = digits()
    images, _ = everything(splits.test)
    levels = (load_digits().images[-360] * 255 / 16).round().astype(np.uint8)
    assert torch.equal(splits.preparation(Image.fromarray(levels)), images[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number, at least 1"),
        ({"image_size": 0}, "image_size is 0; it must be a whole number, at least 1"),
        ({"digit_size": 0}, "digit_size is 0; it must be a whole number, at least 1"),
        ({"digit_size": 33}, "digit_size is 33; .* of image_size 32 and cannot be larger"),
        ({"val_size": -1}, "val_size is -1; it must be a whole number, at least 0"),
        ({"val_size": 1437}, "val_size is 1437; the training part of digits has 1437 pictures"),
        ({"augment": "blur"}, "augment is 'blur'; the names are affine"),
        ({"normalize": "unit"}, "normalize is 'unit'; the names are standard, paper, signed, none"),
        ({"seed": -1}, "seed is -1; it must be a whole number, at least 0"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        digits(**options)


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(DeviceError, match="device is 'gpu', and the data cannot be put there"):
        digits(device="gpu")


def test_the_three_data_sets_take_the_same_arguments():
    first, *others = (inspect.signature(function) for function in (digits, mnist, fashion_mnist))
    for other in others:
        assert list(other.parameters) == list(first.parameters)
        for name in first.parameters:
            if name != "val_size":
                assert other.parameters[name] == first.parameters[name]


def test_every_public_name_is_there_and_no_module_hides_it():
    for name in classicnets.data.__all__:
        assert callable(getattr(classicnets.data, name))
        assert find_spec(f"classicnets.data.{name}") is None
    assert dir(classicnets.data) == sorted(classicnets.data.__all__)
    with pytest.raises(AttributeError, match="module 'classicnets.data' has no attribute 'cifar'"):
        classicnets.data.cifar  # noqa: B018


def test_the_package_loads_no_torch():
    run = [sys.executable, "-c", "import sys, classicnets.data; print('torch' in sys.modules)"]
    found = subprocess.run(run, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"]


def test_train_size_leaves_the_first_of_the_training_pictures():
    few, all_of_them = digits(train_size=100).train, digits().train
    assert few.num_images == 100
    assert torch.equal(few._images, all_of_them._images[:100])
    with pytest.raises(
        ConfigError, match="train_size is 1400; .* has 1200 pictures beside the 237"
    ):
        digits(train_size=1400)


def test_repeat_makes_one_constant_order():
    loader = digits(repeat=1).train
    first, second = ([labels for _, labels in loader] for _ in range(2))
    assert all(map(torch.equal, first, second))
