"""Steps captured as a CUDA graph; all but the rule itself need a GPU."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from classicnets import LeNet5, fit
from classicnets.data import TensorLoader
from classicnets.preparation import Preparation
from classicnets.training import captured_step
from classicnets.training.captured_step import CapturedStep, reason_not_to_capture

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def digits_of_noise(count: int) -> TensorLoader:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 10
    images = torch.randint(0, 200, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)
    images[torch.arange(count), 0, labels] = 255  # a bright row tells the class
    return TensorLoader(
        images,
        labels,
        classes=[str(number) for number in range(10)],
        preparation=Preparation(32),
        batch_size=32,
        shuffle=True,
    )


def trained(count: int = 330, **options: Any) -> Tensor:
    torch.manual_seed(0)
    model = LeNet5()
    fit(model, digits_of_noise(count), epochs=2, device="cuda", progress=False, **options)
    return torch.nn.utils.parameters_to_vector(model.parameters()).cpu()


@needs_cuda
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", [None, "onecycle"])
def test_captured_steps_learn_what_eager_ones_do(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, schedule: str | None
) -> None:
    captured = trained(optimizer=optimizer, schedule=schedule)
    monkeypatch.setattr(CapturedStep, "EAGER_STEPS", 10**9)
    torch.testing.assert_close(
        captured, trained(optimizer=optimizer, schedule=schedule), rtol=1e-3, atol=1e-4
    )


@needs_cuda
def test_captured_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph))
    )
    trained(count=330)  # 11 batches an epoch, the last one short
    assert len(replays) == 2 * 10 - CapturedStep.EAGER_STEPS


@needs_cuda
def test_two_captured_runs_are_equal_to_the_bit() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(trained(), trained())
    finally:
        torch.use_deterministic_algorithms(False)


@needs_cuda
def test_a_step_that_cannot_be_captured_runs_eagerly_and_says_why() -> None:
    class Waits(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x.flatten(1))
            y.sum().item()
            return y

    with pytest.warns(UserWarning, match="the step cannot be captured"):
        fit(Waits(1024, 10), digits_of_noise(330), epochs=1, device="cuda", progress=False)


def adam(**options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(nn.Linear(1, 1).parameters(), **options)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"compiled": True}, "compile=True"),
        ({"precision": "fp16"}, "gradient scaler of fp16"),
        ({"accumulate": 4}, "accumulate=4"),
        ({"num_batches": 2}, "only 2 batches"),
        ({}, "this Adam keeps its learning rate on the CPU"),
    ],
)
def test_what_keeps_a_step_from_being_captured_is_named(
    change: dict[str, Any], reason: str
) -> None:
    settings = {"precision": "float32", "accumulate": 1, "compiled": False, "num_batches": 100}
    assert reason in str(reason_not_to_capture(adam(), **{**settings, **change}))


def test_eager_steps_are_told_once_in_a_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        captured_step.warn_eager("a reason")
    assert [str(w.message) for w in caught] == [
        "fit runs its steps eagerly, which is slower: a reason"
    ]
