import pytest
import torch

from classicnets import AlexNetPaper
from classicnets.errors import ConfigError

LAYERS = {
    "conv1": ((96, 55, 55), 34_944),
    "pool1": ((96, 27, 27), 0),
    "conv2": ((256, 27, 27), 307_456),
    "pool2": ((256, 13, 13), 0),
    "conv3": ((384, 13, 13), 885_120),
    "conv4": ((384, 13, 13), 663_936),
    "conv5": ((256, 13, 13), 442_624),
    "pool5": ((256, 6, 6), 0),
    "fc6": ((4096,), 37_752_832),
    "fc7": ((4096,), 16_781_312),
    "fc8": ((1000,), 4_097_000),
}


@pytest.mark.parametrize("conv1_padding", [0, 2])
def test_alexnet_paper_layers_have_the_papers_shapes_and_parameters(layer_facts, conv1_padding):
    facts = layer_facts(AlexNetPaper, conv1_padding=conv1_padding)
    assert {name: facts[name][:2] for name in LAYERS} == LAYERS
    assert sum(fact.parameters for fact in facts.values()) == 60_965_224


def test_alexnet_paper_normalises_after_relu_and_before_pooling(layer_facts):
    assert " ".join(layer_facts(AlexNetPaper)) == (
        "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
        "fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )


def test_alexnet_paper_has_659272_neurons(layer_facts):
    facts = layer_facts(AlexNetPaper)
    neurons = {n: torch.Size(f.shape).numel() for n, f in facts.items() if n[:2] in ("co", "fc")}
    assert neurons["conv1"] == 290_400  # Fig. 2 prints 253,440, a slip
    assert sum(neurons.values()) == 659_272


def test_alexnet_paper_takes_227_or_224_with_padding_2():
    with torch.device("meta"):
        assert AlexNetPaper().input_shape == (3, 227, 227)
        assert AlexNetPaper(conv1_padding=2).input_shape == (3, 224, 224)


@pytest.mark.parametrize(("lrn", "alpha"), [("paper", 1e-4), ("cuda-convnet", 2e-5)])
def test_alexnet_paper_norms_have_the_constants_of_their_convention(lrn, alpha):
    with torch.device("meta"):
        net = AlexNetPaper(lrn=lrn)
    for norm in (net.features.norm1, net.features.norm2):
        assert (norm.n, norm.alpha, norm.beta, norm.k) == (5, alpha, 0.75, 2)


@pytest.mark.parametrize("init", ["paper", "modern"])
def test_alexnet_paper_starts_as_its_option_says(init):
    torch.manual_seed(0)
    net = AlexNetPaper(init=init)
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"} if init == "paper" else set()
    fan_in = {"conv1": 363, "conv2": 1200, "conv3": 2304, "conv4": 1728, "conv5": 1728}
    fan_in |= {"fc6": 9216, "fc7": 4096, "fc8": 4096}
    for part in (net.features, net.classifier):
        for name, layer in part.named_children():
            if name in fan_in:
                by_fan_in = init == "modern" and name != "fc8"
                deviation = fan_in[name] ** -0.5 if by_fan_in else 0.01
                assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
                assert layer.bias.unique().tolist() == [name in ones]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": "10"}, r"num_classes is '10'; give an int of at least 1"),
        ({"conv1_padding": 6}, r"conv1_padding is 6; give an int from 0 to 5"),
        ({"lrn": "caffe"}, r"lrn is 'caffe'; choose one of 'paper', 'cuda-convnet'"),
        ({"init": "he"}, r"init is 'he'; choose one of 'modern', 'paper'"),
    ],
)
def test_alexnet_paper_refuses_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        AlexNetPaper(**options)
