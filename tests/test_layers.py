import math

import pytest
import torch
from torch import nn

from classicnets import create_model
from classicnets.errors import ConfigError
from classicnets.layers import (
    LocalResponseNorm,
    RBFOutput,
    ScaledTanh,
    Subsample2d,
    TableConv2d,
    UnitBiasConv2d,
    draw_by_fan_in,
)

TABLE = [(0, 2), (1,), (2, 0, 1)]


def random(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def convolution_in_loops(x, layer, stride, bias):
    """Every output unit from the formula; kernels are taken in the order of the table."""
    k, out = layer.kernel_size, torch.zeros(len(x), *bias.shape, dtype=x.dtype)
    for image in range(len(x)):
        kernels = iter(layer.weight)
        for row, maps in enumerate(layer.table):
            out[image, row] = bias[row]
            for source in maps:
                kernel = next(kernels)
                for i in range(bias.shape[1]):
                    for j in range(bias.shape[2]):
                        window = x[image, source, i * stride : i * stride + k, j * stride :][:, :k]
                        out[image, row, i, j] += (window * kernel).sum()
    return out


def norm_in_loops(x, n, alpha, beta, k):
    maps, out = x.shape[1], torch.empty_like(x)
    for i in range(maps):
        window = range(max(0, i - n // 2), min(maps - 1, i + n // 2) + 1)
        out[:, i] = x[:, i] / (k + alpha * sum(x[:, j] ** 2 for j in window)) ** beta
    return out


# ScaledTanh


def test_scaled_tanh_maps_one_to_one_with_the_papers_slopes():
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    y = ScaledTanh()(x)
    (slopes,) = torch.autograd.grad(y.sum(), x)
    assert y.tolist() == pytest.approx([-0.9999973, 0, 0.9999973], abs=1e-7)
    assert slopes.tolist() == pytest.approx([0.7554, 1.1439, 0.7554], abs=1e-4)


def test_scaled_tanh_bends_most_near_one():
    x = torch.linspace(0, 3, 3001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ScaledTanh()(x).sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    assert x[bend.abs().argmax()].item() == pytest.approx(0.988, abs=1e-3)


# Subsample2d


def test_subsample_is_the_mean_times_a_coefficient_plus_a_bias():
    layer, x = Subsample2d(3).double(), random(2, 3, 5, 7)
    with torch.no_grad():
        layer.weight.copy_(random(3))
        layer.bias.copy_(random(3) + 1)
    out = layer(x)
    assert out.shape == (2, 3, 2, 3)
    for channel in range(3):
        for i in range(2):
            for j in range(3):
                mean = x[:, channel, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(dim=(1, 2))
                expected = mean * layer.weight[channel] + layer.bias[channel]
                torch.testing.assert_close(out[:, channel, i, j], expected)


def test_subsample_starts_as_average_pooling():
    x = random(1, 4, 6, 6)
    assert torch.equal(Subsample2d(4).double()(x), nn.AvgPool2d(2)(x))


# TableConv2d


def test_table_convolution_equals_loops_over_its_links():
    layer, x = TableConv2d(3, TABLE, 3).double(), random(2, 3, 6, 7)
    with torch.no_grad():
        layer.bias.copy_(random(3))
    bias = layer.bias[:, None, None].expand(3, 4, 5)
    torch.testing.assert_close(layer(x), convolution_in_loops(x, layer, 1, bias))


def test_table_convolution_has_the_gradients_of_the_dense_one_on_its_links():
    layer, x = TableConv2d(3, TABLE, 3).double(), random(2, 3, 6, 7)
    dense = nn.Conv2d(3, 3, 3).double()
    links = [(row, source) for row, maps in enumerate(TABLE) for source in maps]
    with torch.no_grad():
        dense.weight.zero_()
        dense.bias.copy_(layer.bias)
        for link, weight in zip(links, layer.weight, strict=True):
            dense.weight[link] = weight
    for net in (layer, dense):
        net(x).square().sum().backward()
    for link, gradient in zip(links, layer.weight.grad, strict=True):
        torch.testing.assert_close(gradient, dense.weight.grad[link])


def test_table_convolution_keeps_only_its_parameters():
    assert set(TableConv2d(3, TABLE, 3).state_dict()) == {"weight", "bias"}


def test_table_convolution_draws_each_map_by_its_own_number_of_inputs():
    layer = TableConv2d(64, [(0,), range(64)], 5)
    one, many = layer.weight[:1], layer.weight[1:]
    assert 0.1 < one.abs().max() <= 1 / 5
    assert 0.02 < many.abs().max() <= 1 / 40
    assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("maps", [(), (0, 0), (3,), (-1,)])
def test_table_convolution_refuses_a_table_with_impossible_links(maps):
    with pytest.raises(ConfigError, match=r"output map 1 .* at least one of 0\.\.2, each at most"):
        TableConv2d(3, [(0,), maps], 3)


@pytest.mark.parametrize("assign", [False, True], ids=["to_empty", "assign"])
def test_table_convolution_built_on_meta_works_once_weights_are_loaded(assign):
    source, x = TableConv2d(3, TABLE, 3), torch.randn(1, 3, 6, 6)
    with torch.device("meta"):
        layer = TableConv2d(3, TABLE, 3)
    if not assign:
        layer.to_empty(device="cpu")
        layer._positions.fill_(10**6)
    layer.load_state_dict(source.state_dict(), assign=assign)
    assert torch.equal(layer(x), source(x))


# UnitBiasConv2d


def test_unit_bias_convolution_equals_loops_on_a_border_of_minus_one():
    layer = UnitBiasConv2d(3, TABLE, 3, (3, 4), stride=2, padding=1).double()
    x = random(2, 3, 5, 7)
    with torch.no_grad():
        layer.bias.copy_(random(3, 3, 4))
    bordered = torch.full((2, 3, 7, 9), -1.0, dtype=torch.float64)
    bordered[:, :, 1:-1, 1:-1] = x
    torch.testing.assert_close(layer(x), convolution_in_loops(bordered, layer, 2, layer.bias))


# RBFOutput


def test_rbf_output_is_minus_the_squared_distance():
    codes, x = random(4, 6).sign(), random(3, 6)
    out = RBFOutput(codes)(x)
    for image in range(3):
        for code in range(4):
            distance = sum((x[image, j] - codes[code, j]) ** 2 for j in range(6))
            torch.testing.assert_close(out[image, code], -distance)


def test_rbf_output_is_exactly_zero_on_a_code_and_codes_do_not_train():
    codes = random(4, 84).sign().float()
    layer = RBFOutput(codes)
    assert torch.equal(layer(codes).diagonal(), torch.zeros(4))
    assert torch.equal(layer(codes).argmax(1), torch.arange(4))
    assert not list(layer.parameters())


# LocalResponseNorm


@pytest.mark.parametrize("maps", [1, 3, 12])
def test_local_response_norm_is_the_printed_formula(maps):
    x = 30 * random(2, maps, 3, 4)
    expected = norm_in_loops(x, 5, 1e-4, 0.75, 2)
    torch.testing.assert_close(LocalResponseNorm(5, 1e-4, 0.75, 2.0)(x), expected)


def test_printed_alpha_is_five_times_smaller_than_torchs():
    x = 30 * random(2, 12, 3, 4)
    printed = LocalResponseNorm(5, 1e-4, 0.75, 2.0)(x)
    torch.testing.assert_close(printed, nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)(x))


def test_a_fifth_of_alpha_is_the_convention_of_cuda_convnet():
    x = 30 * random(2, 12, 3, 4)
    expected = norm_in_loops(x, 5, 1e-4 / 5, 0.75, 2)
    torch.testing.assert_close(LocalResponseNorm(5, 1e-4 / 5)(x), expected)
    torch.testing.assert_close(expected, nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)(x))


def test_local_response_norm_has_the_gradient_of_its_formula():
    x = (3 * random(1, 6, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(LocalResponseNorm(3, 0.1, 0.6, 1.0), x)


def test_local_response_norm_does_not_overflow_in_half_precision():
    x = torch.full((1, 5, 1, 1), 1000.0)
    expected = LocalResponseNorm()(x)
    torch.testing.assert_close(LocalResponseNorm()(x.half()).float(), expected, rtol=5e-3, atol=0)


@pytest.mark.parametrize("n", [0, 4, -1])
def test_local_response_norm_refuses_a_window_without_a_middle(n):
    with pytest.raises(ConfigError, match=rf"n is {n}; .* odd n"):
        LocalResponseNorm(n)


def test_local_response_norm_refuses_a_negative_alpha():
    with pytest.raises(ConfigError, match=r"alpha is -1; choose 0 or more"):
        LocalResponseNorm(alpha=-1)


# all of them

LAYERS = {
    "ScaledTanh()": (ScaledTanh(), (3, 8, 8)),
    "Subsample2d(3)": (Subsample2d(3), (3, 8, 8)),
    "TableConv2d(3, 3, kernel_size=3, links=6)": (TableConv2d(3, TABLE, 3), (3, 8, 8)),
    "UnitBiasConv2d(3, 3, kernel_size=3, stride=1, padding=1, border=-1.0, links=6)": (
        UnitBiasConv2d(3, TABLE, 3, (8, 8), padding=1),
        (3, 8, 8),
    ),
    "RBFOutput(8, 4)": (RBFOutput(torch.ones(4, 8)), (8,)),
    "LocalResponseNorm(n=5, alpha=0.0001, beta=0.75, k=2.0)": (LocalResponseNorm(), (3, 8, 8)),
}


@pytest.mark.parametrize("text", LAYERS)
def test_layers_print_their_arguments(text):
    assert repr(LAYERS[text][0]) == text


@pytest.mark.parametrize("text", LAYERS)
def test_layers_give_equal_gradients_twice_under_deterministic_algorithms(text):
    layer, shape = LAYERS[text]
    x = torch.randn(2, *shape, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (
            torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()]) for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, first, second))


def test_draw_by_fan_in_takes_the_inputs_of_each_unit_as_its_bound():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(4, 64, 5),
        nn.Linear(400, 50, bias=False),
        TableConv2d(64, [(0, 1), range(64)], 5),
        UnitBiasConv2d(8, [range(8)], 5, (1, 1)),
    )
    draw_by_fan_in(net)
    conv, linear, table, unit = net
    drawn = {
        100: conv.weight,
        400: linear.weight,
        50: table.weight[:2],
        1600: table.weight[2:],
        200: unit.weight,
    }
    for fan_in, weight in drawn.items():
        assert 0.8 * 2.4 / fan_in < weight.abs().max() <= 2.4 / fan_in
        assert weight.mean().abs() < 2.4 / fan_in / math.sqrt(weight.numel()) * 3
    assert all(layer.bias.abs().max() == 0 for layer in (conv, table, unit))


def test_modern_weights_have_a_variance_of_one_over_the_inputs():
    net = create_model("lenet5_paper", init="modern")
    for layer, inputs in ((net.features.c5, 400), (net.classifier.f6, 120)):
        assert layer.weight.var().item() == pytest.approx(1 / inputs, rel=0.05)
        assert not layer.bias.any()
    assert net.features.c3.weight[:18].abs().max() <= (3 / 75) ** 0.5
    assert net.features.c3.weight[-6:].abs().max() <= (3 / 150) ** 0.5
