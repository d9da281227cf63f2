"""N1, N2, N3: losses and gradients that are not finite, and memory that runs out."""

import itertools
import math
import random
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from classicnets.errors import DivergedError, OutOfMemoryError
from classicnets.storage.checkpoints import CheckpointStore, read_checkpoint
from classicnets.training import fit

from .processes import Child, Notes
from .rows import each, row
from .training_run import (
    BATCH_SIZE,
    BATCHES,
    EPOCHS,
    SIZES,
    Plan,
    assert_resumes_the_same,
    tensor_loader,
    train,
)

_MIDDLE, _LAST = 2 * BATCHES + 3, EPOCHS * BATCHES
_SPOILT = list(itertools.product(SIZES, (1, _MIDDLE, _LAST), (math.nan, math.inf)))


class _Spoiling:
    """A loader of ours, one batch of which is changed; the first is number 1."""

    def __init__(self, loader: Any, number: int, change: Any) -> None:
        self._loader, self._number, self._change = loader, number, change
        self._epoch = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._loader.set_epoch(epoch)

    def iterate(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        first = self._epoch * BATCHES + start + 1
        for number, (images, labels) in enumerate(self._loader.iterate(start), first):
            yield self._change(images, labels) if number == self._number else (images, labels)


def assert_all_finite(folder: Path) -> None:
    for path in folder.glob("step_*"):
        for name, value in read_checkpoint(path).tensors.items():
            finite = not value.is_floating_point() or bool(value.isfinite().all())
            assert finite, f"{name} is not finite in {path.name}"


@row(
    "N1",
    "not-a-number or infinity in a picture at the first, a middle and the last step",
    lambda full: _SPOILT if full else _SPOILT[::5],
)
def not_finite(case: tuple[str, int, float], rng: random.Random, folder: Path) -> bool:
    net, number, value = case
    plan = Plan(net)

    def change(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images[rng.randrange(len(images)), 0, 5, 5] = value
        return images, labels

    def run(notes: Notes) -> tuple[str, int]:
        loader = _Spoiling(tensor_loader(SIZES[net], augmented=True), number, change)
        try:
            train(plan, folder, notes, loader=loader)
        except DivergedError as error:
            return str(error), notes["done"]
        return "", 0

    message, done = Child(run).result()
    # tanh makes infinity one: then the gradients alone are bad, and the next look finds it
    late = int(done == number and value == math.inf)
    assert done == number - 1 + late, f"found after step {done}"
    assert any(f"at step {step} " in message for step in (number, number + late)), message
    assert_all_finite(folder)
    assert_resumes_the_same(folder, plan)
    return bool(message)


@row("N2", "half precision: gradients not finite 20 times in a row, or 19", each([20, 19]))
def overflow(case: int, rng: random.Random, folder: Path) -> bool:
    def run(notes: Notes) -> tuple[str, int]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
        count = 0

        def spoil(gradient: Tensor) -> Tensor:
            nonlocal count
            count += 1
            return gradient * math.inf if 3 <= count < 3 + case else gradient

        model[1].weight.register_hook(spoil)
        options: dict[str, Any] = {"precision": "fp16", "device": "cpu", "progress": False}
        try:
            fit(model, tensor_loader(32), epochs=EPOCHS, checkpoint_dir=folder, **options)
        except DivergedError as error:
            return str(error), count
        return "", count

    message, count = Child(run).result()
    assert_all_finite(folder)
    if case == 20:
        assert "not finite in 20 updates in a row" in message, message
        assert count == 22
    else:
        assert message == ""
        assert count == EPOCHS * BATCHES
    return count >= 2 + case


@contextmanager
def no_more_memory_than(num_bytes: int) -> Iterator[None]:
    """Allow this process so many more bytes of addresses."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@row(
    "N3",
    "out of memory in the net or in the loader, at the first and a middle step",
    each(list(itertools.product(("net", "loader"), (1, _MIDDLE)))),
)
def out_of_memory(case: tuple[str, int], rng: random.Random, folder: Path) -> bool:
    where, number = case
    plan = Plan()
    times = {"net": 2_000, "loader": 20_000}[where]  # 0.2 GB of pictures, or 2 GB

    def change(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return images.repeat(times, 1, 1, 1), labels.repeat(times)

    def run(notes: Notes) -> str:
        loader = _Spoiling(tensor_loader(32, augmented=True), number, change)
        message = ""
        with no_more_memory_than(400 << 20):
            try:
                train(plan, folder, notes, loader=loader)
            except OutOfMemoryError as error:
                message = str(error)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
        fit(model, tensor_loader(32), epochs=1, device="cpu", progress=False)
        return message

    message = Child(run).result()
    expected = rf"a batch of {BATCH_SIZE} images does not fit into the memory of cpu: .*batch_size"
    assert re.search(expected, message), message
    newest, skipped = CheckpointStore(folder).newest()
    assert not skipped
    assert (newest.step if newest else 0) >= number - 1 - (plan.every or 0)
    assert_resumes_the_same(folder, plan)
    return True
