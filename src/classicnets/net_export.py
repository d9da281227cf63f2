"""A net as a file for other programs, with the preparation of its pictures in the metadata."""

import copy
import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from . import __version__
from .errors import ConfigError
from .plots.stages import stages_of, unwrapped, watched
from .storage.safe_files import discard, replace_file, storage_error, temporary_path
from .training import save_weights

__all__ = ["FORMATS", "export", "onnx_bytes"]

FORMATS = ("onnx", "pt2", "safetensors")
_NEEDED = ("onnx", "onnxscript")  # by torch's exporter to ONNX


def export(
    model: nn.Module,
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    layers: bool = False,
) -> None:
    """Write a net to one file, whole or not at all; the ending of its name says the format.

    `.onnx` is for ONNX Runtime and what reads ONNX, `.pt2` for `torch.export.load`, `.safetensors`
    for `load_weights`: the weights alone. The first two take any number of pictures at once, as
    `images` (N, C, H, W), and give `logits` (N, classes), whatever the net's raw output is.

    In their metadata stand `net`, `options`, `classes`, `input_shape` and, of a net that bears one,
    its `preparation`, as JSON; in `.pt2` these are extra files of those names.

    Args:
        model: a net with an `input_shape`, on any device; it stays as it is.
        path: where to; missing folders are made.
        classes: the names of the outputs, for the metadata.
        layers: with ONNX, have what each layer gives as outputs too, by the layer's name.

    Raises:
        ConfigError: `path` ends otherwise, the extra `export` is missing, the net says no
            `input_shape`, or `layers` is asked of another format than ONNX.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(
            f"path is {str(path)!r}, and must end in .{', .'.join(FORMATS)}; rename it"
        )
    if layers and kind != "onnx":
        raise ConfigError(f"layers is given for {kind}; only ONNX has them, so leave it out")
    if kind == "safetensors":
        save_weights(model, path)
        return
    content = onnx_bytes(model, classes=classes, layers=layers) if kind == "onnx" else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            _write_program(model, path, classes)
        else:
            replace_file(path, [content])
    except OSError as error:
        raise storage_error(path, len(content or b""), error) from error


def onnx_bytes(
    model: nn.Module, *, classes: Sequence[str] | None = None, layers: bool = False
) -> bytes:
    """What `export` writes to a file of ONNX.

    Raises:
        ConfigError: the extra `export` is missing, or the net says no `input_shape`.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"format is onnx, which needs {' and '.join(missing)}; "
            "pip install onnx onnxscript, or choose pt2 or safetensors"
        )
    net = _on_cpu(model)
    ends = _ends_of_stages(net) if layers else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about itself
        program = torch.onnx.export(
            _WithLayers(net, list(ends.values())) if layers else net,
            (torch.zeros(2, *_input_shape(net)),),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits", *ends],
        )
    if program is None:
        raise ConfigError(f"{type(net).__name__} cannot be exported to ONNX; choose pt2")
    program.model.metadata_props.update(_description(net, classes))
    content: bytes = program.model_proto.SerializeToString()
    return content


def _write_program(model: nn.Module, path: Path, classes: Sequence[str] | None) -> None:
    net = _on_cpu(model)
    images = torch.zeros(2, *_input_shape(net))
    aside = temporary_path(path.parent).with_suffix(".pt2")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                net, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)
            )
            torch.export.save(program, aside, extra_files=_description(net, classes))
        aside.replace(path)
    finally:
        discard(aside)


def _on_cpu(model: nn.Module) -> nn.Module:
    _input_shape(unwrapped(model))
    return copy.deepcopy(unwrapped(model)).cpu().float().eval().requires_grad_(False)


def _input_shape(net: nn.Module) -> tuple[int, ...]:
    shape = getattr(net, "input_shape", None)
    if shape is None:
        raise ConfigError(
            f"{type(net).__name__} has no input_shape; set it, for instance "
            "model.input_shape = (1, 32, 32)"
        )
    return tuple(shape)


def _description(net: nn.Module, classes: Sequence[str] | None) -> dict[str, str]:
    preparation = getattr(net, "preparation", None)
    values = {
        "net": type(net).__name__,
        "options": getattr(net, "options", None),
        "input_shape": list(_input_shape(net)),
        "classes": None if classes is None else list(classes),
        "preparation": None if preparation is None else preparation.to_dict(),
        "classicnets": __version__,
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def _ends_of_stages(net: nn.Module) -> dict[str, nn.Module]:
    """The layer that ends each stage before the output, by the stage's name."""
    seen: list[tuple[nn.Module, Tensor]] = []
    with watched(net, lambda name, layer, output: seen.append((layer, output))):
        *stages, _ = stages_of(net, torch.zeros(1, *_input_shape(net)))
    return {
        stage.name: next(layer for layer, output in seen if output is stage.output)
        for stage in stages
    }


class _WithLayers(nn.Module):
    """A net that returns what some of its layers give as well."""

    def __init__(self, net: nn.Module, layers: list[nn.Module]) -> None:
        super().__init__()
        self.net = net
        self._layers = layers

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        given: dict[nn.Module, Tensor] = {}
        hooks = [
            layer.register_forward_hook(lambda layer, _, output: given.update({layer: output}))
            for layer in self._layers
        ]
        try:
            logits: Tensor = self.net(images)
        finally:
            for hook in hooks:
                hook.remove()
        return (logits, *(given[layer] for layer in self._layers))
