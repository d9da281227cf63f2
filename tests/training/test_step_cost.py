"""What a step of `fit` must not do; nothing here looks at the clock."""

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from classicnets import LeNet5, fit
from classicnets.data import TensorLoader
from classicnets.preparation import Preparation

pytestmark = pytest.mark.filterwarnings("ignore:the loss stayed within")  # noise is not learnt

# Calls of Python functions that a step may make, torch's own and the loader's among them; a step
# of LeNet-5 under Adam made about 190 when this was set.
MOST_CALLS = 400


def loader_of(batches: int, batch_size: int = 4, size: int = 32) -> TensorLoader:
    generator = torch.Generator().manual_seed(0)
    count = batches * batch_size
    return TensorLoader(
        torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=generator),
        torch.arange(count) % 10,
        classes=[str(number) for number in range(10)],
        preparation=Preparation(size),
        batch_size=batch_size,
        shuffle=True,
    )


def train(model: nn.Module, loader: Any, **options: Any) -> None:
    fit(model, loader, **{"epochs": 1, "device": "cpu", "progress": False, **options})


def calls_during(run: Callable[[], object]) -> int:
    """Python functions called while something runs."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    former = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(former)
    return count


def calls_per_step(batch_size: int) -> float:
    """The slope between a short epoch and a long one, so that what a call costs once is not in."""
    model = LeNet5()
    train(model, loader_of(2, batch_size))  # what torch does the first time
    few, many = (
        calls_during(lambda batches=batches: train(model, loader_of(batches, batch_size)))
        for batches in (32, 96)
    )
    return (many - few) / 64


def test_a_step_makes_a_bounded_number_of_python_calls() -> None:
    assert calls_per_step(4) < MOST_CALLS


def test_nothing_is_called_for_each_image() -> None:
    assert calls_per_step(32) - calls_per_step(4) < 28  # one a picture would be 28 more


class Watched(nn.Module):
    """A net that notes how many of its former outputs still live at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.outputs: list[weakref.ref[Tensor]] = []
        self.alive: list[int] = []
        self.tensors: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        step = len(self.outputs)
        self.alive.append(sum(output() is not None for output in self.outputs[-200:]))
        if step in (150, 350):
            gc.collect()
            self.tensors.append(sum(issubclass(type(each), Tensor) for each in gc.get_objects()))
        outputs: Tensor = self.linear(images.flatten(1))
        self.outputs.append(weakref.ref(outputs))
        return outputs


def test_memory_does_not_grow_with_the_steps() -> None:
    model = Watched()
    train(model, loader_of(400, size=8))
    assert len(model.outputs) == 400
    assert max(model.alive[200:]) <= max(model.alive[:200])
    before, after = model.tensors
    assert after <= before + 100  # the tally keeps some dozens of batches until they are read


@pytest.fixture
def sync_is_an_error() -> Iterator[Callable[[str], None]]:
    former = torch.cuda.get_sync_debug_mode()
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode(former)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:.*ynchronization debug mode is a prototype")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_no_step_waits_for_the_cuda_device(
    sync_is_an_error: Callable[[str], None], precision: str
) -> None:
    """Between the first steps, which look at the labels once, and the next reading of losses."""

    class Marked:
        """Our loader's batches, in the middle of which waiting becomes an error for a while."""

        def __init__(self, loader: TensorLoader) -> None:
            self._loader = loader

        def __len__(self) -> int:
            return len(self._loader)

        def set_epoch(self, epoch: int) -> None:
            self._loader.set_epoch(epoch)

        def iterate(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
            for number, batch in enumerate(self._loader.iterate(start)):
                sync_is_an_error("error" if 40 <= number < 60 else "default")
                yield batch

        __iter__ = iterate

    train(LeNet5(), Marked(loader_of(100).to("cuda")), device="cuda", precision=precision)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_of_the_cuda_device_does_not_grow_with_the_steps() -> None:
    def peak(batches: int) -> int:
        loader = loader_of(batches, batch_size=64).to("cuda")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(LeNet5(), loader, device="cuda")
        return torch.cuda.max_memory_allocated() - before

    peak(40)
    assert peak(600) <= peak(300) + 2**20  # both of more than two blocks prepared together
