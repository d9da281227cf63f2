"""What a net says of pictures."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..evaluation_mode import evaluating
from ..pictures import read_picture
from ..preparation import Preparation
from .devices import device_of, dtype_of, resolve_device
from .random_state import random_state_kept

_BATCH_SIZE = 256


@dataclass(frozen=True)
class Prediction:
    """What `predict` found for N pictures.

    Attributes:
        labels: (N,) int64, the most probable class of each.
        probabilities: (N, num_classes) float, the softmax of the net's outputs.
    """

    labels: Tensor
    probabilities: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def predict(
    model: torch.nn.Module,
    images: Any,
    *,
    transform: Callable[[Any], Tensor] | None = None,
    device: str | torch.device | None = None,
) -> Prediction:
    """Return the labels and probabilities of pictures, in their order.

    Args:
        model: the net.
        images: a float tensor or array (N, C, H, W), ready for the net; a loader, of whose batches
            the labels are not looked at; a PIL image or a path; or a list of these two.
        transform: a `Preparation`, or a callable from an upright RGB image of PIL to what the net
            takes, (1, C, H, W) or (C, H, W); None for the preparation that came with the model, if
            `classicnets.load` gave it one.
        device: where to compute, and where the model then stays; None for where it is.

    Raises:
        ConfigError: pictures are given, but nothing that says how to prepare them.
        DataError: there are no images, or they are of no known kind.
        DeviceError: the device does not exist.
    """
    place = device_of(model) if device is None else resolve_device(device)
    model.to(place)
    transform = transform or getattr(model, "preparation", None)
    with random_state_kept(place), evaluating(model), torch.no_grad():
        outputs = [_answer(model, batch, place) for batch in _batches(images, transform)]
    if not sum(map(len, outputs)):
        raise DataError("images is empty; give at least one picture")
    logits = torch.cat(outputs)
    return Prediction(labels=logits.argmax(1), probabilities=logits.softmax(1))


def _answer(model: torch.nn.Module, batch: Any, place: torch.device) -> Tensor:
    try:
        images = torch.as_tensor(batch).to(place)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"a batch is a {type(batch).__name__}, not a tensor of images") from error
    outputs = model(images.to(dtype_of(model)) if images.is_floating_point() else images)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise ConfigError("the model must return one tensor of outputs (N, num_classes)")
    if outputs.shape[1] < 2:
        raise ConfigError(
            "the model has one output; predict compares those of the classes: take "
            "torch.sigmoid(model(images)) for the probability of the one"
        )
    return outputs.float().cpu()


def _batches(images: Any, transform: Callable[[Any], Tensor] | None) -> Iterator[Tensor]:
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images)
    if isinstance(images, Tensor):
        yield from images.split(_BATCH_SIZE)  # type: ignore[no-untyped-call]
        return
    if _is_picture(images):
        images = [images]
    if isinstance(images, list | tuple) and images and _is_picture(images[0]):
        if transform is None:
            raise ConfigError(
                "images are pictures, but nothing says how to prepare them; give transform=, "
                "or a net from classicnets.load, which brings its preparation"
            )
        for picture in images:
            ours = isinstance(transform, Preparation)
            prepared = transform(picture if ours else read_picture(picture))
            yield prepared if prepared.ndim == 4 else prepared[None]
        return
    if not isinstance(images, Iterable):
        raise DataError(
            f"images is a {type(images).__name__}; give a tensor or array (N, C, H, W), a loader, "
            "a PIL image, a path, or a list of images or paths"
        )
    if hasattr(images, "set_epoch"):
        images.set_epoch(0)  # the order of a loader of ours is then the same each time
    for batch in images:
        yield batch[0] if isinstance(batch, list | tuple) else batch


def _is_picture(value: Any) -> bool:
    from PIL import Image

    return isinstance(value, str | Path | Image.Image)
