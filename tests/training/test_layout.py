from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from classicnets import fit
from classicnets.models.sequential_cnn import SequentialCNN
from classicnets.training.layout import fastest_layout
from classicnets.training.optimizers import give_state_the_layout

CPU = torch.device("cpu")


def a_net(pool: type[nn.Module] = nn.MaxPool2d) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), pool(2), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(27, 3)
    )


def is_channels_last(model: nn.Module) -> bool:
    return all(
        p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
        if p.dim() == 4
    )


def batches(count: int = 6) -> list[tuple[Tensor, Tensor]]:
    """Pictures as bright as their class is high."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(8) % 3
    bright = labels.view(-1, 1, 1, 1) - 1.0
    return [(torch.randn(8, 2, 12, 12, generator=generator) + bright, labels) for _ in range(count)]


def test_a_net_with_max_pooling_is_channels_last_inside_the_block_and_as_before_after_it() -> None:
    model = a_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with fastest_layout(model, CPU, "float32"):
        assert is_channels_last(model)
    for name, value in model.state_dict().items():
        assert value.is_contiguous()
        assert torch.equal(value, before[name])


def test_a_net_without_max_pooling_stays_as_it_is() -> None:
    model = a_net(nn.AvgPool2d)
    with fastest_layout(model, CPU, "float32"):
        assert not is_channels_last(model)


def test_an_order_that_the_user_chose_stays() -> None:
    model = a_net().to(memory_format=torch.channels_last)
    with fastest_layout(model, CPU, "float32"):
        pass
    assert is_channels_last(model)


def test_weights_shared_with_other_processes_stay_where_they_are() -> None:
    model = a_net().share_memory()
    with fastest_layout(model, CPU, "float32"):
        assert not is_channels_last(model)
        assert all(p.is_shared() for p in model.parameters())


def test_the_order_does_not_change_what_is_learnt() -> None:
    learnt = []
    for pool in (nn.MaxPool2d, _PlainMax):
        model = a_net(pool)
        fit(model, batches(), epochs=3, optimizer="sgd", device="cpu", progress=False)
        learnt.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    torch.testing.assert_close(*learnt, rtol=1e-4, atol=1e-6)


class _PlainMax(nn.Module):
    """Max pooling that is no MaxPool2d, so that the rule does not see it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x, self.size)


def test_a_state_in_another_order_than_its_parameter_is_copied_into_that_order() -> None:
    model = a_net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kernel = next(model.parameters())
    optimizer.state[kernel] = {"momentum_buffer": torch.arange(72.0).view(4, 2, 3, 3), "step": 3}
    give_state_the_layout(optimizer)
    momentum = optimizer.state[kernel]["momentum_buffer"]
    assert momentum.stride() == kernel.stride()
    assert torch.equal(momentum, torch.arange(72.0).view(4, 2, 3, 3))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_net_with_max_pooling_resumes_to_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    generator = torch.Generator().manual_seed(1)
    data = [(torch.randn(8, 1, 28, 28, generator=generator), torch.arange(8)) for _ in range(5)]

    def train(epochs: int, folder: str, *, resume: bool = False) -> Tensor:
        torch.manual_seed(0)
        model = SequentialCNN()
        fit(
            model,
            data,
            epochs=epochs,
            optimizer=optimizer,
            average=0.9,
            device="cpu",
            progress=False,
            checkpoint_dir=tmp_path / folder,
            resume=resume,
        )
        return torch.nn.utils.parameters_to_vector(model.parameters())

    whole = train(3, "whole")
    train(1, "parts")
    assert torch.equal(train(3, "parts", resume=True), whole)


class Tutorial(nn.Module):
    """A net in the manner of tutorials: `view` where `flatten` would take maps of any order."""

    def __init__(self, flatten: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Dropout(0.2)
        )
        self.head = nn.Linear(100, 3)
        self._flatten = flatten

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x = x.flatten(1) if self._flatten else x.view(-1, 100)
        result: Tensor = self.head(x)
        return result


def test_a_net_that_needs_the_usual_order_gets_it_and_learns_as_if_by_it_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def learnt(net: nn.Module, **options: Any) -> dict[str, Tensor]:
        fit(
            net, batches(), val_loader=batches(1), seed=1, device="cpu", progress=False,
            average=0.9, **options,
        )  # fmt: skip
        assert all(value.is_contiguous() for value in net.state_dict().values())
        return net.state_dict()

    once = learnt(Tutorial(flatten=False), epochs=2)
    learnt(Tutorial(flatten=False), epochs=1, checkpoint_dir=tmp_path)
    resumed = learnt(Tutorial(flatten=False), epochs=2, checkpoint_dir=tmp_path, resume=True)
    monkeypatch.setattr("classicnets.training.layout._pays", lambda *_: False)
    plain = learnt(Tutorial(flatten=True), epochs=2)
    for name in plain:
        assert torch.equal(once[name], plain[name]), name
        assert torch.equal(resumed[name], plain[name]), name


def test_another_error_of_a_net_is_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(99, 3))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(net, batches(), epochs=1, device="cpu", progress=False)
