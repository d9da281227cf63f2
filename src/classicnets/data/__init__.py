"""Data sets ready for the nets: loaders of (images, labels), cut from tensors in memory.

The modules load when a name is first used, so that importing this package loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import Affine
    from .cats_vs_dogs_set import cats_vs_dogs
    from .digits_set import digits
    from .distortions import Distortions
    from .fashion_mnist_set import fashion_mnist
    from .folder_doctor import Fault, Report, doctor
    from .idx import read_idx
    from .image_folder_set import image_folder
    from .loader import Augmentation, TensorLoader
    from .mnist_set import mnist
    from .picture_cuts import TenCrop, ten_crops
    from .picture_loader import PictureLoader
    from .splits import Splits
    from .usps_set import usps

# public name -> the module that defines it; no module may bear a public name, it would hide it
_NAMES = {
    "Affine": "augmentation",
    "Augmentation": "loader",
    "Distortions": "distortions",
    "Fault": "folder_doctor",
    "PictureLoader": "picture_loader",
    "Report": "folder_doctor",
    "Splits": "splits",
    "TenCrop": "picture_cuts",
    "TensorLoader": "loader",
    "cats_vs_dogs": "cats_vs_dogs_set",
    "digits": "digits_set",
    "doctor": "folder_doctor",
    "fashion_mnist": "fashion_mnist_set",
    "image_folder": "image_folder_set",
    "mnist": "mnist_set",
    "read_idx": "idx",
    "ten_crops": "picture_cuts",
    "usps": "usps_set",
}

__all__ = [
    "Affine",
    "Augmentation",
    "Distortions",
    "Fault",
    "PictureLoader",
    "Report",
    "Splits",
    "TenCrop",
    "TensorLoader",
    "cats_vs_dogs",
    "digits",
    "doctor",
    "fashion_mnist",
    "image_folder",
    "mnist",
    "read_idx",
    "ten_crops",
    "usps",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
