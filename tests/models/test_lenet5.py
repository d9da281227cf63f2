import pytest
import torch
from torch import nn

from classicnets import LeNet5, LeNet5Paper
from classicnets.errors import ConfigError
from classicnets.layers import ScaledTanh
from classicnets.models.lenet5 import C3_TABLE, digit_codes

# LeNet-5 as printed: Table I as lists, and Fig. 3 as rows of 7 bits
TABLE_I = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
FIGURE_3 = (
    (62, 0, 28, 54, 99, 99, 99, 99, 54, 28, 0, 0),
    (12, 28, 60, 12, 12, 12, 12, 12, 12, 63, 0, 0),
    (62, 0, 62, 99, 67, 6, 28, 48, 96, 127, 0, 0),
    (127, 3, 6, 12, 30, 3, 3, 3, 99, 62, 0, 0),
    (62, 0, 0, 51, 51, 115, 99, 99, 103, 63, 3, 3),
    (62, 0, 127, 96, 96, 60, 30, 3, 99, 62, 0, 0),
    (30, 48, 96, 96, 126, 115, 99, 99, 115, 62, 0, 0),
    (127, 3, 3, 6, 12, 12, 24, 24, 24, 24, 0, 0),
    (62, 99, 99, 99, 62, 99, 99, 99, 99, 62, 0, 0),
    (62, 103, 99, 99, 103, 63, 3, 3, 6, 60, 0, 0),
)


