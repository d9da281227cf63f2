"""K2, K3, K5: killed inside a save, any call failing, and the order of syncing."""

import os
import random
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classicnets.errors import StorageError
from classicnets.storage.checkpoints import CheckpointStore

from . import a_run
from .processes import Child, Notes
from .rows import counted, row
from .system_calls import SystemCalls, fault_at, phase_of

PHASES = ("write", "fsync", "rename", "folder fsync", "prune")


def aim(notes: Notes, phase: str, rng: random.Random) -> SystemCalls:
    """Stretch the calls of a phase by up to 2 ms before and after, and note when inside one."""

    lock = threading.Lock()

    def enter(change: int) -> None:
        with lock:
            notes["inside"] += change

    def act(real: Any, *arguments: Any, **named: Any) -> Any:
        if not notes["begun"] or phase_of(real.__name__, arguments) != phase:
            return real(*arguments, **named)
        enter(1)
        time.sleep(rng.random() / 500)
        if phase == "write":
            half = rng.randrange(1, len(arguments[1]) + 1)
            real(arguments[0], arguments[1][:half])
            time.sleep(rng.random() / 500)
            result = half
        else:
            result = real(*arguments, **named)
        time.sleep(rng.random() / 500)
        enter(-1)
        return result

    return SystemCalls(act)


@row(
    "K2",
    "killed inside a save, aimed at each phase",
    lambda full: [phase for phase in PHASES for _ in range(40 if full else 6)],
    fires=0.75,
)
def killed_inside_a_save(phase: str, rng: random.Random, folder: Path) -> bool:
    a_run.save_first(folder, 3)
    saves = rng.randrange(1, 4)

    def run(notes: Notes) -> None:
        with CheckpointStore(folder) as store, aim(notes, phase, rng):
            for step in range(4, 40):
                notes["begun"] = step if step >= 3 + saves else 0
                a_run.save(store, step)
                notes["done"] = step

    child = Child(run)
    aimed = child.notes.wait_for("inside")
    time.sleep(rng.random() / 300)
    child.kill()
    child.result()
    notes = child.notes
    a_run.assert_survived(folder, done=notes["done"] or 3, begun=max(notes["begun"], notes["done"]))
    return aimed and notes["inside"] > 0


def disturbed(folder: Path, notes: Notes) -> list[str]:
    """Go on with the run in `folder` for three saves, whatever fails; returns what was raised."""
    raised = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = CheckpointStore(folder)
        for _ in range(2):
            try:
                store.open()
                break
            except StorageError as error:
                raised.append(str(error))
        else:
            return raised
        for step in (4, 5, 6):
            for _ in range(2):
                notes["begun"] = step
                try:
                    a_run.save(store, step)
                except StorageError as error:
                    raised.append(str(error))
                    continue
                notes["done"] = step
                break
        store.close()
    return raised


def prepared(folder: Path) -> None:
    """Make a run of three saves and what one that was killed left behind."""
    a_run.save_first(folder, 3)
    leftover = folder / ".tmp-999999999-0123456789abcdef"
    leftover.mkdir()
    (leftover / "state.safetensors").write_bytes(b"half")


def count_calls() -> int:
    """Return how many calls the disturbed run makes when nothing disturbs it."""
    with tempfile.TemporaryDirectory() as name:
        prepared(Path(name))

        def run(notes: Notes) -> int:
            with SystemCalls() as calls:
                disturbed(Path(name), notes)
            return len(calls.log)

        return Child(run).result()


def every_call(full: bool) -> Sequence[tuple[str, int]]:
    modes = ["killed before", "EIO once", "ENOSPC for good"]
    if full:
        modes += ["killed after", "EIO for good", "ENOSPC once"]
    numbers = range(1, count_calls() + 1)
    return [(mode, number) for mode in modes for number in numbers]


@row("K3", "every call of a run fails, once or for good, or is its last", every_call)
def any_call_fails(case: tuple[str, int], rng: random.Random, folder: Path) -> bool:
    mode, number = case
    prepared(folder)

    def run(notes: Notes) -> dict[str, Any]:
        with SystemCalls(fault_at(mode, number)) as calls:
            raised = disturbed(folder, notes)
        return {"raised": raised, "calls": [name for name, _ in calls.log]}

    if mode.startswith("killed"):
        child = Child(run)
        notes = child.notes
        assert child.result() is None, "the child was not killed"
    else:
        notes = Notes()
        outcome = run(notes)
        assert all("cannot write" in text for text in outcome["raised"]), outcome["raised"]
        assert len(outcome["calls"]) >= number, "the call was never made"
        if outcome["calls"][number - 1] in ("write", "fsync"):
            assert outcome["raised"], "nobody was told that it failed"
        if mode.endswith("once"):
            assert notes["done"] == 6, f"a fault that passed was not got over: {outcome}"
    a_run.assert_survived(folder, done=notes["done"] or 3, begun=notes["begun"] or 3)
    return True


def assert_synced(log: list[tuple[str, tuple[Any, ...]]]) -> None:
    """Assert that each rename follows the sync of all that it commits, and is synced itself."""
    names: dict[int, Path] = {}
    unsynced: set[Path] = set()
    for (name, arguments), result in log:
        if name == "open":
            names[result] = Path(arguments[0])
            if arguments[1] & os.O_CREAT:
                unsynced |= {Path(arguments[0]), Path(arguments[0]).parent}
        elif name == "write":
            unsynced.add(names[arguments[0]])
        elif name == "fsync":
            unsynced.discard(names[arguments[0]])
        elif name == "rename" and "step_" in str(arguments[1]):
            source, target = map(Path, arguments[:2])
            early = [path for path in unsynced if path == source or source in path.parents]
            assert not early, f"renamed before the disk had {early}"
            unsynced.add(target.parent)
    assert not [path for path in unsynced if path.name != ".lock"], f"never synced: {unsynced}"


def saved_and_logged(folder: Path, *, sync: bool = True) -> list[tuple[Any, Any]]:
    """Save three checkpoints and return the calls with what they returned."""
    log = []

    def act(real: Any, *arguments: Any, **named: Any) -> Any:
        if real.__name__ == "fsync" and not sync:
            return None
        result = real(*arguments, **named)
        log.append(((real.__name__, arguments), result))
        return result

    with CheckpointStore(folder) as store, SystemCalls(act):
        for step in (1, 2, 3):
            a_run.save(store, step)
    return log


@row(
    "K5",
    "power lost: everything is synced before its rename, the rename before the return",
    counted(5, 50),
)
def synced_in_order(case: int, rng: random.Random, folder: Path) -> bool:
    log = saved_and_logged(folder)
    assert_synced(log)
    return sum(call[0] == "fsync" for call, _ in log) == 15
