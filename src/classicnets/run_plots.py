"""The plots of a run: which there are for its net, and what each is drawn from."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from . import plots
from .errors import ConfigError
from .plots.normalisation import has_response_norm
from .plots.stages import as_seen
from .plots.weight_pictures import has_connections, has_filters
from .training import Prediction, evaluate, predict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .data import Splits
    from .training import History

__all__ = ["KINDS", "draw", "draw_grid"]

_GRIDS = ("predictions", "mistakes", "doubts")
_OF_WEIGHTS = ("filters", "connections")
_OF_ONE_PICTURE = ("activations", "occlusion", "gradient", "response_norm")
KINDS = ("curves", "confusion", *_GRIDS, "embedding", *_OF_WEIGHTS, *_OF_ONE_PICTURE)

# kind -> what a net must have for it
_NEEDS: dict[str, tuple[str, Callable[[nn.Module], bool]]] = {
    "filters": ("convolution", has_filters),
    "connections": ("table of connections", has_connections),
    "response_norm": ("local response normalisation", has_response_norm),
}
_EMBEDDED = 1000  # test pictures, evenly spread

Loader = Iterable[tuple[Tensor, Tensor]]


class _Run(Protocol):
    @property
    def model(self) -> nn.Module: ...
    @property
    def history(self) -> "History": ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    def data(self, *, root: str | Path | None = None, download: bool = True) -> "Splits": ...


def draw(
    run: _Run,
    kind: str,
    *,
    image: Any = None,
    root: str | Path | None = None,
    download: bool = True,
) -> "Figure":
    """Draw one of `KINDS`; those of results look at the test part of the run's data.

    Args:
        run: the run.
        kind: which plot.
        image: for activations, occlusion, gradient and response_norm: a path, a PIL image or a
            tensor ready for the net; None for the first picture of the test part.
        root: where the data lie; None for where they lay.
        download: whether to fetch data that are not there.

    Raises:
        ConfigError: there is no such plot of this net, or an image is given to a plot of none.
    """
    _check(kind, run.model, image)
    if kind == "curves":
        if not run.history.epochs and not run.history.step_losses:
            raise ConfigError(
                "the run has no history, as no weights have that come with the library; give the "
                "folder of a run"
            )
        return plots.curves(run.history)
    if kind in _OF_WEIGHTS:
        figure: Figure = getattr(plots, kind)(run.model)
        return figure
    if image is not None:
        return _draw_one(run, kind, image)
    test = run.data(root=root, download=download).test
    if kind in _GRIDS:
        return draw_grid(kind, run.model, test, run.classes)
    if kind == "confusion":
        return plots.confusion(evaluate(run.model, test).confusion, run.classes)
    if kind == "embedding":
        images, labels = _spread(test)
        return plots.embedding(run.model, images, labels, run.classes)
    return _draw_one(run, kind, next(iter(test))[0][0])


def draw_grid(kind: str, model: nn.Module, test: Loader, classes: Sequence[str]) -> "Figure":
    """Draw predictions, mistakes or doubts; of the pictures only those drawn are kept."""
    answers, labels = [], []
    for images, truth in test:
        answers.append(predict(model, images))
        labels.append(truth.cpu())
    prediction = Prediction(
        torch.cat([answer.labels for answer in answers]),
        torch.cat([answer.probabilities for answer in answers]),
    )
    figure: Figure = getattr(plots, kind)(
        _Pictures(model, test, len(prediction)), torch.cat(labels), prediction, classes
    )
    return figure


class _Pictures:
    """The pictures of a loader by number, as they were before they were prepared."""

    def __init__(self, model: nn.Module, loader: Any, count: int) -> None:
        self._model, self._loader, self._count = model, loader, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        batch, row = divmod(index, self._loader.batch_size)
        images, _ = next(self._loader.iterate(start=batch))
        picture = as_seen(self._model, images[row : row + 1])
        return picture if picture.ndim == 2 else np.moveaxis(picture, -1, 0)


def _draw_one(run: _Run, kind: str, image: Any) -> "Figure":
    if kind == "response_norm":
        return plots.response_norm(run.model, image)
    figure: Figure = getattr(plots, kind)(run.model, image, classes=run.classes)
    return figure


def _spread(test: Any) -> tuple[Tensor, Tensor]:
    """Up to 1,000 pictures from all over the test part, and their labels."""
    step = -(-test.num_images // _EMBEDDED)
    images, labels, first = [], [], 0
    for batch, truth in test:
        rows = range(-first % step, len(truth), step)
        images.append(batch[rows].cpu())
        labels.append(truth[rows].cpu())
        first += len(truth)
    return torch.cat(images), torch.cat(labels)


def _check(kind: str, model: nn.Module, image: Any) -> None:
    allowed = [name for name in KINDS if name not in _NEEDS or _NEEDS[name][1](model)]
    if kind not in allowed:
        why = f", but {type(model).__name__} has no {_NEEDS[kind][0]}" if kind in _NEEDS else ""
        raise ConfigError(f"kind is {kind!r}{why}; the pictures are {', '.join(allowed)}")
    if image is not None and kind not in _OF_ONE_PICTURE:
        raise ConfigError(
            f"image is given, but {kind} is drawn from no single picture; leave it out, or draw "
            f"{', '.join(name for name in _OF_ONE_PICTURE if name in allowed)}"
        )
