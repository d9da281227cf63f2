"""Pictures of your own: a folder for each class becomes training, validation and test loaders."""

import os

import torch

from .picture_files import list_folders
from .picture_set import PictureOptions, make_picture_splits
from .picture_splits import FRACTIONS, Split
from .splits import Splits


def image_folder(
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
    """The pictures below `root`, one folder a class, as training, validation and test loaders.

    A class bears the name of its folder; classes and files are sorted. JPEG, PNG, WebP, BMP and
    GIF files in the folder and in those below it are its pictures, read by the rules of
    `classicnets.pictures.read_picture`. Every file is read here, before training, and what is
    wrong with one is said with its path. Pictures are kept as uint8, their shorter side of `resize`
    pixels, and squares are cut from there: at random to train, the middle to validate and test.
    Files that `root/exclude.json` names, as `doctor` writes it, take no part.

    Args:
        root: the folder.
        image_size: height and width of what the net gets, in pixels.
        resize: shorter side of the pictures kept, in pixels; None for 256 where image_size is 224
            or 227, and in that proportion elsewhere.
        batch_size: pictures per batch.
        split: three fractions, drawn within each class by the seed; "hash", the fractions 0.8, 0.1
            and 0.1 decided by each file's content alone, so that a picture never changes its part
            and copies stay together; "textbook", the first 400 to train, the last 10 to test and
            the others to validate after `random.seed(42)` has shuffled the sorted paths; or the
            first and last number of each part, `{"train": (1, 800), "val": (801, 900), "test":
            (901, 1000)}`, numbers being the last ones in the files' names.
        augment: of the training pictures: "crop-flip" (crops of half the area or more, mirrored
            half the time), "alexnet2012" (crops, flips and colours of the paper), or None.
        num_workers: threads that decode and cut; the batches do not depend on it.
        cache: "memory", "disk" (a file beside the folder, mapped into memory), "none" (pictures
            are decoded each time), or "auto": in memory up to `memory_limit`, on disk beyond it.
        memory_limit: bytes of pixels that "auto" keeps in memory; 2,000 pictures of the usual
            proportions take 0.5 GB.
        on_bad: what is done about files that cannot be used: "error", or "skip", with one warning
            that counts and names them.
        max_skipped: the part of the files, 0..1, that "skip" may leave out, one at least; more is
            an error.
        seed: rules the split, the order and the augmentation; a whole number, at least 0.
        device: where the batches appear.
        progress: whether to show a bar in a terminal while files are read and decoded.

    Raises:
        ConfigError: an option that cannot work.
        DataError: the folder has not this form, a file cannot be used, a part would be empty.
        DeviceError: a device that does not exist.
        StorageError: the cache cannot be written.

    Example:
        >>> from PIL import Image
        >>> root = getfixture("tmp_path")
        >>> for name in ("circles/1.png", "circles/2.png", "squares/1.png", "squares/2.png"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     Image.new("RGB", (40, 30), "red").save(root / name)
        >>> splits = image_folder(root, image_size=28, split=(0.5, 0, 0.5))
        >>> splits.classes, splits.train.num_images, splits.test.num_images
        (('circles', 'squares'), 2, 2)
        >>> images, labels = next(iter(splits.train))
        >>> images.shape
        torch.Size([2, 3, 28, 28])
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
    return make_picture_splits("image_folder", list_folders(root), options, device, progress)
