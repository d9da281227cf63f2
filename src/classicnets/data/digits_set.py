"""The digits bundled with scikit-learn: 1,797 pieces of real handwriting, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository 1998; scikit-learn has its test part: 8x8 pictures of 17 levels.
"""

import os

import torch

from classicnets.preparation import Preparation

from .loader import Augmentation
from .splits import SplitOptions, Splits, make_splits, normalization

_TEST_SIZE = 360  # the last, always
# of the first 1,437 pictures at 8x8, as uint8 over 255; a test computes them again
_MEAN, _STD = 0.30543467, 0.37534217


def digits(
    root: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 64,
    image_size: int = 32,
    digit_size: int | None = None,
    val_size: int = 237,
    augment: str | Augmentation | None = None,
    normalize: str = "standard",
    seed: int = 0,
    train_size: int | None = None,
    repeat: int | None = None,
    device: torch.device | str = "cpu",
    download: bool = True,
) -> Splits:
    """The 1,797 handwritten digits that come with scikit-learn, ready for the nets.

    They load in a moment and train in seconds, for trying things out. The test set is the last
    360, whatever the seed.

    Args:
        root: not used; the three data calls take the same arguments.
        batch_size: pictures per training batch; validation and test have at least 256.
        image_size: height and width in pixels, at least 1; from 8x8 by bilinear interpolation.
        digit_size: size of the digit itself, centred in image_size; None fills it.
        val_size: pictures split off the 1,437 of the training part by the seed; 0 for none.
        augment: "affine", an augmentation of your own, or None; of the training pictures only.
        normalize: "standard" (mean and deviation of the training part), "paper" (background -0.1,
            ink 1.175), "signed" (-1 to 1) or "none" (0 to 1).
        seed: rules the split, the order and the augmentation.
        train_size: how many of the training pictures to train on; None for all.
        repeat: how many epochs differ, in order and augmentation, before the first comes again; 1
            for one constant random order. None if all differ.
        device: where the data are held.
        download: not used; nothing is to be fetched.

    Raises:
        ConfigError: an option that cannot work.
        DeviceError: a device that does not exist.

    Example:
        >>> splits = digits(batch_size=100)
        >>> len(splits.train), splits.val.num_images, splits.test.num_images
        (12, 237, 360)
        >>> images, labels = next(iter(splits.train))
        >>> images.shape
        torch.Size([100, 1, 32, 32])
    """
    options = SplitOptions(
        batch_size, image_size, digit_size, val_size, augment, normalize, seed, train_size, repeat
    )
    mean, std = normalization(normalize, _MEAN, _STD)
    enlarge = (("bilinear", digit_size or image_size), ("pad", image_size))
    preparation = Preparation(8, steps=enlarge, mean=mean, std=std)

    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = torch.from_numpy(bunch.images).unsqueeze(1)  # 0..16
    images = (levels * 255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    return make_splits(
        "digits",
        tuple(map(str, range(10))),
        preparation,
        options,
        (images[:-_TEST_SIZE], labels[:-_TEST_SIZE]),
        (images[-_TEST_SIZE:], labels[-_TEST_SIZE:]),
        device,
    )
