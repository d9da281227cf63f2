"""Pictures as the last hidden layer of a net sees them, laid out on a plane."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..errors import ConfigError
from .stages import stages_of, to_net
from .style import RUN_COLOURS, TEXT, WIDTH, Pixels, new_figure, percent, shortened

__all__ = ["embedding"]

_BATCH = 64


def embedding(
    model: nn.Module, images: Tensor, labels: ArrayLike, classes: Sequence[str]
) -> Figure:
    """Draw where pictures lie in the last hidden layer, F6 of LeNet-5, seen along two axes.

    The axes are the first two principal components (PCA of scikit-learn), and not t-SNE: they are
    the same on every machine, distances keep their meaning, and the share of the variance tells how
    much of the truth the plane shows. t-SNE finds neater islands, in noise too.

    Each picture is a sign in the colour of its class: the first character of the name, or the
    number of the class where names begin alike. The names stand at the middles of the classes.

    Args:
        model: the net, which stays as it is.
        images: N pictures as the net takes them, (N, C, H, W), at least 3.
        labels: the N true classes, by number.
        classes: the names of the classes.

    Raises:
        ConfigError: there are fewer than 3 pictures, not as many labels, a label without a class,
            or no hidden layer of at least 2 units.
    """
    true = np.asarray(labels)
    if len(images) != len(true) or len(true) < 3:
        raise ConfigError(
            f"images and labels hold {len(images)} and {len(true)} entries; "
            "give as many of each, at least 3"
        )
    if true.max() >= len(classes):
        raise ConfigError(
            f"labels hold {true.max()}, but there are {len(classes)} classes; name them all"
        )
    layer, values = _hidden(model, images)
    points, shares = _plane(values)

    figure = new_figure(height=WIDTH)
    axes = figure.subplots()
    signs = _signs(classes)
    size = 20 if len(true) > 300 else 40
    for label, sign in enumerate(signs):
        own = points[true == label]
        colour = RUN_COLOURS[label % len(RUN_COLOURS)]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=size,
            marker=rf"$\mathrm{{{sign}}}$",
            color=colour,
            alpha=0.6,
            linewidth=0,
        )
    for label, name in enumerate(classes):
        own = points[true == label]
        if len(own):
            x, y = np.median(own, axis=0)
            axes.text(
                x,
                y,
                shortened(name),
                fontsize=TEXT + 1,
                fontweight="bold",
                color=RUN_COLOURS[label % len(RUN_COLOURS)],
                path_effects=[withStroke(linewidth=3, foreground="white")],
                horizontalalignment="center",
                verticalalignment="center",
            )
    axes.set_title(f"{len(true):,} pictures in {layer}, {values.shape[1]:,} units", fontsize=TEXT)
    first, second = (f"component, {percent(share)} of the variance" for share in shares)
    axes.set(xlabel=f"first {first}", ylabel=f"second {second}", xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _hidden(model: nn.Module, images: Tensor) -> tuple[str, Pixels]:
    """The name of the last stage but one, and what it gives, (N, D)."""
    parts = []
    for batch in images.split(_BATCH):  # type: ignore[no-untyped-call]
        stages = stages_of(model, to_net(model, batch))
        if len(stages) < 2 or stages[-2].output[0].numel() < 2:
            raise ConfigError(
                f"{type(model).__name__} has no hidden layer of at least 2 units that is a module; "
                "give a net with one before its outputs"
            )
        parts.append(stages[-2].output.flatten(1).double().cpu())
    return stages[-2].name, torch.cat(parts).numpy()


def _plane(values: Pixels) -> tuple[Pixels, Pixels]:
    """Coordinates (N, 2) and shares of the variance (2,)."""
    from sklearn.decomposition import PCA

    if not np.ptp(values, axis=0).any():
        return np.zeros((len(values), 2)), np.zeros(2)
    reduced = PCA(2, svd_solver="full").fit(values)
    return reduced.transform(values), reduced.explained_variance_ratio_


def _signs(classes: Sequence[str]) -> list[str]:
    first = [name[:1] for name in classes]
    plain = len(set(first)) == len(first) and all(sign.isalnum() for sign in first)
    return first if plain else [str(label) for label in range(len(classes))]
