"""F1, F2: truncated files, flipped bits, and what power loss leaves."""

import functools
import random
import tempfile
from pathlib import Path

import torch

from classicnets.errors import WeightsError
from classicnets.storage.checkpoints import CheckpointStore
from classicnets.storage.weights import load_weights, save_weights

from . import a_run
from .rows import counted, row

FILES = ("state.safetensors", "state.json", "SHA256SUMS")


@functools.cache
def two_checkpoints() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Return the folder of a run of two checkpoints, made once."""
    kept = tempfile.TemporaryDirectory(prefix="damage-")
    a_run.save_first(Path(kept.name), 2)
    return kept, Path(kept.name)


def assert_noticed(name: str, damaged: bytes | None) -> None:
    """Assert that the newest checkpoint with a damaged file is passed over for the one before."""
    folder = two_checkpoints()[1]
    path = folder / "step_00000002" / name
    whole = path.read_bytes()
    assert damaged != whole
    path.unlink() if damaged is None else path.write_bytes(damaged)
    try:
        newest, skipped = CheckpointStore(folder).newest()
        assert [item.path.name for item in skipped] == ["step_00000002"], "it was not noticed"
        a_run.assert_is(newest, 1)
    finally:
        path.write_bytes(whole)
    a_run.assert_is(CheckpointStore(folder).newest()[0], 2) if len(whole) < 1000 else None


def content(name: str) -> bytes:
    return (two_checkpoints()[1] / "step_00000002" / name).read_bytes()


@row("F1", "a checkpoint truncated, at 500 lengths", counted(500, 500))
def truncated(case: int, rng: random.Random, folder: Path) -> bool:
    name = FILES[case % 3] if case % 10 == 0 else FILES[0]
    data = content(name)
    length = {0: 0, 1: len(data) - 1}.get(case, case * len(data) // 500)
    assert_noticed(name, data[:length])
    return True


@row("F2", "a bit of a checkpoint flipped", counted(2000, 2000))
def flipped(case: int, rng: random.Random, folder: Path) -> bool:
    name = FILES[case % 3]
    data = bytearray(content(name))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    assert_noticed(name, bytes(data))
    return True


@row(
    "K5 lost",
    "what was not synced is lost: files gone, zeroed or zeroed from somewhere on",
    counted(30, 100),
)
def lost(case: int, rng: random.Random, folder: Path) -> bool:
    name = rng.choice(FILES)
    data = content(name)
    start = rng.randrange(len(data))
    zeroed = data[:start] + bytes(len(data) - start)
    damaged = (None, b"", bytes(len(data)), zeroed, data[:start])[case % 5]
    if damaged == data:
        damaged = None
    assert_noticed(name, damaged)
    return True


@functools.cache
def weights() -> tuple[torch.nn.Module, bytes]:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 5), torch.nn.Linear(84, 10))
    with tempfile.TemporaryDirectory() as name:
        save_weights(model, Path(name) / "w.safetensors")
        return model, (Path(name) / "w.safetensors").read_bytes()


@row("F2 weights", "a bit of a weights file flipped", counted(500, 2000))
def flipped_weights(case: int, rng: random.Random, folder: Path) -> bool:
    model, whole = weights()
    data = bytearray(whole)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (folder / "w.safetensors").write_bytes(data)
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 5), torch.nn.Linear(84, 10))
    before = [value.clone() for value in other.state_dict().values()]
    try:
        load_weights(other, folder / "w.safetensors")
    except WeightsError:
        expected = before
    else:  # the flip was in a field's name, which no tensor depends on
        expected = list(model.state_dict().values())
    found = other.state_dict().values()
    assert all(value.equal(same) for value, same in zip(found, expected, strict=True))
    return True
