"""The table per layer: the papers' counts, its text, what it leaves alone, and how it fails."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from classicnets.errors import ConfigError
from classicnets.layer_table import summary
from classicnets.models import (
    AlexNet,
    AlexNetPaper,
    LectureCNN,
    LeNet1,
    LeNet5,
    LeNet5Paper,
    LeNet1989,
    LeNetCatDog,
    SequentialCNN,
)

LENET5 = """\
LeNet5, input 1x32x32

layer     type       output    parameters  connections  multiply-adds  field  jump
----------------------------------------------------------------------------------
features
  c1      Conv2d     6x28x28          156      122,304        117,600      5     1
          (32 - 5 + 2*0)/1 + 1 = 28
  act1    Tanh       6x28x28                                               5     1
  s2      AvgPool2d  6x14x14                     4,704                     6     2
          (28 - 2 + 2*0)/2 + 1 = 14
  c3      Conv2d     16x10x10       2,416      241,600        240,000     14     2
          (14 - 5 + 2*0)/1 + 1 = 10
  act3    Tanh       16x10x10                                             14     2
  s4      AvgPool2d  16x5x5                      1,600                    16     4
          (10 - 2 + 2*0)/2 + 1 = 5
classifier
  c5      Linear     120           48,120       48,120         48,000     32     -
  act5    Tanh       120                                                  32     -
  f6      Linear     84            10,164       10,164         10,080     32     -
  act6    Tanh       84                                                   32     -
  output  Linear     10               850          850            840     32     -
