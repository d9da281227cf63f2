import copy
import itertools

import pytest
import torch
from torch import nn

from classicnets import LeNet1, LeNet5Paper, LeNet1989
from classicnets.errors import ConfigError
from classicnets.layers import RBFOutput, ScaledTanh, Subsample2d, TableConv2d, UnitBiasConv2d
from classicnets.training.levenberg_marquardt import PRINTED_RATES, DiagonalLM, curvatures
from classicnets.training.losses import map_distance, own_distance, signed_mse


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def stir(net):
    net.double()
    with torch.no_grad():
        for seed, parameter in enumerate(net.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=seed) / 2)
    return net


def by_autograd(net, loss, images, labels):
    """The diagonal of the whole matrix of second derivatives."""
    parameters = list(net.parameters())
    gradients = torch.autograd.grad(loss(net(images), labels), parameters, create_graph=True)
    diagonals = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        found = [
            torch.autograd.grad(number, parameter, retain_graph=True)[0].flatten()[index]
            for index, number in enumerate(gradient.flatten())
        ]
        diagonals.append(torch.stack(found).view_as(parameter))
    return diagonals


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Sequential(nn.Linear(6, 3)), (6,)),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten()), (2, 3, 3)),
        (nn.Sequential(TableConv2d(2, [(0,), (0, 1), (1,)], 3), nn.Flatten()), (2, 3, 3)),
        (
            nn.Sequential(UnitBiasConv2d(2, [(0,), (1,), (0, 1)], 5, (1, 1), padding=1),
            nn.Flatten()), (2, 3, 3),
        ),
        (nn.Sequential(Subsample2d(3), nn.Flatten()), (3, 2, 2)),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, nn.Module) else None,
)  # fmt: skip
def test_of_one_layer_without_shared_weights_they_are_the_second_derivatives(net, shape):
    stir(net)
    images, labels = drawn(5, *shape, seed=9), torch.tensor([0, 1, 2, 1, 0])
    found = curvatures(net, signed_mse, images, labels)
    expected = by_autograd(net, signed_mse, images, labels)
    for parameter, second in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(found[parameter], second)


@pytest.mark.parametrize("loss", [own_distance, map_distance])
def test_through_the_distances_and_the_loss_the_second_derivative_is_exact(loss):
    net = stir(nn.Sequential(nn.Linear(4, 5), RBFOutput(drawn(3, 5, seed=7) / 2)))
    images, labels = drawn(6, 4, seed=9), torch.tensor([0, 1, 2, 0, 1, 2])
    found = curvatures(net, loss, images, labels)
    expected = by_autograd(net, loss, images, labels)
    for parameter, second in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(found[parameter], second)


def test_along_a_line_of_units_only_the_second_derivative_of_the_squashing_is_missing():
    net = stir(nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1), ScaledTanh()))
    x, target = torch.tensor([[0.7]], dtype=torch.float64), 0.3
    found = curvatures(net, lambda y, _: (y - target).square().mean(), x, torch.tensor([0]))
    first, last = net[0], net[2]
    a = first(x)
    b = last(a.tanh())
    of_b = 2 * (1.7159 * 2 / 3 * (1 - (b * 2 / 3).tanh() ** 2)) ** 2
    of_a = of_b * last.weight**2 * (1 - a.tanh() ** 2) ** 2
    torch.testing.assert_close(found[last.weight], of_b * a.tanh() ** 2)
    torch.testing.assert_close(found[last.bias], of_b[0])
    torch.testing.assert_close(found[first.weight], of_a * x**2)
    torch.testing.assert_close(found[first.bias], of_a[0])


