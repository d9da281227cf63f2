"""The nets, one file per paper; each is loaded when it is first asked for."""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from .alexnet2012 import AlexNetPaper
    from .alexnet2014 import AlexNet
    from .lecture_cnn import LectureCNN
    from .lenet1 import LeNet1
    from .lenet5 import LeNet5, LeNet5Paper
    from .lenet1989 import LeNet1989
    from .lenet_catdog import LeNetCatDog
    from .sequential_cnn import SequentialCNN

__all__ = [
    "AlexNet",
    "AlexNetPaper",
    "LeNet1",
    "LeNet5",
    "LeNet5Paper",
    "LeNet1989",
    "LeNetCatDog",
    "LectureCNN",
    "SequentialCNN",
    "list_models",
    "model_class",
]

# name for create_model -> (class, module)
_MODELS = {
    "lenet5": ("LeNet5", "lenet5"),
    "lenet5_paper": ("LeNet5Paper", "lenet5"),
    "sequential_cnn": ("SequentialCNN", "sequential_cnn"),
    "lecture_cnn": ("LectureCNN", "lecture_cnn"),
    "lenet_catdog": ("LeNetCatDog", "lenet_catdog"),
    "alexnet": ("AlexNet", "alexnet2014"),
    "alexnet_paper": ("AlexNetPaper", "alexnet2012"),
    "lenet1": ("LeNet1", "lenet1"),
    "lenet1989": ("LeNet1989", "lenet1989"),
}


def list_models() -> list[str]:
    """Names of all nets, as `create_model` takes them.

    Example:
        >>> list_models()[:2]
        ['lenet5', 'lenet5_paper']
    """
    return list(_MODELS)


def model_class(name: str) -> type["nn.Module"]:
    """The class of a net by its name.

    Raises:
        ConfigError: no net has this name.

    Example:
        >>> model_class("lenet5").__name__
        'LeNet5'
    """
    if name not in _MODELS:
        close = get_close_matches(str(name).lower(), _MODELS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ","
        raise ConfigError(f"name is {name!r}{hint} choose one of: {', '.join(_MODELS)}")
    class_name, module = _MODELS[name]
    found: type[nn.Module] = getattr(import_module(f".{module}", __name__), class_name)
    return found


def __getattr__(name: str) -> Any:
    for class_name, module in _MODELS.values():
        if name == class_name:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
