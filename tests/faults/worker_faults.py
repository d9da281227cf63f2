"""W1, W2, W3: worker processes of a DataLoader that are killed, hang, or raise."""

import os
import random
import signal
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from classicnets.errors import WorkerDiedError
from classicnets.storage.run_lock import is_alive
from classicnets.training import workers

from .processes import Child, Notes
from .rows import counted, row
from .training_run import (
    BATCHES,
    COUNT,
    EPOCHS,
    Plan,
    assert_little_lost,
    assert_resumes_the_same,
    make_loader,
    train,
)


@row(
    "W1",
    "a worker process killed, one or two of them",
    lambda full: [count for _ in range(20 if full else 2) for count in (1, 2)],
)
def worker_killed(count: int, rng: random.Random, folder: Path) -> bool:
    plan = Plan(data="DataLoader", workers=count)
    step = rng.randrange(EPOCHS) * BATCHES + 1  # later ones may have nothing left to do

    def run(notes: Notes) -> dict[str, Any]:
        pids: list[int] = []

        def at(moment: str, number: int) -> None:
            if (moment, number) == ("step", step):
                pids.extend(int(child.pid or 0) for child in active_children())
                notes["sent"] = time.monotonic_ns()
                os.kill(rng.choice(pids), signal.SIGKILL)

        try:
            train(plan, folder, notes, at)
        except WorkerDiedError as error:
            waited = time.monotonic() - notes["sent"] / 1e9
            left = [pid for pid in pids if is_alive(pid)]
            return {"message": str(error), "waited": waited, "left": left, "done": notes["done"]}
        return {}

    answer = Child(run).result()
    if not answer:
        return False
    assert "died (exit code -9)" in answer["message"], answer["message"]
    assert answer["waited"] < 5, f"said after {answer['waited']:.1f} s"
    assert not answer["left"], "a worker process was left"
    assert_little_lost(folder, before=answer["done"], done=answer["done"], every=0)
    assert_resumes_the_same(folder, plan)
    return True


class _Failing:
    """Pictures, the worker of one of which hangs or raises."""

    def __init__(self, number: int, how: str) -> None:
        self._pictures = make_loader(Plan(data="DataLoader")).dataset
        self._number, self._how = number, how

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == self._number and self._how == "hangs":
            time.sleep(60)
        if index == self._number:
            raise LookupError(f"picture {index} is missing")
        picture: tuple[Tensor, int] = self._pictures[index]
        return picture


def failing(how: str, rng: random.Random, folder: Path) -> dict[str, Any]:
    number = rng.randrange(COUNT)

    def run(notes: Notes) -> dict[str, Any]:
        workers._PATIENCE_SECONDS = workers._LOOK_SECONDS = 1
        loader: Any = DataLoader(
            _Failing(number, how), 8, num_workers=rng.choice([1, 2]), multiprocessing_context="fork"
        )
        began = time.monotonic()
        try:
            train(Plan(data="DataLoader"), folder, notes, loader=loader)
        except Exception as error:
            waited = time.monotonic() - began
            left = [child.pid for child in active_children()]
            kind = type(error).__name__
            return {"kind": kind, "message": str(error), "waited": waited, "left": left}
        return {}

    answer: dict[str, Any] = Child(run).result()
    assert answer["left"] == [], "a worker process was left"
    assert_little_lost(folder, before=0, done=number // 8, every=0)
    return {**answer, "number": number}


@row("W2", "a worker process hangs, with a patience of 1 s", counted(1, 5))
def worker_hangs(case: int, rng: random.Random, folder: Path) -> bool:
    answer = failing("hangs", rng, folder)
    assert answer["kind"] == "WorkerDiedError"
    assert "gave no batch in time" in answer["message"], answer["message"]
    assert 1 <= answer["waited"] < 5, f"said after {answer['waited']:.1f} s"
    return True


@row("W3", "a worker process raises", counted(2, 10))
def worker_raises(case: int, rng: random.Random, folder: Path) -> bool:
    answer = failing("raises", rng, folder)
    assert answer["kind"] == "LookupError"
    assert f"picture {answer['number']} is missing" in answer["message"], answer["message"]
    assert "__getitem__" in answer["message"], "without the traceback of the worker"
    return True
