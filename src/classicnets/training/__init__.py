"""Training, evaluation and prediction for any module and any iterable of batches."""

from ..storage.weights import load_weights, save_weights
from .evaluate import Evaluation, evaluate, wilson_interval
from .events import Event, each_step
from .fit import fit
from .history import EpochRecord, History
from .predict import Prediction, predict

__all__ = [
    "EpochRecord",
    "Evaluation",
    "Event",
    "History",
    "Prediction",
    "each_step",
    "evaluate",
    "fit",
    "load_weights",
    "predict",
    "save_weights",
    "wilson_interval",
]
