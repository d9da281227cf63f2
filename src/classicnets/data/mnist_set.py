"""MNIST: 70,000 handwritten digits, the data the nets of 1998 and after are measured on.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998; made from
NIST's Special Databases 1 and 3 as LeCun et al. 1998, Sec. III.A, tells. 60,000 to train, 10,000 to
test, 28x28, digits of 20x20 centred by mass. Licence: CC BY-SA 3.0 by common account.
"""

import os

import torch

from .loader import Augmentation
from .mnist_files import MnistFiles
from .splits import SplitOptions, Splits

_FILES = MnistFiles(
    name="mnist",
    folder="MNIST",
    classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    mean=0.13066048,  # of the 60,000 training pictures, computed from the file
    std=0.30810780,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    sha256={
        "train-images-idx3-ubyte.gz": (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        "train-labels-idx1-ubyte.gz": (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    },
)


def mnist(
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
    """MNIST ready for the nets: 55,000 to train, 5,000 to validate, 10,000 to test.

    Args:
        root: the folder that has or gets `MNIST/raw`, or that raw folder itself; None for the
            environment variable CLASSICNETS_DATA, else a cache folder of the user's. Files that
            lie there are used as they are.
        batch_size: pictures per training batch; validation and test have at least 256.
        image_size: 32 (padded with background), 28 (as they are) or 16 (by area averaging).
        digit_size: 16 with image_size 28: the picture by area averaging, centred, LeNet-1's plane.
        val_size: pictures split off the 60,000 by the seed; 0 for none.
        augment: "affine", an augmentation of your own, or None; of the training pictures only.
        normalize: "standard" (mean and deviation of the training pictures), "paper" (background
            -0.1, ink 1.175, for LeNet5Paper), "signed" (-1 to 1, as in 1989) or "none" (0 to 1).
        seed: rules the split, the order and the augmentation.
        train_size: how many of the training pictures to train on; None for all.
        repeat: how many epochs differ, in order and augmentation, before the first comes again; 1
            for one constant random order. None if all differ.
        device: where the data are held.
        download: fetch what is missing from torchvision's mirrors, 11 MB, checked by SHA-256; not
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
