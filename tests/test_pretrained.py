import pytest

from classicnets import LeNet5, create_model, list_models
from classicnets.errors import ConfigError


def test_create_model_builds_the_net_of_that_name_with_its_options():
    net = create_model("lenet5", num_classes=3, pooling="max")
    assert type(net) is LeNet5
    assert net.options["num_classes"] == 3
    assert net.options["pooling"] == "max"


def test_create_model_refuses_an_unknown_name():
    with pytest.raises(ConfigError, match=r"name is 'lenet9', did you mean 'lenet5'\?"):
        create_model("lenet9")


def test_create_model_refuses_an_unknown_option_and_lists_the_known():
    with pytest.raises(ConfigError, match=r"depth is no option of lecture_cnn, which takes num_cl"):
        create_model("lecture_cnn", depth=3)
    with pytest.raises(ConfigError, match=r"depth is no option of lenet1, which has no options"):
        create_model("lenet1", depth=3)


@pytest.mark.parametrize("name", list_models())
def test_create_model_says_that_no_weights_ship_yet(name):
    with pytest.raises(ConfigError, match=rf"ships no weights; .* classicnets train {name}$"):
        create_model(name, pretrained=True)
