"""What a run saves, and what a resumed run is held against."""

import warnings
from typing import Any

import torch

from ..errors import CheckpointMismatchError, ConfigError
from ..storage.checkpoints import Checkpoint, CheckpointStore, Skipped
from ..storage.state_tree import join_state, split_state
from .batches import Batches
from .loop import Loop


def run_identity(model: torch.nn.Module, train: Batches, options: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal for a run to go on from a checkpoint, as JSON.

    Args:
        model: its class, `options` and number of parameters count.
        train: its loader's `settings` count, or its batch size where it has none.
        options: the arguments of `fit` that count, as JSON.
    """
    loader = train.loader
    settings = getattr(loader, "settings", None)
    return {
        "net": type(model).__name__,
        "net options": _json(getattr(model, "options", None)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "batch_size": getattr(loader, "batch_size", None),
        "batches": train.count,
        "classes": _json(getattr(loader, "classes", None)),
        "data": _json(settings),
        **_json(options),
    }


def save(store: CheckpointStore, loop: Loop, identity: dict[str, Any], best: bool) -> None:
    """Write the state of a loop as a checkpoint."""
    tensors, skeleton = split_state(loop.state())
    store.save(loop.steps, tensors, {"run": identity, "training": skeleton}, best=best)


def restore(
    found: tuple[Checkpoint | None, list[Skipped]], loop: Loop, identity: dict[str, Any]
) -> None:
    """Bring a loop to the newest whole checkpoint that was found, if there is one.

    Checkpoints passed over are named in a warning.

    Raises:
        CheckpointMismatchError: the checkpoint is of another run; old and new side by side.
    """
    checkpoint, skipped = found
    if skipped:
        names = "; ".join(f"{item.path.name}: {item.reason}" for item in skipped)
        warnings.warn(f"checkpoints passed over as broken: {names}", UserWarning, stacklevel=5)
    if checkpoint is None:
        return
    saved = checkpoint.state["run"]
    keys = [*identity, *(name for name in saved if name not in identity)]
    different = [
        f"{name}: {saved.get(name)!r} there, {identity.get(name)!r} here"
        for name in keys
        if saved.get(name) != identity.get(name)
    ]
    if different:
        raise CheckpointMismatchError(
            f"{checkpoint.path} belongs to another run: {'; '.join(different)}. "
            "Only epochs and device may change; give the old values, or another checkpoint_dir"
        )
    loop.load_state(join_state(checkpoint.tensors, checkpoint.state["training"]))


def refuse_used(store: CheckpointStore) -> None:
    """Raise if the folder of a run that is not resumed holds the checkpoints of another.

    Raises:
        ConfigError: it does.
    """
    checkpoint, skipped = store.newest()
    if checkpoint is not None or skipped:
        raise ConfigError(
            f"checkpoint_dir {store.folder} holds checkpoints of an earlier run; "
            "pass resume=True to go on with it, or name another folder"
        )


def _json(value: Any) -> Any:
    """Return a value as it comes back from JSON, so that equal settings compare equal."""
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", type(value).__name__)
