"""A small run of `fit` that comes to the same bits each time, whatever befalls it on the way."""

import functools
import hashlib
import json
import os
import random
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # this and torchvision would be imported by each child, in seconds
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional  # noqa: F401

from classicnets.data import image_folder
from classicnets.data.loader import TensorLoader
from classicnets.models import model_class
from classicnets.preparation import Preparation
from classicnets.storage.checkpoints import CheckpointStore
from classicnets.training import Event, each_step, fit

from .processes import Child, Notes

SIZES = {"lenet5": 32, "sequential_cnn": 28, "lecture_cnn": 28}
COUNT, BATCH_SIZE, EPOCHS, CLASSES = 48, 8, 4, 6
BATCHES = COUNT // BATCH_SIZE
_CLOCK = ("seconds", "images_per_second")

Hook = Callable[[str, int], object]  # of a moment and its number, from 1; see `train`


@dataclass(frozen=True)
class Plan:
    """What a run is.

    Attributes:
        net: a key of `SIZES`.
        optimizer: its name.
        data: "tensors", "DataLoader" or "image_folder".
        workers: of the loader.
        chance: "augmentation" or "dropout".
        every: batches between two checkpoints, None for those at the ends of epochs alone.
    """

    net: str = "lenet5"
    optimizer: str = "adam"
    data: str = "tensors"
    workers: int = 0
    chance: str = "augmentation"
    every: int | None = 2


@dataclass(frozen=True)
class Reference:
    """What a run comes to when nothing disturbs it, and the seconds that it takes."""

    outcome: dict[str, str]
    seconds: float


class _Brighter:
    """An augmentation by one random number a picture."""

    name, draws = "brighter", 1

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        return images + 40 * draws[:, :, None, None]


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures for a DataLoader, changed by the random numbers of its process."""

    def __init__(self, size: int, augmented: bool) -> None:
        self._size, self._augmented = size, augmented

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.rand(
            3, self._size, self._size, generator=torch.Generator().manual_seed(index)
        )
        return image + torch.rand(1) if self._augmented else image, index % CLASSES


class _Told:
    """One of our loaders, telling when it is asked for an epoch."""

    def __init__(self, loader: Any, moment: str, at: Hook) -> None:
        self._loader, self._moment, self._at, self._count = loader, moment, at, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def to(self, device: torch.device) -> "_Told":
        return self

    def __iter__(self) -> Iterator[Any]:
        return self.iterate()

    def iterate(self, start: int = 0) -> Iterator[Any]:
        self._count += 1
        self._at(self._moment, self._count)
        return self._loader.iterate(start)


def make_net(plan: Plan) -> nn.Module:
    torch.manual_seed(1)
    net = model_class(plan.net)(CLASSES, in_channels=3)
    return nn.Sequential(nn.Dropout(0.3), net) if plan.chance == "dropout" else net


def tensor_loader(size: int, count: int = COUNT, *, augmented: bool = False) -> TensorLoader:
    generator = torch.Generator().manual_seed(7)
    return TensorLoader(
        torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8),
        torch.randint(CLASSES, (count,), generator=generator),
        classes=tuple("abcdef"),
        preparation=Preparation(size, 3, mean=(0.5,) * 3, std=(0.25,) * 3),
        batch_size=BATCH_SIZE,
        shuffle=True,
        augment=_Brighter() if augmented else None,
    )


@functools.cache
def _picture_files() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Make a folder of pictures, of which COUNT are for training, once."""
    keep = tempfile.TemporaryDirectory(prefix="pictures-")
    for index in range(60):
        file = Path(keep.name, f"class{index % CLASSES}", f"{index}.png")
        file.parent.mkdir(exist_ok=True)
        Image.frombytes("RGB", (64, 64), random.Random(index).randbytes(64 * 64 * 3)).save(file)
    return keep, Path(keep.name)


def make_loader(plan: Plan) -> Any:
    size, augmented = SIZES[plan.net], plan.chance == "augmentation"
    if plan.data == "tensors":
        return tensor_loader(size, augmented=augmented)
    if plan.data == "image_folder":
        return image_folder(
            _picture_files()[1],
            image_size=size,
            batch_size=BATCH_SIZE,
            augment="crop-flip" if augmented else None,
            num_workers=plan.workers,
        ).train
    return DataLoader(
        _Pictures(size, augmented),
        BATCH_SIZE,
        shuffle=True,
        num_workers=plan.workers,
        generator=torch.Generator().manual_seed(3),
        multiprocessing_context="fork" if plan.workers else None,
    )


