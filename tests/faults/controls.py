"""K4: careless ways to save, each of which the checks of the other rows must catch.

A trial of a control fails when the check does not complain.
"""

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from . import a_run
from .kills import assert_synced, saved_and_logged
from .processes import Child, Notes
from .rows import counted, row


class _Slow:
    """A file that stops for a moment inside each write, and notes it."""

    def __init__(self, file: Any, notes: Notes) -> None:
        self._file = file
        self._notes = notes

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._notes["inside"] = 1
        time.sleep(0.002)
        self._notes["inside"] = 0
        return half + self._file.write(data[half:])

    def flush(self) -> None:
        self._file.flush()


def assert_complains(check: Callable[[], Any], what: str) -> None:
    try:
        check()
    except Exception:
        return
    raise AssertionError(f"{what} was not caught")


@row("K4 torch.save", "control: torch.save to the final name, killed inside", counted(5, 20))
def plain_torch_save(case: int, rng: random.Random, folder: Path) -> bool:
    path = folder / "state.pt"
    torch.save({"step": 3, **a_run.tensors_of(3)}, path)

    def run(notes: Notes) -> None:
        with path.open("wb") as file:
            notes["begun"] = 1
            torch.save({"step": 4, **a_run.tensors_of(4)}, _Slow(file, notes))

    child = Child(run)
    fired = child.notes.wait_for("inside")
    time.sleep(rng.random() / 1000)
    child.kill()
    child.result()

    def check() -> None:
        state = torch.load(path, weights_only=True)
        step = state.pop("step")
        assert all(state[name].equal(value) for name, value in a_run.tensors_of(step).items())

    if fired and child.notes["begun"]:
        assert_complains(check, "a half-written torch.save")
    return fired


@row("K4 no digest", "control: safetensors without a digest, one bit flipped", counted(10, 100))
def no_digest(case: int, rng: random.Random, folder: Path) -> bool:
    path = folder / "state.safetensors"
    save_file(a_run.tensors_of(4), path)
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data) // 2, len(data))
    data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)

    def check() -> None:
        found = load_file(path)
        assert all(found[name].equal(value) for name, value in a_run.tensors_of(4).items())

    assert_complains(check, "a flipped bit that nothing noticed")
    return hashlib.sha256(data).digest() != b""


@row("K4 no sync", "control: renamed without syncing", counted(3, 10))
def no_sync(case: int, rng: random.Random, folder: Path) -> bool:
    log = saved_and_logged(folder, sync=False)
    assert_complains(lambda: assert_synced(log), "a save without fsync")
    return bool(log)


@row(
    "K4 half a rename",
    "control: files moved one by one to the final folder, killed between",
    counted(3, 10),
)
def half_a_rename(case: int, rng: random.Random, folder: Path) -> bool:
    a_run.save_first(folder, 3)

    def run(notes: Notes) -> None:
        final = folder / "step_00000004"
        a_run.save_first(folder / "aside", 4)
        final.mkdir()
        for number, file in enumerate(sorted((folder / "aside" / final.name).iterdir())):
            file.rename(final / file.name)
            if number == case % 2:
                notes["inside"] = 1
                time.sleep(5)

    child = Child(run)
    fired = child.notes.wait_for("inside")
    child.kill()
    child.result()
    assert_complains(
        lambda: a_run.assert_survived(folder, done=3, begun=4), "a checkpoint moved in pieces"
    )
    return fired
