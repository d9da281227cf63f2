"""Nets by name: fresh ones, those of a run, and those whose weights come with the library."""

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from .errors import CheckpointMismatchError, ConfigError, DataError
from .models import model_class
from .preparation import Preparation
from .training import load_weights

__all__ = ["create_model", "load", "read_metrics"]

_FORMAT = 1
# what metrics.json must hold, and of which kind
_KINDS = {
    "net.name": str,
    "net.options": dict,
    "data.name": str,
    "data.options": dict,
    "data.root": str | None,
    "preparation": dict,
    "classes": list,
    "fit.loss": str,
    "result": dict | None,
}
_RESULT_KINDS = {"result.best_epoch": int | None, "result.stopped": str | None}


def create_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """Build the net of that name.

    Args:
        name: one of `list_models()`.
        pretrained: load the weights that come with the library.
        options: the net's own arguments by keyword; see its class.

    Raises:
        ConfigError: the name is unknown, an option is unknown or out of range, or weights are
            asked for, of which this version ships none.

    Example:
        >>> create_model("lenet5", activation="relu").options["activation"]
        'relu'
    """
    net = model_class(name)
    known = list(signature(net).parameters)
    for option in options:
        if option not in known:
            takes = f"takes {', '.join(known)}" if known else "has no options"
            raise ConfigError(f"{option} is no option of {name}, which {takes}")
    if pretrained:
        raise ConfigError(
            f"pretrained is {pretrained!r}, but this version ships no weights; give "
            f"pretrained=False and train the net: classicnets train {name}"
        )
    return net(**options)


def load(path: str | Path) -> nn.Module:
    """Build the net of a run and load its weights.

    The net bears its run's `preparation`, so that `predict` takes pictures and paths.

    Args:
        path: the folder that `classicnets train` wrote.

    Raises:
        DataError: it is no folder of a finished run, or its `metrics.json` is damaged.
        ConfigError: `metrics.json` names a net or an option that does not exist.
        WeightsError: the weights are damaged or belong to another net.
    """
    folder = Path(path)
    metrics = read_metrics(folder)
    model = create_model(metrics["net"]["name"], **metrics["net"]["options"])
    load_weights(model, folder / "model.safetensors")
    model.preparation = Preparation.from_dict(metrics["preparation"])  # type: ignore[assignment]
    return model.eval()


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the `metrics.json` of a finished run; what it must hold is there and of its kind.

    Raises:
        DataError: it is missing, damaged, or that of a run that did not finish.
        CheckpointMismatchError: it is of another format.
    """
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{str(folder)!r} has no metrics.json, so it is no run; "
            "give a folder that `classicnets train` wrote"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error!r:.200}; train again") from error
    if not isinstance(metrics, dict) or not isinstance(metrics.get("format"), int):
        raise DataError(f"{str(path)!r} is not the record of a run: it has no format; train again")
    if metrics["format"] != _FORMAT:
        raise CheckpointMismatchError(
            f"{str(path)!r} has format {metrics['format']}, this classicnets reads {_FORMAT}; "
            f"use classicnets {metrics.get('classicnets', 'of another version')!s:.20}"
        )
    _check_kinds(metrics, _KINDS, path)
    if metrics["result"] is None:
        raise DataError(f"the run in {str(folder)!r} did not finish; train again")
    _check_kinds(metrics, _RESULT_KINDS, path)
    if not all(isinstance(name, str) for name in metrics["classes"]):
        raise DataError(f"{str(path)!r} is damaged at 'classes'; train again")
    return metrics


def _check_kinds(metrics: dict[str, Any], kinds: Mapping[str, Any], path: Path) -> None:
    for name, kind in kinds.items():
        value: Any = metrics
        for key in name.split("."):
            value = value.get(key, ...) if isinstance(value, dict) else ...
        if not isinstance(value, kind):
            raise DataError(f"{str(path)!r} is damaged at {name!r}; train again")