def train(
    plan: Plan,
    folder: Path,
    notes: Notes,
    at: Hook = lambda moment, number: None,
    *,
    loader: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Train, resuming if there is something to resume; return what came of it, as JSON.

    Args:
        plan: what the run is.
        folder: for the checkpoints.
        notes: "ready" is set before `fit` is called, "done" to the number of batches done.
        at: called at "step" (its number), "validation" and, with loaders of ours, "loader" (the
            how many-th time in this process that an epoch begins there).
        loader: instead of the plan's.
        options: of `fit`.
    """

    @each_step
    def tell(event: Event) -> None:
        if event.kind == "step":
            notes["done"] = event.step
            at("step", event.step)

    warnings.simplefilter("ignore")
    random.seed(2)  # a fork changes Python's
    np.random.seed(2)
    model = make_net(plan)
    given = make_loader(plan) if loader is None else loader
    train_loader = given if plan.data == "DataLoader" else _Told(given, "loader", at)
    notes["ready"] = 1
    began = time.monotonic()
    history = fit(
        model,
        train_loader,
        val_loader=_Told(tensor_loader(SIZES[plan.net], 16), "validation", at),
        **{
            "epochs": EPOCHS,
            "optimizer": plan.optimizer,
            "schedule": "onecycle",
            "seed": 5,
            "device": "cpu",
            "progress": False,
            "checkpoint_dir": folder,
            "checkpoint_every": plan.every,
            "callbacks": [tell],
            "resume": True,
            **options,
        },
    )
    ended = time.monotonic()
    return {
        "outcome": outcome(model, folder),
        "interrupted": history.interrupted,
        "stopped": history.stopped,
        "steps": len(history.step_losses),
        "seconds": ended - began,
        "ended": ended,
    }


def outcome(model: nn.Module, folder: Path) -> dict[str, str]:
    """Return digests of the weights and of each part of the last checkpoint, clocks apart."""
    newest, skipped = CheckpointStore(folder).newest()
    assert newest is not None, "no checkpoint is left"
    assert not skipped, f"broken checkpoints are left: {skipped}"
    parts: dict[str, Any] = {"weights": hashlib.sha256()}
    for value in model.state_dict().values():
        parts["weights"].update(value.numpy().tobytes())
    for name, value in sorted(newest.tensors.items()):
        part = parts.setdefault(name.partition(".")[0], hashlib.sha256())
        part.update(name.encode() + value.numpy().tobytes())
    digests = {name: part.hexdigest() for name, part in parts.items()}
    rest = json.dumps(_without_clock(newest.state["training"]), sort_keys=True)
    return {**digests, "rest": hashlib.sha256(rest.encode()).hexdigest()}


def _without_clock(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_clock(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_clock(item) for name, item in value.items() if name not in _CLOCK}
    return value


@functools.cache
def reference(plan: Plan) -> Reference:
    with tempfile.TemporaryDirectory() as name:
        answer = Child(lambda notes: train(plan, Path(name), notes)).result()
    assert answer["steps"] == EPOCHS * BATCHES
    return Reference(answer["outcome"], answer["seconds"])


def assert_same(answer: dict[str, Any] | None, plan: Plan) -> None:
    """Assert that a run that was disturbed came to the bits of one that was not."""
    assert answer is not None, "the last process of the run did not end by itself"
    expected = reference(plan).outcome
    parts = expected.keys() | answer["outcome"].keys()
    different = [part for part in parts if expected.get(part) != answer["outcome"].get(part)]
    assert not different, f"other bits than without a fault: {', '.join(sorted(different))}"


def assert_resumes_the_same(folder: Path, plan: Plan) -> None:
    assert_same(Child(lambda notes: train(plan, folder, notes)).result(), plan)


def assert_little_lost(folder: Path, *, before: int, done: int, every: int) -> int:
    """Assert that a killed run lost at most `every` batches; return the step of its newest."""
    newest, skipped = CheckpointStore(folder).newest()
    assert not skipped, f"broken checkpoints are left: {skipped}"
    step = newest.step if newest else 0
    assert step >= before, f"the newest checkpoint is of step {step}, it was of {before}"
    assert step >= done - every, f"the newest checkpoint is of step {step}, {done} were done"
    return step


def send_myself(number: int, notes: Notes) -> None:
    """Send a signal to this process, and note when."""
    notes["sent"] = time.monotonic_ns()
    os.kill(os.getpid(), number)


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