----------------------------------------------------------------------------------
total                              61,706      429,342        416,520"""


def meta(net, *args, **options):
    with torch.device("meta"):
        return net(*args, **options)


def rows_of(*layers, shape):
    return summary(nn.Sequential(*layers), shape).rows


def test_the_table_of_lenet5_reads_as_printed():
    assert str(summary(LeNet5())) == LENET5


@pytest.mark.parametrize(
    ("net", "options", "parameters", "fixed"),
    [
        (LeNet5, {}, 61_706, 0),
        (LeNet5Paper, {}, 60_000, 840),
        (SequentialCNN, {}, 123_222, 0),
        (LectureCNN, {}, 896_522, 0),
        (LeNetCatDog, {}, 46_038_242, 0),
        (AlexNet, {}, 61_100_840, 0),
        (AlexNet, {"num_classes": 2, "hidden": (4096, 512)}, 42_321_218, 0),
        (AlexNetPaper, {}, 60_965_224, 0),
        (LeNet1, {}, 2_578, 0),
        (LeNet1989, {}, 9_760, 0),
    ],
)
def test_totals_of_parameters_are_those_of_the_design(net, options, parameters, fixed):
    table = summary(meta(net, **options))
    assert (table.parameters, table.fixed) == (parameters, fixed)
    assert sum(row.parameters for row in table.rows) == parameters


@pytest.mark.parametrize(
    ("net", "connections"), [(LeNet5Paper, 340_908), (LeNet1, 98_442), (LeNet1989, 64_660)]
)
def test_totals_of_connections_are_those_of_the_papers(net, connections):
    assert summary(net()).connections == connections


def test_layers_of_lenet5_paper_have_the_counts_of_1998():
    counts = {
        row.name.split(".")[1]: (row.parameters, row.connections)
        for row in summary(LeNet5Paper()).rows
        if row.connections
    }
    assert counts == {
        "c1": (156, 122_304),
        "s2": (12, 5_880),
        "c3": (1_516, 151_600),
        "s4": (32, 2_000),
        "c5": (48_120, 48_120),
        "f6": (10_164, 10_164),
        "output": (0, 840),
    }


@pytest.mark.parametrize(
    ("net", "multiply_adds"),
    [(AlexNetPaper, 724_406_816), (AlexNet, 714_188_480), (LeNet1, 94_592)],
)
def test_totals_of_multiply_adds_are_those_published(net, multiply_adds):
    assert summary(meta(net)).multiply_adds == multiply_adds


@pytest.mark.parametrize("net", [LeNet5, SequentialCNN, LectureCNN, LeNetCatDog, AlexNetPaper])
def test_multiply_adds_are_half_the_operations_that_torch_counts(net):
    model = meta(net)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, *net.input_shape, device="meta"))
    assert 2 * summary(model).multiply_adds == counter.get_total_flops()


def test_fixed_numbers_stand_in_brackets():
    text = str(summary(LeNet5Paper()))
    assert "  output  RBFOutput    10             (840)          840" in text
    assert text.endswith("(n) fixed numbers, not trained: 840")


def test_receptive_field_and_jump_follow_the_windows_through_pointwise_layers_and_views():
    rows = {row.name: row for row in summary(meta(AlexNet)).rows}
    assert (rows["features.12"].receptive_field, rows["features.12"].jump) == (195, 32)
    assert (rows["classifier.0"].receptive_field, rows["classifier.0"].jump) == (195, None)
    assert (rows["classifier.6"].receptive_field, rows["classifier.6"].jump) == (224, None)


def test_in_place_layers_keep_the_receptive_field():
    rows = rows_of(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), shape=(1, 8, 8))
    assert [row.receptive_field for row in rows] == [3, 3, 4]


def test_an_unknown_layer_shows_what_can_be_known_and_ends_the_receptive_field():
    layers = [nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 3, 2), nn.Tanh(), nn.Conv2d(3, 1, 3)]
    rows = rows_of(*layers, nn.Flatten(), nn.Linear(25, 2), shape=(1, 8, 8))
    unknown = rows[1]
    assert (unknown.parameters, unknown.output_shape) == (27, (3, 7, 7))
    assert (unknown.connections, unknown.multiply_adds, unknown.formula) == (None, None, None)
    assert [row.receptive_field for row in rows] == [3, None, None, None, None, 8]
    assert rows[3].formula == "(7 - 3 + 2*0)/1 + 1 = 5"


def test_functions_in_forward_end_the_receptive_field():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x):
            return self.second(torch.max_pool2d(self.first(x), 2))

    first, second = summary(Net(), (1, 16, 16)).rows
    assert (first.receptive_field, second.receptive_field) == (3, None)


def test_dropped_pixels_are_marked_and_counted():
    table = summary(nn.Sequential(nn.Conv2d(3, 8, 11, stride=4)), (3, 224, 224))
    assert table.rows[0].dropped == 1
    assert "(224 - 11 + 2*0)/4 + 1 = 54.25 -> 54  ! drops 1\n" in str(table)
    assert str(table).endswith("! rows (x columns) that no window reads")
    assert "!" not in str(summary(nn.Sequential(nn.Conv2d(3, 8, 11, stride=4)), (3, 227, 227)))


def test_height_and_width_are_apart_where_they_differ():
    (row,) = rows_of(nn.MaxPool2d((2, 3), ceil_mode=True), shape=(1, 7, 9))
    assert row.formula == ("H (7 - 2 + 2*0)/2 + 1 = 3.5 -> 4 (ceil), W (9 - 3 + 2*0)/3 + 1 = 3")
    assert (row.receptive_field, row.jump, row.dropped) == ((2, 3), (2, 3), 0)
    (row,) = rows_of(nn.AvgPool2d(2), shape=(1, 8, 9))
    assert row.dropped == (0, 1)
    assert "! drops 0x1" in str(summary(nn.Sequential(nn.AvgPool2d(2)), (1, 8, 9)))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_padding_by_name_is_understood():
    rows = rows_of(
        nn.Conv2d(1, 1, 5, padding="same"),
        nn.Conv2d(1, 1, 5, padding="valid"),
        nn.Conv2d(1, 1, 4, padding="same"),
        shape=(1, 9, 9),
    )
    formulas = ["(9 - 5 + 2*2)/1 + 1 = 9", "(9 - 5 + 2*0)/1 + 1 = 5", None]
    assert [row.formula for row in rows] == formulas
    assert [row.output_shape for row in rows] == [(1, 9, 9), (1, 5, 5), (1, 5, 5)]


def test_a_layer_used_twice_is_counted_once():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    table = summary(nn.Sequential(layer, nn.Tanh(), layer), (2, 8, 8))
    assert [row.parameters for row in table.rows] == [38, 0, 0]
    assert [row.name for row in table.rows] == ["0", "1", "0"]
    assert (table.parameters, table.multiply_adds) == (38, 2 * 8 * 8 * 2 * 18)


def test_tied_weights_are_counted_once():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    table = summary(nn.Sequential(nn.Flatten(), first, second), (1, 2, 2))
    assert [row.parameters for row in table.rows] == [0, 16, 0]
    assert table.parameters == 16


def test_frozen_weights_and_buffers_are_fixed():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    net[0].weight.requires_grad_(False)
    table = summary(net, (1, 8, 8))
    assert [(row.parameters, row.fixed) for row in table.rows] == [(4, 36), (8, 8)]
    assert (table.parameters, table.fixed) == (12, 44)


def test_parameters_outside_the_layers_are_in_the_total_and_in_a_note():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.layer = nn.Parameter(torch.ones(3)), nn.Conv2d(1, 3, 3)

        def forward(self, x):
            return self.layer(x) * self.scale.view(-1, 1, 1)

    table = summary(Net(), (1, 8, 8))
    assert table.parameters == 33
    assert str(table).endswith("parameters that lie in none of these layers: 3")


def test_a_single_layer_is_a_net():
    (row,) = summary(nn.Conv2d(1, 6, 5), (1, 32, 32)).rows
    assert (row.name, row.output_shape, row.receptive_field) == ("Conv2d", (6, 28, 28), 5)


def test_layers_whose_output_is_no_tensor_have_no_shape():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    (row,) = summary(Pair(), (1, 4, 4)).rows
    assert (row.output_shape, row.connections, row.receptive_field) == (None, None, None)


def test_rows_turn_into_json():
    table = summary(LeNet5())
    data = json.loads(json.dumps(table.to_dict()))
    assert data["model"] == "LeNet5"
    assert data["parameters"] == 61_706
    assert data["rows"][0] == {
        "name": "features.c1",
        "type": "Conv2d",
        "formula": "(32 - 5 + 2*0)/1 + 1 = 28",
        "output_shape": [6, 28, 28],
        "parameters": 156,
        "fixed": 0,
        "connections": 122_304,
        "multiply_adds": 117_600,
        "receptive_field": 5,
        "jump": 1,
        "dropped": 0,
    }


def test_a_notebook_shows_the_same_lines():
    table = summary(LeNet5Paper())
    html = table._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") == len(str(table).splitlines()) - 5
    assert ">(840)</td>" in html
    assert "<caption>LeNet5Paper, input 1x32x32</caption>" in html
    named = type("<Net>", (nn.Sequential,), {})(nn.Tanh())
    assert "<caption>&lt;Net&gt;, input" in summary(named, (1, 4, 4))._repr_html_()


def test_the_model_is_left_as_it_was():
    calls = []
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU())
    net[3].eval()
    net[1].register_forward_hook(lambda *_: calls.append("hook"))
    net[0](torch.ones(1, 1, 8, 8)).sum().backward()
    before, gradient = copy.deepcopy(net.state_dict()), net[0].weight.grad.clone()
    pointers = [parameter.data_ptr() for parameter in net.parameters()]
    random_state = torch.get_rng_state()
    summary(net, (1, 8, 8))
    assert calls == []
    assert [module.training for module in net.modules()] == [True, True, True, True, False]
    assert [len(module._forward_hooks) for module in net.modules()] == [0, 0, 1, 0, 0]
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(net[0].weight.grad, gradient)
    assert [parameter.data_ptr() for parameter in net.parameters()] == pointers
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_precision_are_taken(dtype):
    assert str(summary(LeNet5Paper().to(dtype))) == str(summary(LeNet5Paper()))


def test_a_net_on_the_meta_device_is_taken():
    assert str(summary(meta(LeNet5))) == LENET5


def test_a_compiled_net_is_taken_for_what_it_wraps():
    assert str(summary(torch.compile(LeNet5()))) == LENET5


def test_a_failing_layer_is_named_under_the_size_that_works_and_the_table_so_far():
    net = nn.Sequential(nn.Conv2d(1, 2, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10))
    with pytest.raises(ConfigError) as caught:
        summary(net, (1, 20, 24))
    first, _, *table = str(caught.value).splitlines()
    assert first.startswith(
        "Sequential cannot take 1x20x24, the smallest square that works: 1x28x28; 3 (Linear) fails:"
    )
    assert "1x160 and 288x10" in first
    assert table == [
        "layer  type       output   parameters  connections  multiply-adds  field  jump",
        "------------------------------------------------------------------------------",
        "0      Conv2d     2x16x20          52       16,640         16,000      5     1",
        "       H (20 - 5 + 2*0)/1 + 1 = 16, W (24 - 5 + 2*0)/1 + 1 = 20",
        "1      MaxPool2d  2x8x10                       640                     6     2",
        "       H (16 - 2 + 2*0)/2 + 1 = 8, W (20 - 2 + 2*0)/2 + 1 = 10",
        "2      Flatten    160                                                  6     -",
    ]


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (
            LeNet5,
            (1, 20, 20),
            r"LeNet5 cannot take 1x20x20, .* works: 1x32x32; classifier\.c5 \(Linear\) fails: "
            r"[\s\S]*s4 .* 16x2x2",
        ),
        (LeNet5, (1, 40, 40), r"cannot take 1x40x40, .* works: 1x32x32; classifier\.c5 \(Linear\)"),
        (
            LeNet5,
            (3, 32, 32),
            r"cannot take 3x32x32, .* works: 1x32x32; features\.c1 .* 1 channels",
        ),
        (LeNet1989, (3, 16, 16), r"works: 1x15x15; features\.h1 \(UnitBiasConv2d\) fails"),
        (
            LeNet5,
            (1, 4, 4),
            r"features\.c1 \(Conv2d\) fails: height is 4, .* \(4 - 5 \+ 2\*0\)/1 \+ 1 = 0",
        ),
        (AlexNet, (3, 62, 62), r"works: 3x63x63; features\.12 \(MaxPool2d\) .* window of 3"),
        (AlexNetPaper, (3, 224, 224), r"works: 3x227x227; classifier\.fc6 [\s\S]*! drops 1"),
    ],
)
def test_our_nets_show_how_far_their_layers_would_get(net, shape, message):
    with pytest.raises(ConfigError, match=message):
        summary(meta(net) if net is not LeNet5 else net(), shape)


def test_a_net_that_no_square_suits_says_so():
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3, 1))
    with pytest.raises(
        ConfigError, match=r"smallest square that works: none up to 512x512; 1 \(Lin"
    ):
        summary(net, (1, 4, 4))


def test_a_net_that_fails_outside_its_layers_gives_its_own_words():
    class Net(nn.Module):
        def forward(self, x):
            if x.shape[-1] < 7:
                raise RuntimeError("too narrow")
            return x

    with pytest.raises(ConfigError, match=r"^Net cannot take 1x4x4, .* 1x7x7; too narrow$"):
        summary(Net(), (1, 4, 4))


def test_a_missing_or_malformed_input_shape_says_what_to_give():
    net = nn.Sequential(nn.Conv2d(1, 1, 3))
    with pytest.raises(ConfigError, match=r"not given and Sequential has none .* give \(C, H, W\)"):
        summary(net)
    for shape in ((28, 28), (1, 1, 28, 28), (1, 0, 28), (1, 2.0, 28), 28):
        with pytest.raises(ConfigError, match=r"input_shape is .*; give \(C, H, W\), three ints"):
            summary(net, shape)
