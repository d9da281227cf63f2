"""A small run that saves checkpoints, and what must hold of its folder whatever befell it."""

from pathlib import Path

import torch

from classicnets.storage.checkpoints import Checkpoint, CheckpointStore

BEST = (1, 5, 9, 13)


def tensors_of(step: int) -> dict[str, torch.Tensor]:
    """Return about 90 kB that no other step has."""
    generator = torch.Generator().manual_seed(step)
    return {
        "model.weight": torch.randn(100, 70, generator=generator),
        "model.bias": torch.randn(70, generator=generator),
        "optimizer.momentum": torch.randn(100, 140, generator=generator),
        "random": generator.get_state(),
    }


def state_of(step: int) -> dict[str, object]:
    return {"epoch": step // 3, "losses": [1 / (step + k) for k in range(1, 40)]}


def save(store: CheckpointStore, step: int) -> None:
    store.save(step, tensors_of(step), state_of(step), best=step in BEST)


def save_first(folder: Path, steps: int) -> None:
    """Save the steps 1 to `steps`, undisturbed."""
    with CheckpointStore(folder) as store:
        for step in range(1, steps + 1):
            save(store, step)


def assert_is(checkpoint: Checkpoint | None, step: int | None = None) -> None:
    """Assert that a checkpoint is exactly what was saved at its step."""
    assert checkpoint is not None, "no whole checkpoint is left"
    assert step in (None, checkpoint.step), f"step {checkpoint.step} instead of {step}"
    assert checkpoint.state == state_of(checkpoint.step), "the state is not what was saved"
    expected = tensors_of(checkpoint.step)
    assert checkpoint.tensors.keys() == expected.keys(), "other tensors than those saved"
    assert all(checkpoint.tensors[name].equal(value) for name, value in expected.items()), (
        "a tensor is not what was saved"
    )


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".tmp-")]


def assert_survived(folder: Path, *, done: int, begun: int) -> None:
    """Assert that a run whose save of `begun` was disturbed, after that of `done`, can go on.

    The newest checkpoint is whole and not older than `done`; nothing broken passes for a
    checkpoint; the best is there; at most one unfinished folder is left, and none after the next
    start, which saves again.
    """
    store = CheckpointStore(folder)
    newest, skipped = store.newest()
    assert not skipped, f"broken checkpoints are left: {skipped}"
    assert_is(newest)
    assert done <= newest.step <= begun, f"newest is {newest.step} of {done} to {begun}"
    best = store.best()
    assert_is(best)
    allowed = {max(step for step in BEST if step <= limit) for limit in (done, newest.step)}
    assert best.step in allowed, f"the best is {best.step}, not of {allowed}"
    assert len(temporaries(folder)) <= 1, f"unfinished: {temporaries(folder)}"
    with CheckpointStore(folder) as again:
        assert not temporaries(folder), "the next start has not cleared what was unfinished"
        save(again, newest.step + 1)
        assert_is(again.newest()[0], newest.step + 1)
