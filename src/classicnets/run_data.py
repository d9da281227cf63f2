"""The data of a run: loaded by name and options, and again later, when they may have changed."""

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import data
from .data.cats_vs_dogs_set import folder_kind
from .errors import ConfigError, DataError

if TYPE_CHECKING:
    from .data import Splits

__all__ = ["DATA_SETS", "file_digests", "load_again", "load_data", "place_of"]

DATA_SETS = ("cats_vs_dogs", "digits", "fashion_mnist", "image_folder", "mnist", "usps")
_AUGMENTATIONS = {"affine": "Affine", "distortions": "Distortions"}  # classes of `data`
_OURS = ("root", "device", "download", "progress")  # arguments that are no option of a run


def place_of(name: str | None, root: str | Path | None) -> tuple[str | None, str | Path | None]:
    """The name of a data set and its root, where a folder of pictures may stand for both.

    Raises:
        ConfigError: a folder and a root.
        DataError: the folder has no pictures in classes.
    """
    if name is None or name in DATA_SETS or not Path(name).is_dir():
        return name, root
    if root is not None:
        raise ConfigError(
            f"data is {name!r}, which is a folder, and root is {str(root)!r}; give the folder "
            "alone, or with the root the name of a data set"
        )
    return folder_kind(name), name


def load_data(
    name: str,
    options: Mapping[str, Any],
    root: str | Path | None,
    *,
    download: bool = True,
    progress: bool = False,
) -> "Splits":
    """Load a data set.

    Raises:
        ConfigError: there is no such data set or option, or no root for what is not fetched.
    """
    if name not in DATA_SETS:
        raise ConfigError(
            f"data is {name!r}; it is a folder of pictures or one of {', '.join(DATA_SETS)}"
        )
    function = getattr(data, name)
    parameters = signature(function).parameters
    known = [option for option in parameters if option not in _OURS]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"{option!r} is no option of data.{name}; those are {', '.join(known)}"
            )
    arguments = dict(options)
    if isinstance(arguments.get("augment"), Mapping):
        ranges = dict(arguments["augment"])
        kind = ranges.pop("name", "affine")
        if kind not in _AUGMENTATIONS:
            raise ConfigError(
                f"the name of augment is {kind!r}; the names are {', '.join(_AUGMENTATIONS)}"
            )
        arguments["augment"] = getattr(data, _AUGMENTATIONS[kind])(**ranges)
    if "download" in parameters:
        arguments["download"] = download
    elif root is None:
        raise ConfigError(
            f"root is None, and {name} is not fetched; name the folder that has it: --root FOLDER, "
            "or for pictures --data FOLDER"
        )
    if "progress" in parameters:
        arguments["progress"] = progress
    splits: Splits = function(root, **arguments)
    return splits


def load_again(
    metrics: Mapping[str, Any],
    root: str | Path | None,
    *,
    download: bool = True,
    progress: bool = False,
) -> "Splits":
    """The data of a run, split and prepared as they were.

    Args:
        metrics: the run's.
        root: a folder that is taken as it is; None for the run's own, whose pictures must be those
            of then: one more would split them otherwise, and training pictures be tested.
        download: whether to fetch what is missing.
        progress: whether to show a bar.

    Raises:
        DataError: the folder has other classes, or is the run's own and has other pictures.
    """
    kept = metrics["data"]
    place = kept["root"] if root is None else root
    splits = load_data(kept["name"], kept["options"], place, download=download, progress=progress)
    if list(splits.classes) != list(metrics["classes"]):
        raise DataError(
            f"{str(place)!r} has the classes {', '.join(splits.classes)}, the run was trained on "
            f"{', '.join(metrics['classes'])}; give a folder with those"
        )
    if root is None and kept.get("files") not in (None, file_digests(splits)):
        raise DataError(
            f"the pictures in {str(place)!r} are not those that the run was trained on, and would "
            f"be split otherwise; put them back, or take them as they are: --root {place}"
        )
    return splits


def file_digests(splits: "Splits") -> dict[str, str] | None:
    """SHA-256 of the files of each part; None where the data are not files of pictures."""
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    settings = {name: loader.settings for name, loader in parts.items() if loader is not None}
    return {name: each["files"] for name, each in settings.items() if "files" in each} or None
