import torch

from classicnets import LeNet1989
from classicnets.layers import ScaledTanh
from classicnets.models.lenet1989 import H2_TABLE


def test_lenet1989_layers_have_the_papers_shapes_parameters_and_connections(layer_facts):
    facts = layer_facts(LeNet1989)
    layers = {name: fact for name, fact in facts.items() if not name.startswith("act")}
    assert layers == {
        "h1": ((12, 8, 8), 1_068, 19_968),
        "h2": ((12, 4, 4), 2_592, 38_592),
        "h3": ((30,), 5_790, 5_790),
        "output": ((10,), 310, 310),
    }
    assert sum(layer.parameters for layer in layers.values()) == 9_760
    assert sum(layer.connections for layer in layers.values()) == 64_660


def test_lenet1989_has_1256_units_with_the_input(layer_facts):
    facts = layer_facts(LeNet1989)
    units = [torch.Size(fact.shape).numel() for name, fact in facts.items() if name[0] != "a"]
    assert 16 * 16 + sum(units) == 1_256


def test_every_hidden_unit_of_the_two_first_layers_has_its_own_bias():
    net = LeNet1989()
    assert net.features.h1.bias.shape == (12, 8, 8)
    assert net.features.h2.bias.shape == (12, 4, 4)


def test_each_h2_map_sees_eight_h1_maps_and_each_h1_map_is_seen_equally_often():
    assert [len(set(maps)) for maps in H2_TABLE] == [8] * 12
    assert [sum(source in maps for maps in H2_TABLE) for source in range(12)] == [8] * 12


def test_all_units_are_squashed_the_output_too():
    net = LeNet1989()
    layers = [*net.features, *net.classifier]
    assert all(isinstance(layer, ScaledTanh) for layer in layers[1::2])
    assert net(1e3 * torch.randn(5, 1, 16, 16)).abs().max() <= 1.7159


def test_the_border_is_background():
    # a picture of background alone: every unit of a map then sees the same, border or not
    net = LeNet1989()
    maps = net.features.h1(torch.full((1, 1, 16, 16), -1.0))
    torch.testing.assert_close(maps, maps[:, :, :1, :1].expand_as(maps))
