"""D1, D3, D4, D6, D7: full disks, folders that cannot be, neighbours, leftovers and links."""

import ctypes
import os
import random
import resource
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from classicnets.errors import RunLockedError, StorageError
from classicnets.storage.checkpoints import CheckpointStore
from classicnets.storage.weights import save_weights

from . import a_run
from .processes import Child, Notes, in_child
from .rows import NotPossibleHereError, counted, each, row

_NEW_NAMESPACE, _PRIVATE, _READ_ONLY, _REMOUNT = 0x00020000, 0x44000, 1, 32


def mount_tmpfs(folder: Path, options: str, flags: int = 0) -> bool:
    """Mount a file system in memory that this process alone sees; False if that is not allowed."""
    libc = ctypes.CDLL(None)
    if not flags & _REMOUNT and libc.unshare(_NEW_NAMESPACE) != 0:
        return False
    libc.mount(b"none", b"/", None, _PRIVATE, None)
    return libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", flags, options.encode()) == 0


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_storage_error(function: Callable[[], Any], *words: str) -> None:
    message = ""
    try:
        function()
    except StorageError as error:
        message = str(error)
    missing = [word for word in words if word not in message]
    assert message, "nothing was raised"
    assert not missing, f"{missing} not in the message {message}"


@row("D1", "disk full: no file larger than 0 to all but one byte", each(range(64)))
def disk_full(case: int, rng: random.Random, folder: Path) -> bool:
    tensors, state = a_run.tensors_of(4), a_run.state_of(4)
    if case % 4 == 3:  # the tensors fit, the rest does not
        tensors, state = {}, {"text": "x" * 90_000}
    a_run.save_first(folder, 3)
    with CheckpointStore(folder) as store:
        with file_size_limit(case * 90_000 // 64):
            assert_storage_error(
                lambda: store.save(4, tensors, state),
                *("cannot write", "step_00000004", "it needs 0.1 MB", "MB are free", "make room"),
            )
        assert not a_run.temporaries(folder)
        newest, skipped = store.newest()
        assert not skipped
        a_run.assert_is(newest, 3)
        a_run.save(store, 4)
        a_run.assert_is(store.newest()[0], 4)
    return True


@row("D1 real", "disk full: a file system of 100 to 350 kB", counted(4, 16))
def disk_really_full(case: int, rng: random.Random, folder: Path) -> bool:
    size = rng.randrange(100, 350)  # of the 380 kB that the store would take

    def run() -> bool:
        if not mount_tmpfs(folder, f"size={size}k"):
            return False
        with CheckpointStore(folder) as store:
            for step in range(1, 100):
                try:
                    a_run.save(store, step)
                except StorageError as error:
                    message = str(error)
                    break
            assert "No space left on device" in message
            assert not a_run.temporaries(folder)
            newest, skipped = store.newest()
            assert not skipped
            if step > 1:
                a_run.assert_is(newest, step - 1)
            assert mount_tmpfs(folder, "size=4m", _REMOUNT)
            a_run.save(store, step)
            a_run.assert_is(store.newest()[0], step)
        return True

    if not in_child(run):
        raise NotPossibleHereError("mounting a file system is not allowed")
    return True


def _file(folder: Path) -> Path:
    (folder / "file").write_text("precious")
    return folder / "file"


def _link(folder: Path, target: str) -> Path:
    (folder / "link").symlink_to(target)
    return folder / "link"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


BAD_PLACES: dict[str, Callable[[Path], Path]] = {
    "a file": _file,
    "below a file": lambda folder: _file(folder) / "run",
    "a link to nothing": lambda folder: _link(folder, "nowhere"),
    "a link to itself": lambda folder: _link(folder, "link"),
    "a link to a file": lambda folder: _link(folder, str(_file(folder))),
    "a pipe": _pipe,
    "a device": lambda folder: Path("/dev/null"),
    "below a device": lambda folder: Path("/dev/null/run"),
    "a name of 300 letters": lambda folder: folder / ("n" * 300),
    "a path of 6,000 letters": lambda folder: folder / "/".join(["n" * 100] * 60),
    "a zero byte": lambda folder: folder / "run\0",
    "a folder of the kernel": lambda folder: Path("/proc/classicnets"),
}


@row("D3", "a folder that cannot be written", each(list(BAD_PLACES)))
def bad_place(case: str, rng: random.Random, folder: Path) -> bool:
    place = BAD_PLACES[case](folder)
    before = sorted(folder.rglob("*")) if len(str(place)) < 4000 else None
    start = time.monotonic()
    assert_storage_error(lambda: CheckpointStore(place).open(), "cannot write", "choose a folder")
    assert_storage_error(
        lambda: save_weights(torch.nn.Linear(2, 2), place / "net.safetensors"), "cannot write"
    )
    assert time.monotonic() - start < 2
    assert before is None or sorted(folder.rglob("*")) == before, "something was left behind"
    return True


@row("D3 read-only", "a read-only file system", counted(1, 3))
def read_only(case: int, rng: random.Random, folder: Path) -> bool:
    def run() -> bool:
        if not mount_tmpfs(folder, "", _READ_ONLY):
            return False
        assert_storage_error(lambda: CheckpointStore(folder).open(), "Read-only file system")
        return True

    if not in_child(run):
        raise NotPossibleHereError("mounting a file system is not allowed")
    return True


@row(
    "D3 odd names",
    "control: odd names that can be written",
    each(["new\nline", "é 数", "-", "n" * 200]),
)
def odd_names(case: str, rng: random.Random, folder: Path) -> bool:
    a_run.save_first(folder / case, 2)
    a_run.assert_is(CheckpointStore(folder / case).newest()[0], 2)
    return True


@row("D4", "two runs start in one folder within 50 ms; the winner is killed", counted(10, 50))
def two_runs(case: int, rng: random.Random, folder: Path) -> bool:
    a_run.save_first(folder, 3)
    delays = [rng.random() / 20, rng.random() / 20]

    def contend(delay: float) -> Callable[[Notes], str]:
        def run(notes: Notes) -> str:
            notes["ready"] = 1
            notes.wait_for("begun")
            time.sleep(delay)
            store = CheckpointStore(folder)
            try:
                store.open()
            except RunLockedError as error:
                notes["done"] = 2
                return str(error)
            notes["done"] = 1
            time.sleep(30)
            return "held on too long"

        return run

    children = [Child(contend(delay)) for delay in delays]
    for child in children:
        child.notes.wait_for("ready")
    for child in children:
        child.notes["begun"] = 1
    deadline = time.monotonic() + 20
    while not all(child.notes["done"] for child in children):
        assert time.monotonic() < deadline, "a run neither won nor lost"
        time.sleep(0.001)
    winners = [child for child in children if child.notes["done"] == 1]
    losers = [child for child in children if child.notes["done"] == 2]
    try:
        messages = [child.result() for child in losers]
    finally:
        for child in winners:
            child.kill()
            child.result()
    assert len(winners) == 1, f"{len(winners)} winners"
    assert f"process {winners[0].pid} on" in messages[0], messages[0]
    with CheckpointStore(folder) as store:
        a_run.save(store, 4)
    return True


@row("D4 readers", "others read while a run saves", lambda full: [(8, 500) if full else (3, 60)])
def readers(case: tuple[int, int], rng: random.Random, folder: Path) -> bool:
    a_run.save_first(folder, 2)
    count, saves = case

    def read(notes: Notes) -> int:
        store = CheckpointStore(folder)
        reads = step = 0
        while not notes["done"]:
            newest, skipped = store.newest()
            assert not skipped, f"read in part: {skipped}"
            a_run.assert_is(newest)
            assert newest.step >= step, "an older one than before"
            step = newest.step
            a_run.assert_is(store.best())
            reads += 1
        return reads

    children = [Child(read) for _ in range(count)]
    with CheckpointStore(folder) as store:
        for step in range(3, 3 + saves):
            a_run.save(store, step)
    for child in children:
        child.notes["done"] = 1
    reads = [child.result() for child in children]
    return min(reads) > 5


@row("D6", "leftovers of the dead and of the living", counted(10, 100))
def leftovers(case: int, rng: random.Random, folder: Path) -> bool:
    living = Child(lambda notes: notes.wait_for("done"))
    dead = Child(lambda notes: None)
    dead.result()
    kept, cleared = [], []
    for _ in range(rng.randrange(1, 8)):
        pid, group = rng.choice([(living.pid, kept), (dead.pid, cleared), (os.getpid(), cleared)])
        path = folder / f".tmp-{pid}-{rng.getrandbits(64):016x}"
        path.mkdir()
        (path / "state.safetensors").write_bytes(b"half")
        group.append(path)
    with CheckpointStore(folder):
        assert all(path.exists() for path in kept), "something of a living process was removed"
        assert not any(path.exists() for path in cleared), "something of a dead process is left"
    living.notes["done"] = 1
    living.result()
    return True


def _guessed(folder: Path) -> Path:
    return folder / f".tmp-{os.getpid()}-{'0' * 16}"


LINKS: dict[str, Callable[[Path, Path], None]] = {
    "at the final name": lambda folder, target: (folder / "step_00000004").symlink_to(target),
    "at the lock": lambda folder, target: (folder / ".lock").symlink_to(target / "precious"),
    "at a guessed temporary folder": lambda folder, target: _guessed(folder).symlink_to(target),
    "at a guessed temporary file": lambda folder, target: _guessed(folder).symlink_to(
        target / "precious"
    ),
    "at the weights": lambda folder, target: (folder / "w.safetensors").symlink_to(
        target / "precious"
    ),
}


@row("D7", "a link planted where something will be written", each(list(LINKS)))
def planted_link(case: str, rng: random.Random, folder: Path) -> bool:
    target = folder / "target"
    target.mkdir()
    (target / "precious").write_text("precious")
    run = folder / "run"
    a_run.save_first(run, 3)
    (run / ".lock").unlink()
    LINKS[case](run, target)
    guess, secrets.token_hex = secrets.token_hex, lambda count: "0" * 2 * count
    try:
        save_weights(torch.nn.Linear(2, 2), run / "w.safetensors")
        with CheckpointStore(run) as store:
            a_run.save(store, 4)
    except StorageError:
        assert case != "at the weights"
    finally:
        secrets.token_hex = guess
    assert [path.name for path in target.iterdir()] == ["precious"]
    assert (target / "precious").read_text() == "precious", "the target was written to"
    return True
