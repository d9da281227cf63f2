"""Long runs: memory, file descriptors, threads and children that must not grow, and controls."""

import ctypes
import gc
import os
import random
from collections.abc import Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from classicnets.training import each_step, fit

from .processes import Child, Notes
from .rows import row
from .training_run import Plan, make_loader, make_net, tensor_loader

_MOST_GROWTH = 5e6  # bytes in 10,000 steps
_SHORT_GROWTH = 10e6  # what a short run may show: 2 to 6 MB were seen where nothing is lost
_LEAK = 2048  # bytes a step, of the control


def growth(steps: int, warm_up: int, leak: int, folder: Path) -> float:
    """Return the bytes that 10,000 steps add to the memory of a run, by a linear fit."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # room that earlier rows left free would hide growth
    leaked: list[bytes] = []
    seen: list[tuple[int, int]] = []

    @each_step
    def watch(event: Any) -> None:
        leaked.append(os.urandom(leak))
        if event.kind == "step" and event.step >= warm_up and event.step % 50 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen.append((event.step, pages * os.sysconf("SC_PAGESIZE")))

    fit(
        make_net(Plan()),
        tensor_loader(32, 400, augmented=True),
        val_loader=tensor_loader(32, 16),
        epochs=-(-(warm_up + steps) // 50),
        device="cpu",
        progress=False,
        callbacks=[watch],
        checkpoint_dir=folder,
    )
    slope, _ = np.polyfit(*np.array(seen, float).T, 1)
    return float(slope) * 10_000


def _tier(full: bool) -> Sequence[tuple[int, int]]:
    return [(10_000, 1_000) if full else (1_500, 500)]


@row("growth", "10,000 steps (quick: 1,500): memory", _tier)
def memory(case: tuple[int, int], rng: random.Random, folder: Path) -> bool:
    found = Child(lambda notes: growth(*case, 0, folder)).result(600)
    most = _MOST_GROWTH if case[0] == 10_000 else _SHORT_GROWTH
    assert found < most, f"{found / 1e6:.1f} MB more in 10,000 steps"
    return True


@row("growth leak", "control: 2 kB lost a step", _tier)
def memory_leak(case: tuple[int, int], rng: random.Random, folder: Path) -> bool:
    found = Child(lambda notes: growth(*case, _LEAK, folder)).result(600)
    assert found > _SHORT_GROWTH, f"a leak of 20 MB was seen as {found / 1e6:.1f} MB"
    return True


def holdings(fits: int, folder: Path, notes: Notes, *, leak: bool) -> list[list[int]]:
    """Return the number of descriptors, threads and children after the first fit and the last."""
    counts: list[list[int]] = []
    kinds = (("tensors", 0), ("image_folder", 2), ("DataLoader", 2), ("tensors", 0))
    for number in range(fits):
        data, num_workers = kinds[number % len(kinds)] if number else kinds[2]
        loader = make_loader(Plan(data=data, workers=num_workers))
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
        options: dict[str, Any] = {"checkpoint_dir": folder / str(number)}
        fit(model, loader, epochs=1, device="cpu", progress=False, **options)
        if leak:
            os.dup(1)
        del loader
        gc.collect()
        descriptors, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))  # noqa: PTH208
        counts.append([descriptors, threads, len(active_children())])
    return [counts[0], counts[-1]]


def _fits(full: bool) -> Sequence[int]:
    return [100 if full else 12]


@row("holdings", "100 fits (quick: 12): descriptors, threads, children", _fits)
def nothing_held(fits: int, rng: random.Random, folder: Path) -> bool:
    first, last = Child(lambda notes: holdings(fits, folder, notes, leak=False)).result(300)
    assert first == last, f"descriptors, threads and children are {last}, they were {first}"
    assert last[2] == 0
    return True


@row("holdings leak", "control: a descriptor lost a fit", _fits)
def descriptor_leak(fits: int, rng: random.Random, folder: Path) -> bool:
    first, last = Child(lambda notes: holdings(fits, folder, notes, leak=True)).result(300)
    assert first != last, "a descriptor lost at each fit was not seen"
    return True
