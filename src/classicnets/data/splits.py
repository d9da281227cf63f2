"""The three loaders of a data set, and the options that make them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from classicnets.errors import ConfigError
from classicnets.preparation import Preparation

from .augmentation import find_augmentation
from .loader import Augmentation, TensorLoader, check_integer
from .picture_loader import PictureLoader
from .streams import permutation

_EVALUATION_BATCH = 256  # at least; a batch without gradients may be larger

# (mean, std) of pixels in 0..1; L98: background -0.1, ink 1.175; 1989: -1 and 1
_NORMALIZATIONS = {"paper": (0.1 / 1.275, 1 / 1.275), "signed": (0.5, 0.5), "none": (0.0, 1.0)}


@dataclass(frozen=True)
class Splits:
    """A data set as loaders: `train`, `val` and `test`, and what they have in common.

    `val` is split off the training part by the seed and is None where `val_size` is 0; `test` is
    what the data set names so, and takes part in nothing else. `options` makes the same splits
    again: `data.mnist(root, **splits.options)`; all of it is ready for JSON.
    """

    train: TensorLoader | PictureLoader
    val: TensorLoader | PictureLoader | None
    test: TensorLoader | PictureLoader
    classes: tuple[str, ...]
    preparation: Preparation
    options: dict[str, Any]


@dataclass(frozen=True)
class SplitOptions:
    """What a user chooses about the splits of a data set; checked before any data are read."""

    batch_size: int
    image_size: int
    digit_size: int | None
    val_size: int
    augment: str | Augmentation | None
    normalize: str
    seed: int
    train_size: int | None
    repeat: int | None

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        check_integer("image_size", self.image_size, 1)
        if self.digit_size is not None and (
            check_integer("digit_size", self.digit_size, 1) > self.image_size
        ):
            raise ConfigError(
                f"digit_size is {self.digit_size}; the digit lies in a picture of image_size "
                f"{self.image_size} and cannot be larger"
            )
        check_integer("val_size", self.val_size, 0)
        check_integer("seed", self.seed, 0)
        for name in ("train_size", "repeat"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
        find_augmentation(self.augment)

    def to_dict(self) -> dict[str, Any]:
        """The options, ready for JSON: an augmentation stands there by its name."""
        augmentation = find_augmentation(self.augment)
        return {**vars(self), "augment": None if augmentation is None else augmentation.name}


def normalization(
    name: str, mean: float, std: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and deviation that a name stands for, "standard" being those given."""
    known = {"standard": (mean, std), **_NORMALIZATIONS}
    if name not in known:
        raise ConfigError(f"normalize is {name!r}; the names are {', '.join(known)}")
    chosen_mean, chosen_std = known[name]
    return (chosen_mean,), (chosen_std,)


def make_splits(
    name: str,
    classes: Sequence[str],
    preparation: Preparation,
    options: SplitOptions,
    training_part: tuple[Tensor, Tensor],
    test_part: tuple[Tensor, Tensor],
    device: torch.device | str,
) -> Splits:
    """Split the training part by the seed, prepare the pictures, and make the three loaders.

    Args:
        name: of the data set, for the loaders' settings.
        classes: the names of the classes.
        preparation: of the data set's own pictures.
        options: what the user chose.
        training_part: the data set's own pictures, uint8 (N, C, H, W), and labels, int64 (N,).
        test_part: likewise.
        device: where the loaders hold their data.
    """
    images, labels = training_part
    if options.val_size >= len(images):
        raise ConfigError(
            f"val_size is {options.val_size}; the training part of {name} has {len(images)} "
            "pictures, leave at least 1 to train"
        )
    left = len(images) - options.val_size
    if options.train_size is not None and options.train_size > left:
        raise ConfigError(
            f"train_size is {options.train_size}; the training part of {name} has {left} pictures "
            f"beside the {options.val_size} of val_size"
        )
    order = permutation(len(images), options.seed, 0, "split")
    val_rows, train_rows = order.tensor_split([options.val_size])
    train_rows = train_rows[: options.train_size]

    def loader(
        part: str, images: Tensor, labels: Tensor, *, training: bool = False
    ) -> TensorLoader:
        return TensorLoader(
            preparation.uint8(images),
            labels,
            classes=classes,
            preparation=preparation,
            batch_size=options.batch_size
            if training
            else max(options.batch_size, _EVALUATION_BATCH),
            shuffle=training,
            seed=options.seed,
            augment=find_augmentation(options.augment) if training else None,
            repeat=options.repeat if training else None,
            name=f"{name}/{part}",
        ).to(device)

    return Splits(
        train=loader("train", images[train_rows], labels[train_rows], training=True),
        val=loader("val", images[val_rows], labels[val_rows]) if options.val_size else None,
        test=loader("test", *test_part),
        classes=tuple(classes),
        preparation=preparation,
        options=options.to_dict(),
    )
