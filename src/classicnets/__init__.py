"""classicnets: the classic convolutional nets, faithful, fast on small nets, exact.

Nothing happens at import: the first net loads torch, the first data set loads what reads it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import data, errors, layers, models, plots, recipes, shapes, training
    from .errors import ClassicNetsError
    from .layer_table import Summary, summary
    from .model_cards import ModelCard, model_card
    from .models import (
        AlexNet,
        AlexNetPaper,
        LectureCNN,
        LeNet1,
        LeNet5,
        LeNet5Paper,
        LeNet1989,
        LeNetCatDog,
        SequentialCNN,
        list_models,
    )
    from .net_export import export
    from .photo import DigitPhoto, digit_photo
    from .pretrained import create_model, load
    from .training import (
        Evaluation,
        History,
        Prediction,
        evaluate,
        fit,
        load_weights,
        predict,
        save_weights,
    )

_MODULES = ("data", "errors", "layers", "models", "plots", "recipes", "shapes", "training")

# public name -> the module that defines it
_NAMES = {
    "ClassicNetsError": "errors",
    "Summary": "layer_table",
    "summary": "layer_table",
    "ModelCard": "model_cards",
    "model_card": "model_cards",
    "AlexNet": "models",
    "AlexNetPaper": "models",
    "LeNet1": "models",
    "LeNet1989": "models",
    "LeNet5": "models",
    "LeNet5Paper": "models",
    "LeNetCatDog": "models",
    "LectureCNN": "models",
    "SequentialCNN": "models",
    "list_models": "models",
    "export": "net_export",
    "DigitPhoto": "photo",
    "digit_photo": "photo",
    "create_model": "pretrained",
    "load": "pretrained",
    "Evaluation": "training",
    "History": "training",
    "Prediction": "training",
    "evaluate": "training",
    "fit": "training",
    "load_weights": "training",
    "predict": "training",
    "save_weights": "training",
}

__all__ = [
    "AlexNet",
    "AlexNetPaper",
    "ClassicNetsError",
    "DigitPhoto",
    "Evaluation",
    "History",
    "LeNet1",
    "LeNet5",
    "LeNet5Paper",
    "LeNet1989",
    "LeNetCatDog",
    "LectureCNN",
    "ModelCard",
    "Prediction",
    "SequentialCNN",
    "Summary",
    "create_model",
    "data",
    "digit_photo",
    "errors",
    "evaluate",
    "export",
    "fit",
    "layers",
    "list_models",
    "load",
    "load_weights",
    "model_card",
    "models",
    "plots",
    "predict",
    "recipes",
    "save_weights",
    "shapes",
    "summary",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
