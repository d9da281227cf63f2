import pytest
import torch

from classicnets import LeNet5Paper
from classicnets.training.losses import map_distance, own_distance, resolve_loss, signed_mse


def test_mse_is_taken_to_plus_one_for_the_class_and_minus_one_elsewhere():
    outputs = torch.tensor([[1.0, -1.0, -1.0], [0.0, 0.0, 2.0]])
    assert signed_mse(outputs, torch.tensor([0, 2])).item() == pytest.approx((1 + 1 + 1) / 6)


def test_distance_is_that_to_the_code_of_the_own_class():
    outputs = torch.tensor([[-3.0, -5.0], [-7.0, -11.0]])
    assert own_distance(outputs, torch.tensor([1, 0])).item() == 6.0


def test_distance_of_the_paper_net_is_equation_7():
    torch.manual_seed(0)
    net = LeNet5Paper()
    images, labels = torch.rand(4, 1, 32, 32), torch.tensor([3, 1, 4, 1])
    hidden = net.classifier[:-1](net.features(images).flatten(1))
    expected = (hidden - net.classifier.output.codes[labels]).square().sum(1).mean()
    torch.testing.assert_close(own_distance(net(images), labels), expected)


def test_map_distance_is_equation_9():
    distances, labels = torch.tensor([[3.0, 5.0], [7.0, 0.5]]), torch.tensor([1, 1])
    competition = torch.log(torch.exp(torch.tensor(-2.0)) + torch.exp(-distances).sum(1))
    expected = (torch.tensor([5.0, 0.5]) + competition).mean()
    torch.testing.assert_close(map_distance(-distances, labels, rubbish=2.0), expected)


def test_map_distance_stays_finite_far_from_every_code():
    outputs = torch.tensor([[-1e4, -2e4]], requires_grad=True)
    loss = map_distance(outputs, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4 - 1)
    assert outputs.grad.tolist() == [[0.0, -1.0]]


def test_map_distance_has_a_name():
    assert resolve_loss("map_distance") is map_distance
