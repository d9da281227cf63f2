"""What the questions about the GPU share: the device, the data, the clock, ways taken in turn."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from classicnets import data, fit
from classicnets.benchmark import spread


@dataclass(frozen=True)
class Setting:
    device: str
    tiny: bool
    root: Path | None
    deadline: float  # of `time.perf_counter`
    rounds: int

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self.deadline

    def splits(self, batch_size: int, seed: int = 0, augment: Any = None) -> data.Splits:
        options = {"batch_size": batch_size, "seed": seed, "augment": augment}
        if self.tiny:
            return data.digits(device=self.device, **options)
        return data.mnist(self.root, device=self.device, **options)

    def wait(self) -> float:
        """Let the device finish; return the time."""
        torch.get_device_module(self.device).synchronize()
        return time.perf_counter()

    def clock(self, call: Callable[[], object]) -> float:
        begun = self.wait()
        call()
        return self.wait() - begun


def in_turn(ways: dict[str, Callable[[], float]], setting: Setting) -> dict[str, Any]:
    """Images a second of each way, in turn, after a first round that warms up; and the ratios.

    A way that fails is named with its error, and the others go on. Out of time, a round that has
    begun is the last.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    failed: dict[str, str] = {}
    for number in range(setting.rounds + 1):
        if number > 1 and setting.is_over:
            break
        for name in list(found):
            try:
                speed = ways[name]()
            except Exception as error:
                failed[name] = said(error)
                del found[name]
                continue
            print(f"{name}: {speed:,.0f} images/s", flush=True)
            if number:
                found[name].append(speed)
    first = next(iter(ways))
    result = {
        "images per second": {name: asdict(spread(speeds)) for name, speeds in found.items()},
        f"{first}: times as fast as": {
            name: asdict(spread([a / b for a, b in zip(found[first], speeds, strict=True)]))
            for name, speeds in found.items()
            if first in found and name != first
        },
    }
    return {**result, "failed": failed} if failed else result


def speed_of_fit(
    model: nn.Module, loader: data.TensorLoader, setting: Setting, **options: Any
) -> float:
    """Images a second in the second epoch of `fit`, by SGD; the first epoch captures."""
    given = {"optimizer": "sgd", "lr": 0.01, "device": setting.device, "progress": False, **options}
    return fit(model, loader, epochs=2, **given).epochs[-1].images_per_second


def said(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
