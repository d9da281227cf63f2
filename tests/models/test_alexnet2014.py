import math

import pytest
import torch
import torchvision

from classicnets import AlexNet
from classicnets.errors import ConfigError

PARAMETERS = [23_296, 307_392, 663_936, 884_992, 590_080, 37_752_832, 16_781_312, 4_097_000]


def test_alexnet_layers_have_the_known_shapes_and_parameters(layer_facts):
    facts = layer_facts(AlexNet)
    assert [fact.parameters for fact in facts.values() if fact.parameters] == PARAMETERS
    assert sum(PARAMETERS) == 61_100_840
    assert {name: facts[name].shape for name in ("0", "2", "3", "5", "6", "8", "10", "12")} == {
        "0": (64, 55, 55),
        "2": (64, 27, 27),
        "3": (192, 27, 27),
        "5": (192, 13, 13),
        "6": (384, 13, 13),
        "8": (256, 13, 13),
        "10": (256, 13, 13),
        "12": (256, 6, 6),
    }


def test_the_cats_vs_dogs_alexnet_has_42321218_parameters(layer_facts):
    facts = layer_facts(AlexNet, 2, hidden=(4096, 512))
    assert sum(fact.parameters for fact in facts.values()) == 42_321_218


@pytest.fixture(scope="module")
def twins():
    """Torchvision's net with random weights, and ours that loaded them."""
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet().eval()
    with torch.device("meta"):
        ours = AlexNet().eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    return ours, theirs


# 63 is the smallest; 224 gives a 6x6 last map; 255 and above are pooled down to it
@pytest.mark.parametrize("size", [(63, 63), (224, 224), (223, 254), (260, 100)])
@torch.no_grad()
def test_alexnet_with_torchvisions_weights_gives_its_logits_bit_for_bit(twins, size):
    ours, theirs = twins
    images = torch.randn(2, 3, *size)
    assert torch.equal(ours(images), theirs(images))


def test_alexnet_drops_as_torchvision_does(twins):
    ours, theirs = twins
    assert [type(layer) for layer in ours.classifier] == [
        type(layer) for layer in theirs.classifier
    ]


@pytest.mark.parametrize("init", ["paper", "modern"])
def test_alexnet_starts_as_its_option_says(init):
    torch.manual_seed(0)
    net = AlexNet(10, hidden=(1024, 1024), init=init)
    layers = [layer for layer in [*net.features, *net.classifier] if hasattr(layer, "weight")]
    if init == "paper":
        deviations = [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01]
        biases = [0, 1, 0, 1, 1, 1, 1, -7]
    else:
        fan_in = [363, 1600, 1728, 3456, 2304, 9216, 1024]
        deviations, biases = [*(inputs**-0.5 for inputs in fan_in), 0.01], [0] * 8
    for layer, deviation, bias in zip(layers, deviations, biases, strict=True):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.03)
        assert (layer.bias == bias).all()


def test_alexnet_starts_with_a_loss_near_that_of_guessing():
    torch.manual_seed(0)
    net = AlexNet(10, hidden=(1024, 1024))
    loss = torch.nn.functional.cross_entropy(net(torch.randn(4, 3, 224, 224)), torch.arange(4))
    assert loss.item() == pytest.approx(math.log(10), rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes is 0; give an int of at least 1"),
        ({"hidden": (4096,)}, r"hidden is \(4096,\); give two widths, such as \(4096, 4096\)"),
        ({"hidden": 4096}, r"hidden is 4096; give two widths"),
        ({"hidden": (4096, 0)}, r"hidden\[1\] is 0; give an int of at least 1"),
        ({"dropout": 1.0}, r"dropout is 1\.0; give a number from 0 to below 1"),
        ({"dropout": "0.5"}, r"dropout is '0\.5'; give a number"),
        ({"in_channels": 0}, r"in_channels is 0; give an int of at least 1"),
        ({"init": "torch"}, r"init is 'torch'; choose one of 'modern', 'paper'"),
    ],
)
def test_alexnet_refuses_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        AlexNet(**options)
