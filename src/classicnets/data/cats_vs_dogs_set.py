"""Cats and dogs: the data set of the textbook chapter, in each of the forms it is passed on in."""

import os
import re
from pathlib import Path

import torch

from classicnets.errors import DataError

from .picture_files import PictureFiles, list_folders, picture_files, pictures
from .picture_set import PictureOptions, make_picture_splits
from .picture_splits import FRACTIONS, Split
from .splits import Splits

_CLASSES = ("cat", "dog")
_FORMS = "folders Cat and Dog (or cats and dogs), alone or in PetImages, or files named cat.0.jpg"


def cats_vs_dogs(
    root: str | os.PathLike[str],
    *,
    image_size: int = 224,
    resize: int | None = None,
    batch_size: int = 32,
    split: Split = FRACTIONS,
    augment: str | None = "crop-flip",
    num_workers: int = 2,
    cache: str = "auto",
    memory_limit: int = 2**30,
    on_bad: str = "error",
    max_skipped: float = 0.01,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Splits:
    """Pictures of cats and dogs as loaders; the classes are "cat" and "dog" in every form.

    The class of a file is told by its folder (Cat, cats, Dog, dogs, below `root` or PetImages) or,
    where there are no such folders, by its name (cat.0.jpg, dog.0.jpg, in any folder, as Kaggle
    gives them). Else all is as in `image_folder`; `split="textbook"` is the chapter's own split of
    its 502 pictures.

    Args:
        root: the folder.
        image_size: as in `image_folder`, like all that follow.
        resize: shorter side of the pictures kept.
        batch_size: pictures per batch.
        split: fractions, "hash", "textbook", or the numbers of each part.
        augment: "crop-flip", "alexnet2012" or None.
        num_workers: threads that decode and cut.
        cache: "auto", "memory", "disk" or "none".
        memory_limit: bytes of pixels that "auto" keeps in memory.
        on_bad: "error" or "skip".
        max_skipped: part of the files that may be skipped.
        seed: rules the split, the order and the augmentation.
        device: where the batches appear.
        progress: whether to show a bar in a terminal while files are read and decoded.

    Raises:
        ConfigError, DataError, DeviceError, StorageError: as `image_folder` does.
    """
    options = PictureOptions(
        image_size=image_size,
        resize=resize,
        batch_size=batch_size,
        split=split,
        augment=augment,
        num_workers=num_workers,
        cache=cache,
        memory_limit=memory_limit,
        on_bad=on_bad,
        max_skipped=max_skipped,
        seed=seed,
    )
    files = list_cats_and_dogs(root)
    return make_picture_splits("cats_vs_dogs", files, options, device, progress)


def folder_kind(root: str | os.PathLike[str]) -> str:
    """The function that a folder is for: "image_folder", or "cats_vs_dogs" if it has those.

    Raises:
        DataError: it is for neither.
    """
    classes = list_any_folder(root).classes
    cats_and_dogs = {name.casefold().removesuffix("s") for name in classes} == set(_CLASSES)
    return "cats_vs_dogs" if cats_and_dogs else "image_folder"


def list_any_folder(root: str | os.PathLike[str]) -> PictureFiles:
    """The pictures of a folder of any form: by `list_folders`, else by `list_cats_and_dogs`.

    Raises:
        DataError: as `list_folders` does, for a folder that is of neither form.
    """
    try:
        return list_folders(root)
    except DataError as error:
        try:
            return list_cats_and_dogs(root)
        except DataError:
            raise error from None


def list_cats_and_dogs(root: str | os.PathLike[str]) -> PictureFiles:
    """The pictures of cats and dogs below `root`; DataError where there are none of either."""
    root = Path(root)
    names = list(pictures(root))
    listed = [(name, label) for name in names if (label := _by_folder(name)) is not None]
    if not listed:
        listed = [(name, label) for name in names if (label := _by_name(name)) is not None]
    if not listed:
        raise DataError(f"{str(root)!r} has no cats and dogs; they come as {_FORMS}")
    return picture_files(root, listed, _CLASSES)


def _by_folder(name: str) -> int | None:
    for folder in name.casefold().split("/")[:-1]:
        if folder.removesuffix("s") in _CLASSES:
            return _CLASSES.index(folder.removesuffix("s"))
    return None


def _by_name(name: str) -> int | None:
    found = re.match(r"(cat|dog)[._-]", name.casefold().rpartition("/")[2])
    return _CLASSES.index(found[1]) if found else None
