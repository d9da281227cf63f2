"""Nets by name: fresh ones, those of a run, and those whose weights come with the library."""

import hashlib
import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from .errors import CheckpointMismatchError, ConfigError, DataError, WeightsError
from .imagenet_weights import IMAGENET, load_imagenet
from .model_cards import ModelCard, list_pretrained, model_card
from .models import list_models, model_class
from .preparation import Preparation
from .storage.checkpoints import Checkpoint, CheckpointStore, read_checkpoint
from .storage.state_tree import join_state
from .storage.weights import assign_weights
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
    "fit.epochs": int,
    "seed": int,
    "threads": int | None,
    "machine": dict,
    "result": dict | None,
}
_RESULT_KINDS = {"result.best_epoch": int | None, "result.stopped": str | None}


def create_model(
    name: str, pretrained: bool = False, *, freeze_features: bool = False, **options: Any
) -> nn.Module:
    """Build the net of that name.

    Args:
        name: one of `list_models()`.
        pretrained: load the weights that come with the library, without any network (see
            `model_card`); of "alexnet" those that torchvision trained on ImageNet, fetched once,
            where another `num_classes` or `hidden` gets layers with new weights. The net is then in
            evaluation mode and bears its `preparation`.
        freeze_features: whether training shall leave pretrained `features` as they are.
        options: the net's own arguments by keyword; see its class.

    Raises:
        ConfigError: the name is unknown, an option is unknown or out of range, or weights are
            asked for that there are not, or were trained with other options.
        DownloadError: the weights cannot be fetched.
        WeightsError: the weights are damaged.

    Example:
        >>> create_model("lenet5", activation="relu").options["activation"]
        'relu'
        >>> create_model("lenet5", pretrained=True).preparation.image_size
        32
    """
    net = model_class(name)
    known = list(signature(net).parameters)
    for option in options:
        if option not in known:
            raise ConfigError(f"{option} is no option of {name}, which takes {', '.join(known)}")
    if freeze_features and not pretrained:
        raise ConfigError("freeze_features is True, but pretrained is not; new features must learn")
    if not pretrained:
        return net(**options)
    if name in IMAGENET:
        model = load_imagenet(net(**options), name)
    else:
        model = _shipped(net, model_card(name), options)
    if freeze_features:
        model.get_submodule("features").requires_grad_(False)
    return model


def _shipped(net: type[nn.Module], card: ModelCard, options: Mapping[str, Any]) -> nn.Module:
    """Build a net with the weights that come with the library, their SHA-256 proved."""
    model = net(**{**card.net_options, **options})
    for option, value in card.net_options.items():
        if option in options and options[option] != value:
            raise ConfigError(
                f"{option} is {options[option]!r}, but the weights of {card.name} were trained "
                f"with {value!r}; leave it out, or give pretrained=False and train the net"
            )
    try:
        found = hashlib.sha256(card.path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights of {card.name}: {error}; install classicnets again"
        ) from error
    if found != card.sha256:
        raise WeightsError(
            f"{str(card.path)!r} has SHA-256 {found}, its card says {card.sha256}; "
            "install classicnets again"
        )
    load_weights(model, card.path)
    model.preparation = card.preparation  # type: ignore[assignment]
    return model.eval()


def load(path: str | Path, *, model: nn.Module | None = None) -> nn.Module:
    """Build the net of a run or a checkpoint and load its weights.

    The net of a run bears its `preparation`, so that `predict` takes pictures and paths. A run that
    has not finished is read from its newest whole checkpoint.

    Args:
        path: the folder that `classicnets train` wrote, or a checkpoint's, or one of checkpoints.
        model: a module of your own to load the weights into; None builds a net of this library.

    Raises:
        DataError: it is none of these folders, or its `metrics.json` is damaged.
        ConfigError: the net is none of this library, so `model` is needed, or has other options.
        WeightsError: the weights are damaged or belong to another net.
    """
    folder = Path(path)
    if (folder / "metrics.json").is_file():
        return _load_run(folder, model)
    if (folder / "state.json").is_file():
        return _load_checkpoint(read_checkpoint(folder), model)
    newest = CheckpointStore(folder).newest()[0]
    if newest is None:
        raise DataError(
            f"{str(folder)!r} has neither metrics.json nor a whole checkpoint; "
            "give the folder of a run or of a checkpoint"
        )
    return _load_checkpoint(newest, model)


def _load_run(folder: Path, model: nn.Module | None) -> nn.Module:
    metrics = read_metrics(folder)
    if model is None:
        model = create_model(metrics["net"]["name"], **metrics["net"]["options"])
    if metrics["result"] is None:
        model = load(folder / "checkpoints", model=model)
    else:
        load_weights(model, folder / "model.safetensors")
    model.preparation = Preparation.from_dict(metrics["preparation"])  # type: ignore[assignment]
    return model.eval()


def _load_checkpoint(checkpoint: Checkpoint, model: nn.Module | None) -> nn.Module:
    saved = checkpoint.state["run"]
    if model is None:
        known = {model_class(name).__name__: name for name in list_models()}
        if saved["net"] not in known or not isinstance(saved["net options"], dict):
            raise ConfigError(
                f"{str(checkpoint.path)!r} holds a {saved['net']}, which is no net of this "
                "library; give it as model="
            )
        model = create_model(known[saved["net"]], **saved["net options"])
    weights = join_state(checkpoint.tensors, checkpoint.state["training"]["model"])
    assign_weights(model, weights, checkpoint.path)
    return model.eval()


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the `metrics.json` of a run; what it must hold is there and of its kind.

    Of a run that did not finish the result is None.

    Raises:
        DataError: it is missing or damaged.
        CheckpointMismatchError: it is of another format.
    """
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        lacks = "has no metrics.json, so it is no run" if folder.is_dir() else "is no folder"
        raise DataError(
            f"{str(folder)!r} {lacks}; give a folder that `classicnets train` wrote (nets whose "
            f"weights come with the library need no folder: {', '.join(list_pretrained())})"
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
    metrics.setdefault("threads", None)  # of a run begun before they were recorded
    _check_kinds(metrics, _KINDS, path)
    if metrics["result"] is not None:
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