def test_lenet5_paper_layers_have_the_papers_shapes_parameters_and_connections(layer_facts):
    facts = layer_facts(LeNet5Paper)
    layers = {name: facts[name] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")}
    assert layers == {
        "c1": ((6, 28, 28), 156, 122_304),
        "s2": ((6, 14, 14), 12, 5_880),
        "c3": ((16, 10, 10), 1_516, 151_600),
        "s4": ((16, 5, 5), 32, 2_000),
        "c5": ((120, 1, 1), 48_120, 48_120),
        "f6": ((84,), 10_164, 10_164),
        "output": ((10,), 0, 840),
    }
    assert sum(layer.connections for layer in layers.values()) == 340_908


def test_lenet5_paper_has_60000_trainable_parameters_and_840_fixed():
    net = LeNet5Paper()
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 60_000
    assert {name: b.numel() for name, b in net.state_dict().items() if "codes" in name} == {
        "classifier.output.codes": 840
    }


def test_lenet5_paper_squashes_after_every_layer_but_the_output():
    net = LeNet5Paper()
    assert list(dict(net.features.named_children())) == (
        ["c1", "act1", "s2", "act2", "c3", "act3", "s4", "act4", "c5", "act5"]
    )
    assert list(dict(net.classifier.named_children())) == ["f6", "act6", "output"]
    layers = [*net.features, *net.classifier]
    assert all(isinstance(layer, ScaledTanh) for layer in layers[1::2])
    assert len(layers[1::2]) == 6


def test_c3_table_is_table_i():
    assert tuple(tuple(map(int, maps)) for maps in TABLE_I.split()) == C3_TABLE
    assert sum(map(len, C3_TABLE)) == 60
    assert all(sum(source in maps for maps in C3_TABLE) == 10 for source in range(6))


def test_c3_sees_only_the_maps_of_its_table():
    c3 = LeNet5Paper().features.c3
    x = torch.randn(1, 6, 14, 14, requires_grad=True)
    for row, maps in enumerate(C3_TABLE):
        (gradient,) = torch.autograd.grad(c3(x)[0, row].sum(), x)
        assert set(gradient.abs().sum(dim=(0, 2, 3)).nonzero().flatten().tolist()) == set(maps)


def test_digit_codes_are_figure_3():
    codes = digit_codes()
    assert codes.unique().tolist() == [-1, 1]
    for code, rows in zip(codes.view(10, 12, 7), FIGURE_3, strict=True):
        bits = "".join(f"{row:07b}" for row in rows)
        assert code.flatten().tolist() == [1 if bit == "1" else -1 for bit in bits]


def test_digit_codes_have_the_known_ink_and_distances():
    codes = digit_codes()
    assert (codes == 1).sum(1).tolist() == [35, 27, 33, 32, 41, 35, 39, 25, 43, 39]
    distances = {
        (i, j): int((codes[i] != codes[j]).sum()) for i in range(10) for j in range(i + 1, 10)
    }
    assert min(distances.values()) == distances[6, 8] == 12
    farthest = {pair for pair, distance in distances.items() if distance == 50}
    assert max(distances.values()) == 50
    assert farthest == {(1, 4), (1, 8), (4, 7)}
    assert sum(distances.values()) / 45 == pytest.approx(31.09, abs=0.005)


def test_lenet5_paper_starts_within_the_papers_bounds():
    torch.manual_seed(0)
    net = LeNet5Paper()
    fan_in = {"features.c1": 25, "features.c5": 400, "classifier.f6": 120}
    for name, inputs in fan_in.items():
        layer = net.get_submodule(name)
        assert 0.8 * 2.4 / inputs < layer.weight.abs().max() <= 2.4 / inputs
        assert layer.bias.abs().max() == 0
    links = iter(net.features.c3.weight)
    for maps in C3_TABLE:
        drawn = torch.stack([next(links) for _ in maps])
        assert 0.8 * 2.4 / (25 * len(maps)) < drawn.abs().max() <= 2.4 / (25 * len(maps))
    for layer in (net.features.s2, net.features.s4):
        assert (layer.weight == 1).all()
        assert (layer.bias == 0).all()


def test_the_nearest_code_is_the_prediction():
    net = LeNet5Paper()
    codes = digit_codes()
    scores = net.classifier.output(0.7 * codes)
    assert scores.argmax(1).tolist() == list(range(10))


def test_lenet5_layers_have_their_shapes_and_61706_parameters(layer_facts):
    facts = layer_facts(LeNet5)
    assert {name: fact[:2] for name, fact in facts.items() if not name.startswith("act")} == {
        "c1": ((6, 28, 28), 156),
        "s2": ((6, 14, 14), 0),
        "c3": ((16, 10, 10), 2_416),
        "s4": ((16, 5, 5), 0),
        "c5": ((120,), 48_120),
        "f6": ((84,), 10_164),
        "output": ((10,), 850),
    }
    assert sum(fact.parameters for fact in facts.values()) == 61_706
    assert " ".join(facts) == "c1 act1 s2 c3 act3 s4 c5 act5 f6 act6 output"


def test_lenet5_on_colour_has_62006_parameters(layer_facts):
    facts = layer_facts(LeNet5, in_channels=3)
    assert sum(fact.parameters for fact in facts.values()) == 62_006


@pytest.mark.parametrize(
    ("activation", "layer"), [("tanh", nn.Tanh), ("relu", nn.ReLU), ("sigmoid", nn.Sigmoid)]
)
def test_lenet5_activation_stands_in_all_four_places(activation, layer):
    net = LeNet5(activation=activation)
    standing = [m for name, m in net.named_modules() if ".act" in name]
    assert [isinstance(m, layer) for m in standing] == [True] * 4


@pytest.mark.parametrize(("pooling", "layer"), [("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)])
def test_lenet5_pooling_stands_in_both_places(pooling, layer):
    net = LeNet5(pooling=pooling)
    assert isinstance(net.features.s2, layer)
    assert isinstance(net.features.s4, layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes is 0; give an int of at least 1"),
        ({"num_classes": 2.0}, r"num_classes is 2\.0; give an int of at least 1"),
        ({"num_classes": True}, r"num_classes is True; give an int of at least 1"),
        ({"in_channels": -1}, r"in_channels is -1; give an int of at least 1"),
        ({"activation": "swish"}, r"activation is 'swish'; choose one of 'tanh', 'relu', 'sigm"),
        ({"pooling": None}, r"pooling is None; choose one of 'avg', 'max'"),
    ],
)
def test_lenet5_refuses_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        LeNet5(**options)
