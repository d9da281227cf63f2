"""What every peer shares: the pictures, the clock and the answers. Needs numpy alone.

The task: LeNet-5 of 61,706 parameters (dense C3, tanh, average pooling) on MNIST's training
pictures, padded to 32x32 and normalised, float32, SGD with momentum 0.9 and learning rate 0.01,
batches of 64, shuffled. One epoch is timed after a warm-up; nothing is validated or saved.

Each script runs alone: `python with_ignite.py --root FOLDER` answers in lines of JSON on standard
output, and whatever the framework prints goes to standard error. `--wait` is for `peers.py`: each
line on standard input starts an epoch.
"""

import argparse
import gc
import gzip
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
LEARNING_RATE = 0.01
MOMENTUM = 0.9
MEAN, DEVIATION = 0.1307, 0.3081
WARM_UP = 2560  # pictures; a last batch that is short is warmed up too
JUDGED = 2000  # pictures whose loss is told after the epoch

Run = Callable[[], Any]

_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


class Batches:
    """Batches that are tensors already, for the cost of a step and nothing else."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True, help="folder that has MNIST/raw")
    parser.add_argument("--part", choices=("epochs", "steps"), default="epochs")
    parser.add_argument("--data", default="memory", help="memory, transforms or workers")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--lean", action="store_true", help="all that can be switched off is off")
    parser.add_argument("--seconds", type=float, default=10, help="how long steps are measured")
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def pictures(root: Path, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Pictures float32 (N, 1, 32, 32), normalised, and labels int64 (N,)."""
    pixels = _idx(root, f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    levels = ((np.arange(256) / 255 - MEAN) / DEVIATION).astype(np.float32)
    images = np.full((len(pixels), 1, 32, 32), levels[0])
    images[:, :, 2:-2, 2:-2] = levels[pixels]
    return images, _idx(root, f"{part}-labels-idx1-ubyte", 8).astype(np.int64)


def _idx(root: Path, name: str, header: int) -> np.ndarray:
    path = root / "MNIST" / "raw" / name
    content = path.read_bytes() if path.exists() else gzip.decompress(_gz(path).read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def _gz(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def answer(**values: Any) -> None:
    """Write a line of JSON to the real standard output."""
    print(json.dumps(values), file=_answers, flush=True)


def measure(given: argparse.Namespace, prepare: Callable[[int], Run], tell: Callable[[], Any]):
    """Time epochs. `prepare(count)` gives what trains on so many pictures; `tell` what came of it.

    What `prepare` does is not timed: a user has it once, not each epoch.
    """
    begun = time.perf_counter()
    prepare(WARM_UP + given.images % BATCH)()
    answer(ready=True, warm_up_seconds=time.perf_counter() - begun)
    for _ in sys.stdin if given.wait else [""]:
        run = prepare(given.images)
        gc.collect()
        begun = time.perf_counter()
        run()
        seconds = time.perf_counter() - begun
        answer(seconds=seconds, images=given.images, **tell(), peak_gigabytes=_peak())


def measure_steps(
    given: argparse.Namespace, prepare: Callable[[int], Run], bare: Callable[[int], Run]
):
    """Microseconds a step of a framework above those of a bare loop, the two in turn.

    A step's cost is the slope between a short call and a long one, so that what a call costs once
    is not in it; that is told by itself.
    """
    short, long = 100, 1100
    found: dict[str, list[float]] = {"above": [], "framework": [], "bare": [], "call": []}

    def seconds(make: Callable[[int], Run], steps: int) -> float:
        run = make(steps)
        begun = time.perf_counter()
        run()
        return time.perf_counter() - begun

    seconds(prepare, short), seconds(bare, short)
    begun = time.perf_counter()
    while len(found["above"]) < 7 or time.perf_counter() - begun < given.seconds:
        slopes = {}
        for name, make in (("framework", prepare), ("bare", bare)):
            few, many = seconds(make, short), seconds(make, long)
            slopes[name] = (many - few) / (long - short)
            found[name].append(1e6 * slopes[name])
            if name == "framework":
                found["call"].append(1e6 * (few - short * slopes[name]))
        found["above"].append(1e6 * (slopes["framework"] - slopes["bare"]))
    answer(
        **{name: spread(values) for name, values in found.items()},
        unit="microseconds",
    )


def spread(values: list[float]) -> dict[str, Any]:
    return {
        "n": len(values),
        "median": float(f"{statistics.median(values):.5g}"),
        "min": float(f"{min(values):.5g}"),
        "max": float(f"{max(values):.5g}"),
    }


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
