"""The digits of 1989, from small files in the form of the real ones."""

import bz2
import hashlib

import pytest
import torch

from classicnets import create_model, fit
from classicnets.data import usps, usps_set
from classicnets.errors import ConfigError, DataError
from classicnets.recipes import find_recipe, fit_arguments


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """60 and 20 digits whose first pixel tells the label, the others -1 but one."""
    for name, count in (("usps.bz2", 60), ("usps.t.bz2", 20)):
        lines = []
        for index in range(count):
            values = [index % 10 / 10 - 1, *[-1.0] * 254, 1.0]
            pixels = " ".join(f"{place}:{value:g}" for place, value in enumerate(values, 1))
            lines.append(f"{index % 10 + 1} {pixels}\n")
        packed = bz2.compress("".join(lines).encode())
        (tmp_path / name).write_bytes(packed)
        monkeypatch.setitem(usps_set._MD5, name, hashlib.md5(packed).hexdigest())  # noqa: S324
    return tmp_path


def test_labels_and_levels_are_those_of_the_files(folder):
    splits = usps(folder, val_size=0, normalize="signed", batch_size=60)
    assert (splits.train.num_images, splits.test.num_images) == (60, 20)
    for loader in (splits.train, splits.test):
        images, labels = next(iter(loader))
        assert images.shape[1:] == (1, 16, 16)
        expected = labels / 10 - 1
        torch.testing.assert_close(images[:, 0, 0, 0], expected, rtol=0, atol=1 / 127)
        assert (images[:, 0, 15, 15] == 1).all()
        assert (images[:, 0, 1:15] == -1).all()


def test_standard_normalisation_is_that_of_the_training_part(folder):
    images, _ = next(iter(usps(folder, val_size=0, batch_size=60).train))
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-3)


def test_larger_pictures_are_padded(folder):
    images, _ = next(iter(usps(folder, image_size=28, val_size=10, normalize="none").test))
    assert images.shape[1:] == (1, 28, 28)
    assert not images[..., :6, :].any()
    with pytest.raises(ConfigError, match="step 'pad' is to 8, below the 16"):
        usps(folder, image_size=8)


def test_a_missing_and_another_file_are_named(folder):
    (folder / "usps.t.bz2").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"usps.t.bz2 has MD5 .*, the public file .*get it again"):
        usps(folder)
    (folder / "usps.bz2").unlink()
    with pytest.raises(DataError, match=r"usps.bz2 is not there; put usps.bz2 and usps.t.bz2 of"):
        usps(folder)


def test_the_net_of_1989_trains_on_them_by_its_recipe(folder):
    recipe = find_recipe("lenet1989", "usps", "paper")
    splits = usps(folder, batch_size=recipe.batch_size, **recipe.preparation)
    net = create_model(recipe.net, **recipe.net_options)
    settings = {**recipe.fit_settings(), "epochs": 2}
    history = fit(net, splits.train, progress=False, **fit_arguments(settings))
    assert history.epochs[1].train_loss < history.epochs[0].train_loss
