"""F3 to F6, F9: files from elsewhere that run, exhaust or lie."""

import functools
import hashlib
import itertools
import pickle
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from classicnets.errors import CheckpointMismatchError, WeightsError
from classicnets.models import list_models, model_class
from classicnets.storage import tensor_files
from classicnets.storage.checkpoints import read_checkpoint
from classicnets.storage.weights import load_weights, save_weights

from . import a_run, hostile_files
from .processes import in_child
from .rows import counted, each, row

SECONDS, MEGABYTES = 2.0, 200

# what a process does when it runs code, starts another or talks to one
FORBIDDEN = {
    *("exec", "compile", "import", "pickle.find_class", "ctypes.dlopen", "sqlite3.connect"),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
    *("os.mkdir", "os.symlink", "os.rename", "os.remove", "shutil.copyfile", "shutil.rmtree"),
    *("socket.__new__", "socket.connect", "socket.bind", "urllib.Request"),
}


class Vector(torch.nn.Module):
    """The model that the hostile files would fit, if they were honest."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))


def assert_refused(load: Callable[[], Any]) -> None:
    try:
        load()
    except WeightsError:
        return
    raise AssertionError("it was taken")


def assert_untouched(model: torch.nn.Module) -> None:
    assert torch.equal(model.weight.detach(), torch.ones(4)), "the model has changed"


def as_checkpoint(folder: Path, name: str, data: bytes) -> Path:
    """Return a checkpoint whose file of that name is replaced, with sums that hold."""
    a_run.save_first(folder, 1)
    path = folder / "step_00000001"
    (path / name).write_bytes(data)
    sums = [
        f"{hashlib.sha256((path / file).read_bytes()).hexdigest()}  {file}\n"
        for file in ("state.json", "state.safetensors")
    ]
    (path / "SHA256SUMS").write_text("".join(sums))
    return path


@functools.cache
def payload_names() -> list[str]:
    return list(hostile_files.payloads({"weight": torch.zeros(4)}, Path("canary")))


DOORS = ("load_weights", "state.safetensors", "state.json")


@row(
    "F3",
    "code in a weights file or a checkpoint",
    lambda full: [
        (name, door)
        for number, name in enumerate(payload_names())
        for door in DOORS
        if full or door == DOORS[0] or number % 6 == 0
    ],
)
def payload(case: tuple[str, str], rng: random.Random, folder: Path) -> bool:
    name, door = case
    canary = folder / "canary"
    suffix, data, pickled = hostile_files.payloads({"weight": torch.zeros(4)}, canary)[name]
    (folder / f"w{suffix}").write_bytes(data)
    model = Vector()

    def load() -> None:
        if door == "load_weights":
            load_weights(model, folder / f"w{suffix}")
        else:
            read_checkpoint(folder / "run" / "step_00000001")

    if door != "load_weights":
        as_checkpoint(folder / "run", door, data)

    def run() -> list[str]:
        assert_refused(load)  # once before listening, for what is imported late
        events: list[str] = []
        sys.addaudithook(lambda event, _: events.append(event))
        assert_refused(load)
        assert_untouched(model)
        return sorted(FORBIDDEN.intersection(events))

    def detonate() -> None:
        warnings.simplefilter("ignore")
        pickle.loads(pickled)  # noqa: S301

    events = in_child(run)
    assert not canary.exists(), "the code has run"
    assert not events, f"the process did {events}"
    if door == "load_weights":
        in_child(detonate)
        return canary.exists()
    return True


@functools.cache
def archives() -> dict[str, bytes]:
    return hostile_files.archives({"weight": torch.zeros(4)})


@functools.cache
def headers() -> dict[str, bytes]:
    return hostile_files.headers()


def resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1000
    raise AssertionError(f"no {field}")


def assert_refused_cheaply(load: Callable[[], Any]) -> None:
    """Assert that loading is refused in 2 s of computing and 200 MB, in a child."""

    def run() -> tuple[float, float]:
        warnings.simplefilter("ignore")
        before, start = resident("VmRSS"), time.process_time()
        assert_refused(load)
        return time.process_time() - start, resident("VmHWM") - before

    seconds, megabytes = in_child(run)
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert megabytes < MEGABYTES, f"{megabytes:.0f} MB"


@row("F4", "a .pt that exhausts or lies", lambda full: list(archives()))
def archive(case: str, rng: random.Random, folder: Path) -> bool:
    (folder / "w.pt").write_bytes(archives()[case])
    model = Vector()

    def load() -> None:
        try:
            load_weights(model, folder / "w.pt")
        finally:
            assert_untouched(model)

    assert_refused_cheaply(load)
    return True


@row("F4 sparse", "a .pt or .safetensors of 20 GB of nothing", each([".pt", ".safetensors"]))
def sparse(case: str, rng: random.Random, folder: Path) -> bool:
    path = folder / f"w{case}"
    if case == ".pt":
        path.write_bytes(archives()["stride 0"])
    else:
        save_weights(Vector(), path)
    with path.open("r+b") as file:
        file.truncate(20_000_000_000)
    assert_refused_cheaply(lambda: load_weights(Vector(), path))
    return True


@row("F5", "a .safetensors that exhausts or lies", lambda full: list(headers()))
def header(case: str, rng: random.Random, folder: Path) -> bool:
    (folder / "w.safetensors").write_bytes(headers()[case])
    assert_refused_cheaply(lambda: load_weights(Vector(), folder / "w.safetensors"))
    return True


@row(
    "F5 inside",
    "the same in a checkpoint whose sums hold",
    lambda full: list(headers())[:: 1 if full else 6],
)
def header_in_checkpoint(case: str, rng: random.Random, folder: Path) -> bool:
    path = as_checkpoint(folder, "state.safetensors", headers()[case])
    assert_refused_cheaply(lambda: read_checkpoint(path))
    return True


def honest_files() -> dict[str, bytes]:
    entry = hostile_files._entry(0, 16)
    return {
        "a.pt": hostile_files._archive(hostile_files._tensor_pickle((4,), (1,))),
        "b.pt": hostile_files._saved({"weight": torch.zeros(4)}),
        "c.pth": hostile_files._saved(Vector().state_dict()),
        "d.safetensors": hostile_files._safetensors({"weight": entry}, bytes(16)),
    }


@row(
    "F4 F5 honest",
    "control: files made the same way, without the lie, are taken",
    each(list(honest_files())),
)
def honest(case: str, rng: random.Random, folder: Path) -> bool:
    (folder / case).write_bytes(honest_files()[case])
    load_weights(Vector(), folder / case)
    return True


@functools.cache
def _net(name: str) -> torch.nn.Module:
    return model_class(name)()


def pairs_of_nets(full: bool) -> list[tuple[str, str]]:
    """Return all pairs; those of the three large nets, slow to make, in the full tier alone."""
    large = () if full else ("alexnet", "alexnet_paper", "lenet_catdog")
    return [pair for pair in itertools.permutations(list_models(), 2) if not {*pair} & {*large}]


@row("F6", "the weights of every net into every other", pairs_of_nets)
def wrong_net(case: tuple[str, str], rng: random.Random, folder: Path) -> bool:
    saved, asked = case
    header, end = {"__metadata__": {"net": model_class(saved).__name__}}, 0
    for name, value in _net(saved).state_dict().items():
        header[name] = {
            "dtype": tensor_files._CODES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [end, end + value.nbytes],
        }
        end += value.nbytes
    path = folder / "w.safetensors"
    path.write_bytes(hostile_files._safetensors(header))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + end)
    model = _net(asked)
    versions = [value._version for value in model.state_dict(keep_vars=True).values()]
    message = ""
    try:
        load_weights(model, path)
    except CheckpointMismatchError as error:
        message = str(error)
    assert model_class(saved).__name__ in message, message or "it was taken"
    assert type(model).__name__ in message, message
    assert versions == [value._version for value in model.state_dict(keep_vars=True).values()]
    return True


@functools.cache
def seeds_to_mutate() -> dict[str, bytes]:
    return {"w.pt": honest_files()["c.pth"], "w.safetensors": _weights_file(), **honest_files()}


@functools.cache
def _weights_file() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        save_weights(Vector(), Path(name) / "w.safetensors")
        return (Path(name) / "w.safetensors").read_bytes()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return bytes changed in a few places, the way files are broken and attackers probe."""
    found = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(6):
            case 0 if place < len(found):
                found[place] ^= 1 << rng.randrange(8)
            case 1:
                found[place:place] = rng.randbytes(rng.randrange(1, 20))
            case 2:
                del found[place : place + rng.randrange(1, 20)]
            case 3:
                found[place : place + 8] = rng.choice([bytes(8), b"\xff" * 8, b"\0\0\0\0\1\0\0\0"])
            case 4:
                other = rng.randrange(len(found) + 1)
                found[place:place] = found[other : other + rng.randrange(1, 60)]
            case _:
                found[place : place + 1] = rng.choice([b'"', b"{", b"[", b"9", b"-", b"\\", b"("])
    return bytes(found)


@row("F9", "honest files, changed at random", counted(500, 50_000))
def fuzzed(case: int, rng: random.Random, folder: Path) -> bool:
    name, data = rng.choice(list(seeds_to_mutate().items()))
    (folder / name).write_bytes(mutated(data, rng))
    model = Vector()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load_weights(model, folder / name)
        except WeightsError:
            assert_untouched(model)
    assert time.process_time() - start < 1
    return True
