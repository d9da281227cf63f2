"""A net taken apart while it looks at pictures: its stages, and what each gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..evaluation_mode import evaluating
from .style import Pixels, to_picture


@dataclass(frozen=True)
class Stage:
    """A layer that computes, with those after it that only bend or scale its values.

    Attributes:
        name: of its first layer, without the module around it where it has a name of its own.
        output: what the last of them gives, (N, ...).
    """

    name: str
    output: Tensor


def stages_of(model: nn.Module, images: Tensor) -> list[Stage]:
    """Run the net and return what each stage gives for these images.

    A stage begins with each layer that has weights or changes how many values there are; what
    follows it, an activation, a normalisation, dropout, is part of it.
    """
    found: list[Stage] = []

    def note(name: str, layer: nn.Module, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim < 2 or not len(output):
            return
        last = found[-1].output if found else images
        has_weights = next(layer.parameters(recurse=False), None) is not None
        if has_weights or output[0].numel() != last[0].numel():
            found.append(Stage(short_name(name, layer), output))
        elif found and output.shape == last.shape:
            found[-1] = Stage(found[-1].name, output)

    with watched(model, note), evaluating(model), torch.inference_mode():
        model(images)
    return found


@contextmanager
def watched(model: nn.Module, note: Any) -> Iterator[None]:
    """Call `note(name, layer, output)` after each layer that holds no other."""
    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, output, name=name: note(name, layer, output)
        )
        for name, layer in unwrapped(model).named_modules()
        if not list(layer.children())
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def as_input(model: nn.Module, image: Any) -> Tensor:
    """One picture as the net takes it, (1, C, H, W), where and in the precision the net is.

    Raises:
        ConfigError: it is not one picture, or a file or PIL image while the net has no
            `preparation`.
    """
    if not isinstance(image, Tensor | np.ndarray):
        preparation = getattr(model, "preparation", None)
        if preparation is None:
            raise ConfigError(
                f"image is a {type(image).__name__}, but nothing says how to prepare it; give a "
                "tensor (C, H, W), or a net from classicnets.load, which brings its preparation"
            )
        image = preparation(image)
    images = torch.as_tensor(image)
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or len(images) != 1:
        raise ConfigError(
            f"image has shape {tuple(images.shape)}; give one picture, (C, H, W) or (1, C, H, W)"
        )
    return to_net(model, images)


def to_net(model: nn.Module, images: Tensor) -> Tensor:
    """The images on the device and in the precision of the net's first weights."""
    weight = next(model.parameters(), None)
    return images if weight is None else images.to(weight.device, weight.dtype)


def as_seen(model: nn.Module, image: Tensor) -> Pixels:
    """A net's input (1, C, H, W) as the picture it came from, (H, W) or (H, W, 3) in 0..1.

    Where the net has no `preparation` to undo, darkest and brightest value become 0 and 1.
    """
    values = image[0].detach().double().cpu()
    preparation = getattr(model, "preparation", None)
    if preparation is None:
        values = values - values.min()
        return to_picture(values / (values.max() or 1))
    scale, shift = preparation.scale_and_shift()
    return to_picture(((values - shift) / scale / 255).clamp(0, 1))


def class_name(classes: Any, label: int) -> str:
    """The name of a class, or its number where there are no names."""
    return str(label) if classes is None else str(classes[label])


def unwrapped(model: nn.Module) -> nn.Module:
    """The net itself where torch.compile has put something around it."""
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def short_name(name: str, layer: nn.Module) -> str:
    """`features.c1` as c1, but `features.0` as features.0 Conv2d."""
    last = name.rpartition(".")[2]
    return f"{name} {type(layer).__name__}".lstrip() if not last or last.isdecimal() else last


def plural(count: int, word: str) -> str:
    """1 map, 2 maps."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
