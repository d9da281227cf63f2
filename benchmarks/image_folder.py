"""Pictures a second: `image_folder` beside torchvision's ImageFolder and DataLoader.

    python benchmarks/image_folder.py FOLDER [--large FOLDER] [--rounds 5] [--out FILE]

Both give training batches of 32 at 224 (random resized crop of 0.5 to 1, flip, normalisation) with
two workers, in turn, on the same pictures, the files in the system's cache. Nothing is done with
the batches. The first epoch begins with the listing of the folder. `--large` is a folder whose peak
memory is measured in a process of its own. Last, what `fit` gives on the folder beside what it
gives on the same batches made before: near 1 where the net, and not the data, is waited for (six
batches, the second epoch).
"""

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from result_files import made_on, spread
from torchvision import transforms

from classicnets import create_model, fit
from classicnets.data import image_folder
from classicnets.data.picture_files import list_folders

EPOCHS = 4  # the first, and those after it
WORKERS = 2
FITTED = 6  # batches


def ours(root: Path, cache: str) -> Any:
    return image_folder(root, split=(0.98, 0, 0.02), num_workers=WORKERS, cache=cache).train


def theirs(root: Path) -> Any:
    steps = [
        transforms.RandomResizedCrop(224, scale=(0.5, 1)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    return torch.utils.data.DataLoader(
        torchvision.datasets.ImageFolder(str(root), transforms.Compose(steps)),
        batch_size=32,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def epochs(make: Callable[[], Iterable[Any]]) -> list[float]:
    """Pictures a second of each epoch of a new loader, its making counted to the first."""
    speeds = []
    begun = time.perf_counter()
    loader = make()
    for _ in range(EPOCHS):
        count = sum(len(labels) for _, labels in loader)
        ended = time.perf_counter()
        speeds.append(count / (ended - begun))
        begun = ended
    return speeds


def touch_memory() -> None:
    """Have the system hold 1 GB that it can give out.

    A virtual machine gives freed pages back to its host, and to get them again took 20 times as
    long here as what the system itself needs: whoever ran after an idle moment paid it.
    """
    np.zeros(2**30, np.uint8)[:: resource.getpagesize()] = 1


def processor_seconds() -> float:
    """Time that this process and those it started and has ended spent on processors."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def speeds(root: Path, rounds: int) -> dict[str, Any]:
    ways = {
        "torchvision ImageFolder, DataLoader": lambda: theirs(root),
        "image_folder, cache in memory": lambda: ours(root, "memory"),
        "image_folder, cache on disk, made before": lambda: ours(root, "disk"),
        "image_folder, no cache": lambda: ours(root, "none"),
    }
    pictures = EPOCHS * len(list_folders(root))
    for make in ways.values():  # once unmeasured: imports, the system's cache, ours on disk
        epochs(make)
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    work: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, make in ways.items():
            touch_memory()
            begun = processor_seconds()
            found[name].append(epochs(make))
            gc.collect()  # ends torchvision's workers, so that their time is known
            work[name].append(1000 * (processor_seconds() - begun) / pictures)
    result: dict[str, Any] = {}
    base = found["torchvision ImageFolder, DataLoader"]
    for name, runs in found.items():
        result[name] = {
            "first epoch": spread([run[0] for run in runs]),
            "later epochs": spread([speed for run in runs for speed in run[1:]]),
            "processor milliseconds a picture, all epochs": spread(work[name], 2),
        }
        if runs is not base:
            pairs = list(zip(runs, base, strict=True))
            result[name]["times torchvision, first epoch"] = spread(
                [run[0] / other[0] for run, other in pairs], 2
            )
            result[name]["times torchvision, later epochs"] = spread(
                [statistics.mean(run[1:]) / statistics.mean(other[1:]) for run, other in pairs], 2
            )
    return result


class First:
    """The first batches of each epoch of a loader."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return FITTED

    def __iter__(self) -> Iterator[Any]:
        return islice(self._loader, FITTED)


def fitted(net: str, batches: Iterable[Any]) -> float:
    """Pictures a second of the second epoch of `fit`."""
    torch.manual_seed(0)
    model = create_model(net, num_classes=2)
    history = fit(model, batches, epochs=2, optimizer="sgd", lr=0.001, device="cpu", progress=False)
    return history.epochs[-1].images_per_second


def waiting(root: Path, rounds: int) -> dict[str, Any]:
    """Of each net: speed of `fit` on the folder and on batches in memory, in turn."""
    found = {}
    for net in ("alexnet", "lenet_catdog"):
        loader = First(ours(root, "auto"))
        memory = list(loader)
        pairs = [(fitted(net, loader), fitted(net, memory)) for _ in range(rounds)]
        found[net] = {
            "on the folder": spread([pair[0] for pair in pairs]),
            "on batches in memory": spread([pair[1] for pair in pairs]),
            "folder over memory": spread([pair[0] / pair[1] for pair in pairs], 2),
        }
    return found


def listing(count: int, rounds: int) -> dict[str, Any]:
    """Seconds to list so many files in two folders."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for label in ("cat", "dog"):
            (root / label).mkdir()
            for number in range(count // 2):
                (root / label / f"{label}.{number}.jpg").touch()
        seconds = []
        for _ in range(rounds):
            begun = time.perf_counter()
            if len(list_folders(root)) != count:
                raise SystemExit("files are missing from the listing")
            seconds.append(time.perf_counter() - begun)
    return {"files": count, "seconds": spread(seconds, 3)}


def memory(root: Path) -> dict[str, Any]:
    """Peak memory of this process after two epochs with the default options."""
    splits = image_folder(root)
    for _ in range(2):
        for _ in splits.train:
            pass
    parts = (splits.train, splits.val, splits.test)
    status = Path("/proc/self/status").read_text()  # ru_maxrss also counts who started the process
    kilobytes = int(status.partition("VmHWM:")[2].split()[0])
    return {
        "pictures": sum(part.num_images for part in parts if part is not None),
        "peak resident GB": round(kilobytes * 1024 / 1e9, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_only:
        print(json.dumps(memory(given.folder)))
        return
    load_before = os.getloadavg()[0]
    result = {
        "command": "python benchmarks/image_folder.py FOLDER --large FOLDER",
        "unit": "pictures a second at 224, batch 32, two workers",
        "pictures": len(list_folders(given.folder)),
        "speeds": speeds(given.folder, given.rounds),
        "listing": listing(100_000, given.rounds),
        "fit": waiting(given.folder, given.rounds),
        **made_on(**{"load before": round(load_before, 2)}),
    }
    if given.large:
        done = subprocess.run(
            [sys.executable, __file__, str(given.large), "--memory-only"],
            capture_output=True,
            text=True,
            check=True,
        )
        result["memory"] = json.loads(done.stdout)
    text = json.dumps(result, indent=2)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
