"""The weights of a net in one file, and back into a net of the same shape."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from ..errors import CheckpointMismatchError, ConfigError, WeightsError
from ..preparation import Preparation
from . import tensor_files, torch_files
from .safe_files import open_to_read, replace_file, storage_error
from .tensor_files import TensorSpec

_WRAPPERS = ("_orig_mod.", "module.")  # what torch.compile and DistributedDataParallel prepend
_DIGEST = "classicnets.sha256"
_NO_DIGEST = "0" * 64  # stands in its place while the rest is hashed


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Save the parameters and buffers of a model as a safetensors file.

    The file appears whole or not at all, and an older one of that name stays until it does. It
    carries the SHA-256 of all its bytes, the model's class name and, if it has them, its `options`
    and `preparation`.

    Args:
        model: any module; of a compiled or distributed one, the module within is saved.
        path: where to, ending in .safetensors; missing folders are made.

    Raises:
        ConfigError: `path` ends otherwise, or a tensor is of a kind no file can hold.
        StorageError: the file cannot be written; says the room it needs and the room there is.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"path is {str(path)!r}, and must end in .safetensors; rename it")
    model = _unwrapped(model)
    head, *memories = tensor_files.encode(
        _tensors(model), {**_description(model), "format": "pt", _DIGEST: _NO_DIGEST}
    )
    digest = hashlib.sha256(head)
    for memory in memories:
        digest.update(memory)
    head = _with_digest(bytes(head), _NO_DIGEST, digest.hexdigest())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, [head, *memories])
    except (OSError, ValueError) as error:
        num_bytes = len(head) + sum(map(len, memories))
        raise storage_error(path, num_bytes, error) from error


def load_weights(model: nn.Module, path: str | Path, *, cast: bool = False) -> None:
    """Load the parameters and buffers of a model from a file, all of them or none.

    Names, shapes and types must be the model's. What the file says of itself is checked before any
    of its tensors are read, and nothing of the model changes unless all of it fits.

    Args:
        model: the module to load into, in place and on its device.
        path: a .safetensors file, or a state dictionary of `torch.save` (.pt, .pth). The prefix
            that torch.compile or DistributedDataParallel gave to all its names does not matter.
        cast: also take floating-point numbers of another width.

    Raises:
        WeightsError: the file is missing, malformed, damaged, or holds NaN or infinite values.
        CheckpointMismatchError: the file holds the weights of another net.
        ConfigError: `path` ends otherwise, or the model is on the meta device.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ConfigError(
            f"path is {str(path)!r}, and must end in .safetensors, .pt or .pth; rename it"
        )
    model = _unwrapped(model)
    targets = _tensors(model)
    try:
        with open_to_read(path) as file:
            sources = _read(file, model, targets, cast)
    except OSError as error:
        raise WeightsError(f"cannot read weights from {str(path)!r}: {error}") from error
    _copy(sources, targets, path)


def assign_weights(model: nn.Module, sources: Mapping[str, Tensor], path: Path) -> None:
    """Give a model the tensors that were read from `path`, all of them or none.

    Raises:
        CheckpointMismatchError: their names, shapes or types are not the model's.
        WeightsError: a value is NaN or infinite.
    """
    model = _unwrapped(model)
    targets = _tensors(model)
    specs = {name: TensorSpec(value.dtype, tuple(value.shape)) for name, value in sources.items()}
    _check_fit(path, specs, model, targets, cast=False, metadata={})
    _copy(sources, targets, path)


def _copy(sources: Mapping[str, Tensor], targets: Mapping[str, Tensor], path: Path) -> None:
    cast = {name: sources[name].to(target.dtype) for name, target in targets.items()}
    for name, source in cast.items():
        if not source.isfinite().all():
            raise WeightsError(
                f"{str(path)!r} has NaN or infinite values in {name!r:.80}; take weights from "
                "before the run diverged"
            )
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(cast[name])


