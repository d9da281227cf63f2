"""K6, K7, K8: asked to end by a signal, once and twice, and a reader that goes away."""

import functools
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg  # noqa: F401  these for all children of this process
import rich.progress  # noqa: F401
import sklearn.datasets  # noqa: F401
import typer.main  # noqa: F401

from classicnets import plots, runs  # noqa: F401
from classicnets.cli import main

from .kills import PHASES, aim
from .processes import Child, Notes
from .rows import counted, row
from .system_calls import SystemCalls
from .training_run import (
    BATCHES,
    EPOCHS,
    Plan,
    assert_resumes_the_same,
    send_myself,
    train,
)

_PLAN = Plan(chance="dropout")
_LAST = (EPOCHS - 1) * BATCHES  # signals come before this batch, well before the end
_MOMENTS = ("any", "loader", "validation", "step", "save")


def wait_for_batch(child: Child, number: int) -> None:
    while child.notes["done"] < number and not child.notes["ended"]:
        time.sleep(0)


def asked_to_end(
    number: signal.Signals, moment: str, rng: random.Random, folder: Path
) -> dict[str, Any] | None:
    """Send a signal to a run at a moment; return what came of the run, None if it was killed."""
    count = rng.randrange(2, EPOCHS if moment in ("loader", "validation") else _LAST)

    def run(notes: Notes) -> dict[str, Any]:
        def at(happened: str, which: int) -> None:
            if (happened, which) == (moment, count):
                notes["phase"] = notes["done"]
                send_myself(number, notes)

        def act(real: Any, *arguments: Any, **named: Any) -> Any:
            if real.__name__ == "write" and notes["done"] >= count and not notes["sent"]:
                notes["phase"] = notes["done"]
                send_myself(number, notes)
            return real(*arguments, **named)

        with SystemCalls(act if moment == "save" else None):
            return train(_PLAN, folder, notes, at)

    child = Child(run)
    if moment == "any":
        wait_for_batch(child, count)
        time.sleep(rng.random() / 100)
        child.notes["sent"] = time.monotonic_ns()
        os.kill(child.pid, number)
        child.notes["phase"] = child.notes["done"]
    answer = child.result()
    if answer is not None:
        answer["waited"] = answer["ended"] - child.notes["sent"] / 1e9
        answer["batches"] = answer["steps"] - child.notes["phase"]
    return answer


def ends_well(number: signal.Signals, moment: str, rng: random.Random, folder: Path) -> bool:
    answer = asked_to_end(number, moment, rng, folder)
    if answer is None or not answer["interrupted"]:
        return False
    assert answer["stopped"] == number.name
    assert answer["waited"] < 2, f"saved {answer['waited']:.1f} s after the signal"
    allowed = 1 + (moment in ("any", "save"))  # "done" counts a batch after its save
    assert answer["batches"] <= allowed, f"{answer['batches']} batches after the signal"
    assert_resumes_the_same(folder, _PLAN)
    return True


@row("K6", "SIGTERM: at any time, loader start, validation, a step, a save", counted(5, 40))
def terminated(case: int, rng: random.Random, folder: Path) -> bool:
    return ends_well(signal.SIGTERM, _MOMENTS[case % len(_MOMENTS)], rng, folder)


@row("K7 once", "Ctrl-C once: at the same moments", counted(5, 30))
def interrupted_once(case: int, rng: random.Random, folder: Path) -> bool:
    return ends_well(signal.SIGINT, _MOMENTS[case % len(_MOMENTS)], rng, folder)


@row(
    "K7 twice", "Ctrl-C, and again inside the writing of the checkpoint", counted(5, 30), fires=0.9
)
def interrupted_twice(case: int, rng: random.Random, folder: Path) -> bool:
    def run(notes: Notes) -> str:
        with aim(notes, PHASES[case % (len(PHASES) - 1)], rng):
            try:
                train(_PLAN, folder, notes)
            except KeyboardInterrupt:
                return "at once"
        return "in the end"

    child = Child(run)
    wait_for_batch(child, rng.randrange(5, _LAST))
    os.kill(child.pid, signal.SIGINT)
    child.notes["begun"] = 1  # from here on the saves are stretched
    inside = child.notes.wait_for("inside")
    began = time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    fired = child.result() == "at once" and inside
    waited = time.monotonic() - began
    assert waited < 2, f"ended {waited:.1f} s after the second signal"
    assert_resumes_the_same(folder, _PLAN)
    return fired


def command(*words: str, closed: str = "") -> Callable[[Notes], int]:
    """Return a function that runs `classicnets` and returns its exit status."""

    def run(notes: Notes) -> int:
        reader, writer = os.pipe()
        os.close(reader)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for name, descriptor in (("output", 1), ("errors", 2)):
            os.dup2(writer if name in closed else nowhere, descriptor)
        notes["ready"] = 1
        return main(words)

    return run


_TRAIN = (
    "train",
    "lenet5",
    "--data",
    "digits",
    "--epochs",
    "3",
    "--device",
    "cpu",
    "--no-download",
)


@functools.cache
def _without_a_signal() -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as name:
        assert Child(command(*_TRAIN, "--out", f"{name}/run")).result() == 0
        return _kept(Path(name, "run"))


def _kept(run: Path) -> tuple[bytes, bytes]:
    return (run / "model.safetensors").read_bytes(), (run / "steps.csv").read_bytes()


@row("K6 K7 command", "SIGTERM, Ctrl-C to `classicnets train`, then resume", counted(1, 10))
def command_asked_to_end(case: int, rng: random.Random, folder: Path) -> bool:
    number, status = ((signal.SIGTERM, 143), (signal.SIGINT, 130))[case % 2]
    run = folder / "run"
    expected = _without_a_signal()
    child = Child(command(*_TRAIN, "--out", str(run)))
    deadline = time.monotonic() + 60
    while not list(run.glob("checkpoints/step_*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(rng.random() / 5)
    os.kill(child.pid, number)
    found = child.result()
    if found == 0:  # it had trained already
        return False
    assert found == status, f"exit status {found}, not {status}"
    assert Child(command("resume", str(run))).result() == 0
    assert _kept(run) == expected, "other bits than without a signal"
    return True


@row("K8", "the reader of output or errors goes away", counted(1, 10))
def reader_gone(case: int, rng: random.Random, folder: Path) -> bool:
    closed, status = (("output", 141), ("errors", 0))[case % 2]
    run = folder / "run"
    expected = _without_a_signal()
    found = Child(command(*_TRAIN, "--out", str(run), closed=closed)).result()
    assert found == status, f"exit status {found}, not {status}"
    assert _kept(run) == expected, "other bits than with a reader"
    return True
