import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from classicnets.errors import ConfigError, DataError
from classicnets.training import predict


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))


IMAGES = torch.rand(300, 1, 4, 4)


def brightness(picture):
    return torch.from_numpy(np.asarray(picture.convert("L"), dtype=np.float32) / 255)[None]


def test_labels_are_the_most_probable_class(model):
    found = predict(model, IMAGES)
    assert found.labels.equal(found.probabilities.argmax(1))
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(300))
    assert len(found) == 300
    assert model.training


def test_tensor_array_and_loader_give_the_same(model):
    reference = predict(model, IMAGES).probabilities
    for images in (IMAGES.numpy(), [(part, None) for part in IMAGES.split(7)], IMAGES.split(7)):
        torch.testing.assert_close(predict(model, images).probabilities, reference)


def test_pictures_and_paths_go_through_the_transform(model, tmp_path):
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16)
    picture.save(tmp_path / "a.png")
    expected = predict(model, brightness(picture)[None])
    for given in (picture, tmp_path / "a.png", [picture, str(tmp_path / "a.png")]):
        found = predict(model, given, transform=brightness)
        assert found.probabilities[-1].equal(expected.probabilities[0])


def test_path_that_is_no_picture_is_named(model, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match="a.png cannot be read"):
        predict(model, tmp_path / "a.png", transform=brightness)


def test_preparation_of_the_model_is_used(model):
    picture = Image.new("L", (4, 4))
    model.preparation = brightness
    assert len(predict(model, picture)) == 1


def test_picture_without_preparation_is_refused(model):
    with pytest.raises(ConfigError, match="nothing says how to prepare them; give transform="):
        predict(model, Image.new("L", (4, 4)))


@pytest.mark.parametrize("images", [[], IMAGES[:0]])
def test_nothing_to_predict_is_refused(model, images):
    with pytest.raises((DataError, ConfigError), match="empty"):
        predict(model, images)


def test_what_is_no_image_is_refused(model):
    with pytest.raises(DataError, match="images is a int; give a tensor"):
        predict(model, 3)