def links_of(layer, shape):
    """Every connection of a layer as (unit, input or None for the border, index of its weight)."""
    k, stride, padding = layer.kernel_size, layer.stride, layer.padding
    links = [(o, i) for o, maps in enumerate(layer.table) for i in maps]
    _, height, width = shape
    places = [(length + 2 * padding - k) // stride + 1 for length in (height, width)]
    for link, (o, i) in enumerate(links):
        for y, x, u, v in itertools.product(*map(range, (*places, k, k))):
            row, column = y * stride + u - padding, x * stride + v - padding
            inside = 0 <= row < height and 0 <= column < width
            yield (o, y, x), (i, row, column) if inside else None, (link, u, v)


@pytest.mark.parametrize(
    "layer",
    [
        TableConv2d(2, [(0,), (0, 1)], 2),
        UnitBiasConv2d(2, [(0, 1), (1,)], 3, (2, 2), stride=2, padding=1, border=-0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_shared_weights_sum_over_their_connections_as_a_slow_loop_does(layer):
    net = stir(
        nn.Sequential(layer, ScaledTanh(), Subsample2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(2, 3))
    )
    images, labels = drawn(4, 2, 3, 3, seed=9), torch.tensor([2, 0, 1, 1])
    subsampling, last = net[2], net[5]
    found = curvatures(net, signed_mse, images, labels)
    expected = {p: torch.zeros_like(p) for p in net.parameters()}
    for image in images:
        sums = net[0](image[None])[0].detach()
        squashed = net[1](sums)
        means = squashed.mean((1, 2))
        hidden = net[2:4](squashed[None])[0].flatten().detach()
        of_outputs = torch.full((3,), 2 / 3, dtype=torch.float64) / len(images)
        for j, i in itertools.product(range(3), range(2)):
            expected[last.weight][j, i] += of_outputs[j] * hidden[i] ** 2
        expected[last.bias] += of_outputs
        of_hidden = (last.weight.detach() ** 2 * of_outputs[:, None]).sum(0)
        of_units = of_hidden * (1 - hidden**2) ** 2
        expected[subsampling.weight] += of_units * means**2
        expected[subsampling.bias] += of_units
        of_squashed = of_units * (subsampling.weight.detach() / 4) ** 2  # each of its four inputs
        slopes = 1.7159 * 2 / 3 * (1 - (squashed / 1.7159) ** 2)
        of_sums = of_squashed[:, None, None] * slopes**2
        for unit, source, weight in links_of(layer, image.shape):
            value = layer.border if source is None else image[source]
            expected[layer.weight][weight] += of_sums[unit] * value**2
        expected[layer.bias] += of_sums if layer.bias.ndim == 3 else of_sums.sum((1, 2))
    for parameter, value in expected.items():
        torch.testing.assert_close(found[parameter], value.detach())


@pytest.mark.parametrize(
    ("kind", "loss"), [(LeNet5Paper, own_distance), (LeNet1, signed_mse), (LeNet1989, signed_mse)]
)
def test_a_step_divides_the_gradient_by_mu_and_the_curvature(kind, loss):
    net = kind()
    images = torch.rand(3, *net.input_shape, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, 1, 4])
    optimizer = DiagonalLM(net.parameters(), lr=0.01, mu=0.5)
    optimizer.estimate(net, loss, images, labels)
    before = copy.deepcopy(net)
    loss(net(images), labels).backward()
    optimizer.step()
    found = curvatures(before, loss, images, labels)
    for new, old in zip(net.parameters(), before.parameters(), strict=True):
        assert (found[old] >= 0).all()
        torch.testing.assert_close(new, old - 0.01 * new.grad / (0.5 + found[old]))


def test_curvatures_are_means_over_the_samples():
    net = LeNet1989()
    images, labels = torch.rand(4, 1, 16, 16), torch.tensor([1, 2, 3, 4])
    once = curvatures(net, signed_mse, images, labels)
    twice = curvatures(net, signed_mse, images.repeat(2, 1, 1, 1), labels.repeat(2))
    for parameter in net.parameters():
        torch.testing.assert_close(once[parameter], twice[parameter])


def test_no_step_size_is_above_lr_over_mu():
    net = LeNet5Paper()
    optimizer = DiagonalLM(net.parameters())
    optimizer.estimate(net, own_distance, torch.rand(2, 1, 32, 32), torch.tensor([0, 1]))
    assert all(0 < sizes.min() <= sizes.max() <= 0.025 for sizes in optimizer.step_sizes().values())


def test_the_printed_rates_are_those_of_twenty_passes():
    assert len(PRINTED_RATES) == 20
    assert [PRINTED_RATES.count(rate) for rate in (5e-4, 2e-4, 1e-4, 5e-5, 1e-5)] == [2, 3, 3, 4, 8]


def test_saved_state_makes_the_same_step(tmp_path):
    net = LeNet1989()
    optimizer = DiagonalLM(net.parameters(), lr=0.01)
    images, labels = torch.rand(3, 1, 16, 16), torch.tensor([1, 2, 3])
    optimizer.estimate(net, signed_mse, images, labels)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    twin = copy.deepcopy(net)
    other = DiagonalLM(twin.parameters(), lr=1.0)
    other.estimate(twin, signed_mse, images[:1], labels[:1])
    other.step_sizes()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for a_net, an_optimizer in ((net, optimizer), (twin, other)):
        signed_mse(a_net(images), labels).backward()
        an_optimizer.step()
    for mine, others in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, others)


def test_a_later_estimate_counts_from_the_next_step_on():
    net = nn.Sequential(nn.Linear(1, 1, bias=False))
    optimizer = DiagonalLM(net.parameters(), lr=1.0, mu=1.0)
    for x, size in ((1.0, 1 / 3), (2.0, 1 / 9)):
        optimizer.estimate(net, nn.MSELoss(), torch.tensor([[x]]), torch.zeros(1, 1))
        before = net[0].weight.item()
        net[0].weight.grad = torch.ones(1, 1)
        optimizer.step()
        assert before - net[0].weight.item() == pytest.approx(size)


def test_a_closure_is_called_and_its_loss_returned():
    net = nn.Sequential(nn.Linear(1, 1))
    optimizer = DiagonalLM(net.parameters())
    x, y = torch.ones(1, 1), torch.zeros(1, 1)
    optimizer.estimate(net, nn.MSELoss(), x, y)
    before = net(x).square().item()

    def closure():
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(before)
    assert net(x).square().item() < before


def test_a_step_before_the_first_estimate_is_refused():
    net = nn.Linear(1, 1)
    optimizer = DiagonalLM(net.parameters())
    net(torch.ones(1, 1)).sum().backward()
    with pytest.raises(ConfigError, match=r"before the first step; call optimizer.estimate\("):
        optimizer.step()


@pytest.mark.parametrize("name", ["lr", "mu"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_rates_are_above_zero(name, value):
    with pytest.raises(ConfigError, match=f"{name} is .*; it must be a number above 0"):
        DiagonalLM(nn.Linear(1, 1).parameters(), **{name: value})


def test_a_net_that_lacks_a_parameter_is_refused():
    optimizer = DiagonalLM(nn.Linear(3, 2).parameters())
    with pytest.raises(ConfigError, match=r"net is Linear, which does not use .* shape \(2, 3\)"):
        optimizer.estimate(nn.Linear(1, 1), nn.MSELoss(), torch.ones(1, 1), torch.zeros(1, 1))


def test_a_layer_without_a_rule_is_named():
    net = nn.Sequential(nn.Softmax(1))
    with pytest.raises(ConfigError, match="layer Softmax; curvatures go through convolutions"):
        curvatures(net, nn.MSELoss(), torch.ones(1, 2), torch.zeros(1, 2))


def test_a_net_that_is_no_chain_is_refused():
    class Doubling(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, x):
            return self.two(2 * self.one(x))

    with pytest.raises(ConfigError, match="between Linear and Linear; it must be a chain"):
        curvatures(Doubling(), nn.MSELoss(), torch.ones(1, 1), torch.zeros(1, 1))
