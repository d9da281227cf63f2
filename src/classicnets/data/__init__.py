"""Data sets ready for the nets: loaders of (images, labels), cut from tensors in memory.

The modules load when a name is first used, so that importing this package loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loader import Augmentation, TensorLoader

# public name -> the module that defines it
_NAMES = {
    "Augmentation": "loader",
    "TensorLoader": "loader",
}

__all__ = ["Augmentation", "TensorLoader"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
