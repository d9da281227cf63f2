"""FashionMNIST: 70,000 pictures of clothes in MNIST's form, a harder stand-in for it.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", arXiv 1708.07747, 2017. Licence: MIT, Zalando SE.
"""

import os

import torch

from .loader import Augmentation
from .mnist_files import MnistFiles
from .splits import SplitOptions, Splits

_FILES = MnistFiles(
    name="fashion_mnist",
    folder="FashionMNIST",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mean=0.2860,  # of the 60,000 training pictures, as commonly given; not computed here
    std=0.3530,
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    sha256={
        "train-images-idx3-ubyte.gz": (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte.gz": (
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
)


def fashion_mnist(
    root: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 64,
    image_size: int = 32,
    digit_size: int | None = None,
    val_size: int = 5000,
    augment: str | Augmentation | None = None,
    normalize: str = "standard",
    seed: int = 0,
    train_size: int | None = None,
    repeat: int | None = None,
    device: torch.device | str = "cpu",
    download: bool = True,
) -> Splits:
    """FashionMNIST ready for the nets: 55,000 to train, 5,000 to validate, 10,000 to test.

    Args:
        root: the folder that has or gets `FashionMNIST/raw`, or that raw folder itself; None for
            the environment variable CLASSICNETS_DATA, else a cache folder of the user's. Files
            that lie there are used as they are.
        batch_size: pictures per training batch; validation and test have at least 256.
        image_size: 32 (padded with background), 28 (as they are) or 16 (by area averaging).
        digit_size: 16 with image_size 28: the picture by area averaging, centred, LeNet-1's plane.
        val_size: pictures split off the 60,000 by the seed; 0 for none.
        augment: "affine", an augmentation of your own, or None; of the training pictures only.
        normalize: "standard" (mean and deviation of the training pictures), "paper" (background
            -0.1, ink 1.175), "signed" (-1 to 1) or "none" (0 to 1).
        seed: rules the split, the order and the augmentation.
        train_size: how many of the training pictures to train on; None for all.
        repeat: how many epochs differ, in order and augmentation, before the first comes again; 1
            for one constant random order. None if all differ.
        device: where the data are held.
        download: fetch what is missing from torchvision's mirrors, 31 MB, checked by SHA-256; not
            done where the environment variable CLASSICNETS_OFFLINE is 1.

    Raises:
        ConfigError: an option that cannot work.
        DataError: files that are malformed, or that are missing with download=False.
        DownloadError: files that could not be fetched, or whose SHA-256 is another.
        StorageError: a folder that cannot take the files.
        DeviceError: a device that does not exist.
    """
    options = SplitOptions(
        batch_size, image_size, digit_size, val_size, augment, normalize, seed, train_size, repeat
    )
    return _FILES.splits(root, options, device, download)
