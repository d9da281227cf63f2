"""R1: stopped and resumed to the same bits, in every kind of run and at every kind of cut."""

import itertools
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .processes import Child, Notes
from .rows import row
from .training_run import BATCHES, SIZES, Plan, assert_resumes_the_same, send_myself, train

_LOADERS = (
    *(("tensors", 0), ("DataLoader", 0), ("DataLoader", 2)),
    *(("image_folder", 0), ("image_folder", 2)),
)
_CUTS = {
    "end of an epoch": ("step", 2 * BATCHES),
    "middle": ("step", 2 * BATCHES + 3),
    "validation": ("validation", 2),
}


def cells(full: bool) -> Sequence[tuple[Plan, str]]:
    """Return all 180 cells, or a few of them that have each value of each factor."""
    plans = [
        Plan(net, optimizer, data, workers, chance, None)
        for net, optimizer, chance, (data, workers) in itertools.product(
            SIZES, ("sgd", "adam"), ("augmentation", "dropout"), _LOADERS
        )
    ]
    every = [(plan, cut) for plan in plans for cut in _CUTS]
    return every if full else every[::26]


@row("R1", "cut at an epoch's end, in its middle, in validation; then resumed", cells)
def resumed(case: tuple[Plan, str], rng: random.Random, folder: Path) -> bool:
    plan, cut = case

    def run(notes: Notes) -> dict[str, Any]:
        def at(moment: str, number: int) -> None:
            if (moment, number) == _CUTS[cut]:
                send_myself(signal.SIGTERM, notes)

        return train(plan, folder, notes, at)

    answer = Child(run).result()
    assert_resumes_the_same(folder, plan)
    return bool(answer["interrupted"])
