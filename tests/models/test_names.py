import pytest

import classicnets
from classicnets import list_models, models
from classicnets.errors import ConfigError
from classicnets.models import model_class


def test_list_models_names_the_nine_nets_in_the_order_of_the_readme():
    assert list_models() == [
        "lenet5",
        "lenet5_paper",
        "sequential_cnn",
        "lecture_cnn",
        "lenet_catdog",
        "alexnet",
        "alexnet_paper",
        "lenet1",
        "lenet1989",
    ]


def test_every_net_is_public_under_its_class_name():
    classes = [model_class(name) for name in list_models()]
    names = [found.__name__ for found in classes]
    assert len(set(names)) == 9
    for name, found in zip(names, classes, strict=True):
        assert getattr(classicnets, name) is getattr(models, name) is found
        assert name in models.__all__
        assert name in dir(models)


def test_a_name_that_is_almost_right_brings_a_suggestion():
    with pytest.raises(ConfigError, match=r"name is 'LeNet5', did you mean 'lenet5'\? choose one"):
        model_class("LeNet5")


def test_a_name_that_is_wrong_lists_the_right_ones():
    with pytest.raises(ConfigError, match=r"name is 'vgg', choose one of: lenet5, .* lenet1989$"):
        model_class("vgg")


def test_a_wrong_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'LeNet4'"):
        models.LeNet4  # noqa: B018
