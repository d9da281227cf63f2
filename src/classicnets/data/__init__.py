"""Data sets ready for the nets: loaders of (images, labels), cut from tensors in memory.

The modules load when a name is first used, so that importing this package loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentation import Affine
    from .digits_set import digits
    from .fashion_mnist_set import fashion_mnist
    from .idx import read_idx
    from .loader import Augmentation, TensorLoader
    from .mnist_set import mnist
    from .splits import Splits

# public name -> the module that defines it; no module may bear a public name, it would hide it
_NAMES = {
    "Affine": "augmentation",
    "Augmentation": "loader",
    "Splits": "splits",
    "TensorLoader": "loader",
    "digits": "digits_set",
    "fashion_mnist": "fashion_mnist_set",
    "mnist": "mnist_set",
    "read_idx": "idx",
}

__all__ = [
    "Affine",
    "Augmentation",
    "Splits",
    "TensorLoader",
    "digits",
    "fashion_mnist",
    "mnist",
    "read_idx",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
