import pytest
import torch
from torch import nn

from classicnets import LeNet1, LeNet5Paper, LeNet1989
from classicnets.errors import ConfigError
from classicnets.layers import ScaledTanh
from classicnets.training.losses import map_distance, own_distance, signed_mse
from classicnets.training.pattern_steps import PatternStep

mlp = nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.Tanh(), nn.Linear(7, 3), ScaledTanh())


def strided():
    return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.Tanh(), nn.Conv2d(3, 4, 2), nn.Flatten())


def step_of(net, loss, shape=None, lr=0.0):
    return PatternStep(net, loss, torch.optim.SGD(net.parameters(), lr=lr), input_shape=shape)


def stir(net):
    """Move every weight away from where it starts, biases and coefficients too."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return net


@pytest.mark.parametrize(
    ("net", "loss", "shape"),
    [
        (LeNet5Paper(), own_distance, (1, 32, 32)),
        (LeNet5Paper(), map_distance, (1, 32, 32)),
        (LeNet1(), signed_mse, (1, 28, 28)),
        (LeNet1989(), signed_mse, (1, 16, 16)),
        (mlp, signed_mse, (3, 4, 4)),
        (strided(), signed_mse, (2, 7, 9)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_gradients_are_those_of_autograd(net, loss, shape):
    stir(net)
    step = step_of(net, loss, shape)
    for seed in range(2):  # twice: nothing is left over from the picture before
        image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))
        label = torch.tensor([2 - seed])
        value, outputs = step.gradients(image, label)
        found = [parameter.grad for parameter in net.parameters()]
        net.zero_grad()
        expected = loss(net(image), label)
        expected.backward()
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close(outputs, net(image).detach())
        for mine, parameter in zip(found, net.parameters(), strict=True):
            scale = parameter.grad.abs().max()
            torch.testing.assert_close(mine / scale, parameter.grad / scale, rtol=0, atol=1e-5)


def test_pictures_may_be_views():
    net = stir(LeNet1989())
    step = step_of(net, signed_mse)
    image, label = torch.rand(16, 16, 1, 1).permute(2, 3, 1, 0), torch.tensor([0])
    torch.testing.assert_close(step.gradients(image, label)[1], net(image).detach())


def test_a_step_is_what_the_optimizer_makes_of_the_gradients():
    image, label = torch.rand(1, 1, 16, 16), torch.tensor([4])
    net = LeNet1989()
    twin = LeNet1989()
    twin.load_state_dict(net.state_dict())
    step_of(net, signed_mse, lr=0.1)(image, label)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    signed_mse(twin(image), label).backward()
    optimizer.step()
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_batch_is_learnt_picture_by_picture_in_order():
    net, twin = LeNet1989(), LeNet1989()
    twin.load_state_dict(net.state_dict())
    images, labels = torch.rand(7, 1, 16, 16), torch.arange(7)
    mean, outputs = step_of(net, signed_mse, lr=0.01)(images, labels)
    step, singles = step_of(twin, signed_mse, lr=0.01), []
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        singles.append(step(image, label))
    assert mean == pytest.approx(sum(loss for loss, _ in singles) / 7)
    assert torch.equal(outputs, torch.cat([row for _, row in singles]))
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(
    "layer", [nn.Dropout(), nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, bias=False)]
)
def test_a_layer_it_does_not_know_is_named(layer):
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(9, 2))
    with pytest.raises(
        ConfigError, match=rf"layer {type(layer).__name__}\(.*leave out online=True"
    ):
        step_of(net, signed_mse, (1, 3, 3))


def test_a_net_that_is_no_chain_is_found_out_at_the_first_picture():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(self.layer(x))

    step = step_of(Twice(), signed_mse, (4,))
    with pytest.raises(ConfigError, match="net is Twice, whose forward does other things"):
        step(torch.rand(1, 4), torch.tensor([0]))


def test_a_net_without_an_input_shape_needs_one():
    with pytest.raises(ConfigError, match=r"input_shape is None, and Sequential has none"):
        step_of(mlp, signed_mse)
