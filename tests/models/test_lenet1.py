import torch

from classicnets import LeNet1
from classicnets.layers import ScaledTanh
from classicnets.models.lenet1 import H3_TABLE

# Table 1 of NIPS 1989: rows are H2 maps, columns H3 maps
TABLE_1 = """
x x x . x x . . . . . .
. x x x x x . . . . . .
. . . . . . x x x . x x
. . . . . . . x x x x x
"""


def test_lenet1_layers_have_the_papers_shapes_parameters_and_connections(layer_facts):
    facts = layer_facts(LeNet1)
    layers = {name: fact for name, fact in facts.items() if not name.startswith("act")}
    assert layers == {
        "h1": ((4, 24, 24), 104, 59_904),
        "h2": ((4, 12, 12), 8, 2_880),
        "h3": ((12, 8, 8), 512, 32_768),
        "h4": ((12, 4, 4), 24, 960),
        "output": ((10,), 1_930, 1_930),
    }
    assert sum(layer.parameters for layer in layers.values()) == 2_578
    assert sum(layer.connections for layer in layers.values()) == 98_442


def test_lenet1_has_4635_units_with_the_input_and_the_bias(layer_facts):
    facts = layer_facts(LeNet1)
    hidden = [torch.Size(fact.shape).numel() for name, fact in facts.items() if name[0] != "a"]
    assert 28 * 28 + sum(hidden) + 1 == 4_635


def test_h3_table_is_table_1_with_20_links():
    rows = [line.split() for line in TABLE_1.split("\n") if line]
    columns = tuple(
        tuple(source for source in range(4) if rows[source][column] == "x") for column in range(12)
    )
    assert columns == H3_TABLE
    assert sum(map(len, H3_TABLE)) == 20


def test_lenet1_squashes_between_its_layers():
    net = LeNet1()
    names = list(dict(net.features.named_children()))
    assert names == ["h1", "act1", "h2", "act2", "h3", "act3", "h4", "act4"]
    assert all(isinstance(layer, ScaledTanh) for layer in net.features[1::2])
    assert list(dict(net.classifier.named_children())) == ["output"]


def test_lenet1_starts_within_the_bounds_of_its_fan_in():
    torch.manual_seed(0)
    net = LeNet1()
    assert 0.8 * 2.4 / 25 < net.features.h1.weight.abs().max() <= 2.4 / 25
    assert 0.8 * 2.4 / 192 < net.classifier.output.weight.abs().max() <= 2.4 / 192