def _read(
    file: BinaryIO, model: nn.Module, targets: Mapping[str, Tensor], cast: bool
) -> dict[str, Tensor]:
    """Return the tensors of a file by their names in the model, if they are the model's."""
    header = None
    if Path(file.name).suffix == ".safetensors":
        header = tensor_files.read_header(file)
    specs = header.specs if header else torch_files.read_specs(file)
    names = _names_in_model(specs, targets)
    metadata = header.metadata if header else {}
    found = {names[name]: spec for name, spec in specs.items()}
    _check_fit(Path(file.name), found, model, targets, cast, metadata)
    tensors = _read_digested(file, header) if header else torch_files.read_tensors(file, specs)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _read_digested(file: BinaryIO, header: tensor_files.Header) -> dict[str, Tensor]:
    recorded = header.metadata.get(_DIGEST)
    head = header.raw if recorded is None else _with_digest(header.raw, recorded, _NO_DIGEST)
    digest = hashlib.sha256(head)
    tensors = tensor_files.read_tensors(file, header, digest)
    if recorded not in (None, digest.hexdigest()):
        raise WeightsError(
            f"{str(file.name)!r} has changed since it was saved: its SHA-256 is not the one "
            "recorded in it; get it anew"
        )
    return tensors


def _names_in_model(
    specs: Mapping[str, TensorSpec], targets: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return the model's name for each of the file's, a wrapper's prefix being left out."""
    names = list(specs)
    while names and set(names) != targets.keys():
        shared = [wrapper for wrapper in _WRAPPERS if all(n.startswith(wrapper) for n in names)]
        if not shared:
            break
        names = [name.removeprefix(shared[0]) for name in names]
    return dict(zip(specs, names, strict=True))


def _check_fit(
    path: Path,
    found: Mapping[str, TensorSpec],
    model: nn.Module,
    targets: Mapping[str, Tensor],
    cast: bool,
    metadata: Mapping[str, str],
) -> None:
    """Raise unless the tensors of a file are those of the model."""
    wanted = {name: TensorSpec(value.dtype, tuple(value.shape)) for name, value in targets.items()}
    differences = {
        "missing": [f"{name!r} is missing" for name in wanted if name not in found],
        "unexpected": [f"{name!r:.80} is unexpected" for name in found if name not in wanted],
        "different": [
            f"{name!r} is {found[name]}, the model's {spec}"
            for name, spec in wanted.items()
            if name in found and not _fits(found[name], spec, cast)
        ],
    }
    lines = [line for group in differences.values() for line in group]
    if not lines:
        return
    counts = ", ".join(f"{len(group)} {kind}" for kind, group in differences.items() if group)
    says = " ".join(f"{metadata[key]!r:.200}" for key in ("net", "options") if key in metadata)
    castable = not cast and all(
        name in found and _fits(found[name], spec, True) for name, spec in wanted.items()
    )
    remedy = "pass cast=True to convert" if castable else "build the net that was saved"
    raise CheckpointMismatchError(
        f"{str(path)!r} does not fit {_name(model)} ({counts} of {len(wanted)} tensors): "
        f"{'; '.join(lines[:5])}{'; ...' if len(lines) > 5 else ''}; "
        f"{f'the file says it holds {says}; ' if says else ''}{remedy}"
    )


def _fits(found: TensorSpec, wanted: TensorSpec, cast: bool) -> bool:
    return found.shape == wanted.shape and (
        found.dtype == wanted.dtype
        or (cast and found.dtype.is_floating_point and wanted.dtype.is_floating_point)
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    tensors = model.state_dict()
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or value.is_meta:
            raise ConfigError(
                f"{name!r} of {_name(model)} is "
                f"{'on the meta device' if isinstance(value, Tensor) else 'no tensor'}; "
                "weights are read and written for real tensors alone, see torch.nn.Module.to_empty"
            )
    return tensors


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        inner = getattr(model, "_orig_mod", None)  # torch.compile
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _description(model: nn.Module) -> dict[str, str]:
    description = {"net": _name(model)}
    options, preparation = (getattr(model, name, None) for name in ("options", "preparation"))
    if isinstance(options, dict):
        description["options"] = json.dumps(options)
    if isinstance(preparation, Preparation):
        description["preparation"] = json.dumps(preparation.to_dict())
    return description


def _with_digest(head: bytes, old: str, new: str) -> bytes:
    return head.replace(f'"{_DIGEST}":"{old}"'.encode(), f'"{_DIGEST}":"{new}"'.encode(), 1)
