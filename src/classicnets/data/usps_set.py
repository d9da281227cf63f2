"""USPS: the 9,298 zip-code digits of 1989 themselves, where a user has them.

Source: the digits of LeCun et al., Neural Computation 1(4) 1989, written on envelopes that passed
through Buffalo: 7,291 to train, 2,007 to test, 16x16. They are public as "usps" among the
multi-class sets of LIBSVM, the files that torchvision's USPS takes too. No licence is stated.
"""

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from classicnets.errors import DataError
from classicnets.preparation import Preparation

from .loader import Augmentation
from .splits import SplitOptions, Splits, make_splits, normalization

_SIZE = 16
# MD5 is what is published; it tells the true files, and guards against nothing worse than damage
_MD5 = {
    "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
    "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
}


def usps(
    root: str | os.PathLike[str],
    *,
    batch_size: int = 64,
    image_size: int = 16,
    val_size: int = 1000,
    augment: str | Augmentation | None = None,
    normalize: str = "standard",
    seed: int = 0,
    train_size: int | None = None,
    repeat: int | None = None,
    device: torch.device | str = "cpu",
) -> Splits:
    """The zip-code digits of 1989: 6,291 to train, 1,000 to validate, 2,007 to test.

    Args:
        root: the folder that has `usps.bz2` and `usps.t.bz2`; nothing is fetched.
        batch_size: pictures per training batch; validation and test have at least 256.
        image_size: 16 (as they are) or more (padded with background).
        val_size: pictures split off the 7,291 by the seed; 0 for none.
        augment: "affine", an augmentation of your own, or None; of the training pictures only.
        normalize: "standard" (mean and deviation of the training part), "paper" (background -0.1,
            ink 1.175), "signed" (-1 to 1, as in 1989) or "none" (0 to 1).
        seed: rules the split, the order and the augmentation.
        train_size: how many of the training pictures to train on; None for all.
        repeat: how many epochs differ, in order and augmentation, before the first comes again; 1
            for one constant random order. None if all differ.
        device: where the data are held.

    Raises:
        ConfigError: an option that cannot work.
        DataError: a file that is missing, or is not the one that is public.
        DeviceError: a device that does not exist.
    """
    options = SplitOptions(
        batch_size, image_size, None, val_size, augment, normalize, seed, train_size, repeat
    )
    training_part, test_part = (_read(Path(root).expanduser() / name) for name in _MD5)
    pixels = training_part[0].double() / 255
    mean, std = normalization(normalize, float(pixels.mean()), float(pixels.std()))
    return make_splits(
        "usps",
        tuple(map(str, range(10))),
        Preparation(_SIZE, steps=(("pad", image_size),), mean=mean, std=std),
        options,
        training_part,
        test_part,
        device,
    )


def _read(path: Path) -> tuple[Tensor, Tensor]:
    """Pictures, uint8 (N, 1, 16, 16), and labels of a file; its labels are 1 to 10."""
    from sklearn.datasets import load_svmlight_file

    if not path.is_file():
        raise DataError(
            f"{path} is not there; put {' and '.join(_MD5)} of LIBSVM's multi-class sets into "
            "that folder, or name another by root="
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != _MD5[path.name]:
        raise DataError(f"{path} has MD5 {found}, the public file {_MD5[path.name]}; get it again")
    pixels, labels = load_svmlight_file(str(path), n_features=_SIZE**2, zero_based=False)
    levels = torch.from_numpy(pixels.toarray()).view(-1, 1, _SIZE, _SIZE)
    images = ((levels + 1) * 127.5).round().to(torch.uint8)
    return images, torch.from_numpy(labels).long() - 1
