import pytest
import torch
from torch import Tensor, nn

from classicnets.training.optimizers import (
    be_eager,
    build_optimizer,
    give_gradients_their_layout,
    load_optimizer_state,
)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_named_optimizer_is_fused_and_right_whatever_the_strides_of_a_gradient(name: str) -> None:
    def updated(rebind: bool) -> Tensor:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3, bias=False)
        optimizer = build_optimizer(name, model, 0.1)
        assert optimizer.param_groups[0]["fused"]
        model.weight.grad = torch.arange(108.0).view(4, 3, 3, 3).sub(50)
        if rebind:
            model.weight.grad = model.weight.grad.to(memory_format=torch.channels_last)
        give_gradients_their_layout([model.weight])
        optimizer.step()
        return model.weight.detach()

    assert torch.equal(updated(rebind=True), updated(rebind=False))


def test_parameters_that_torch_cannot_fuse_get_the_plain_optimizer() -> None:
    model = nn.Linear(2, 2)
    model.weight.data = model.weight.data.to(torch.complex64)
    assert "fused" not in {k for k, v in build_optimizer("sgd", model, 0.1).defaults.items() if v}


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_loaded_state_keeps_how_the_optimizer_computes(name: str) -> None:
    model = nn.Linear(2, 2)
    saved = build_optimizer(name, model, 0.5).state_dict()
    saved["param_groups"][0].update(fused=None, lr=torch.tensor(0.25))
    optimizer = build_optimizer(name, model, 0.1)
    load_optimizer_state(optimizer, saved)
    assert optimizer.param_groups[0]["fused"]
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_a_rate_held_in_a_tensor_stays_there_when_a_state_is_loaded() -> None:
    model = nn.Linear(2, 2)
    rate = torch.tensor(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    load_optimizer_state(optimizer, build_optimizer("sgd", model, 0.5).state_dict())
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5


def test_an_optimizer_that_is_not_captured_is_not_made_for_it() -> None:
    adam = torch.optim.Adam(nn.Linear(2, 2).parameters(), lr=torch.tensor(0.1), capturable=True)
    be_eager(adam)
    assert adam.param_groups[0]["capturable"] is False
    be_eager(torch.optim.SGD(nn.Linear(2, 2).parameters()))  # which has no such setting
