"""The record that a recipe is, and how `fit` is called for one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn, optim
from torch.nn import functional as F

from ..errors import ConfigError
from ..training.losses import Loss


@dataclass(frozen=True)
class Expected:
    """What a recipe gave on the test part.

    Attributes:
        accuracy: the mean over the seeds, 0..1.
        low: of the worst seed.
        high: of the best seed.
        seeds: how many there were, 0 being the first.
        seconds: of training, a run; None where not noted.
        machine: where that was; empty where not noted.
    """

    accuracy: float
    low: float
    high: float
    seeds: int = 3
    seconds: float | None = None
    machine: str = ""

    def __str__(self) -> str:
        rates = (self.accuracy, self.low, self.high)
        decimals = 1 if all(rate == round(rate, 3) for rate in rates) else 2
        mean, low, high = (f"{100 * rate:.{decimals}f}" for rate in rates)
        seeds = "one seed" if self.seeds == 1 else f"{low} to {high}, {self.seeds} seeds"
        text = f"{mean} % ({seeds})"
        if self.seconds is not None:
            text += f" in {self.seconds:.0f} s of processor time"
        return f"{text} on {self.machine}" if self.machine else text


def on_a_core(mean: float, low: float, high: float, seeds: int, seconds: float) -> Expected:
    """What was measured on the machine that made the shipped weights, by one thread."""
    return Expected(mean, low, high, seeds, seconds, "one core (AMD EPYC)")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train one net on one data set.

    Args:
        net: name of the net, as in `list_models`.
        data: name of the data set, a function of `classicnets.data`.
        name: which of the net's recipes; "quick" is the plain one.
        preparation: what the data function is told, so that the pictures fit the net.
        augment: ranges of `data.Affine` by name, or with the name "distortions" those of
            `data.Distortions`, changing the training pictures; None for none.
        epochs: passes over the training part.
        batch_size: images a step.
        optimizer: a name that `fit` knows.
        optimizer_options: what differs from the settings that the name stands for.
        lr: learning rate, the highest of the schedule; None where that has all rates.
        schedule: a name that `fit` knows, or the rate of each epoch; None for a constant rate.
        loss: a name that `fit` knows, or one of a tutorial's: see `evaluation_loss`.
        label_smoothing: part of each target that is spread over all classes, 0..1.
        online: whether each picture makes an update.
        average: decay of the moving average of the weights, 0..1; None for none.
        monitor: what the best epoch is chosen by, as `fit` takes it; None for the accuracy.
        net_options: what the net is built with.
        threads: of the CPU, 1 where a step is too small to share: two gain a third at most, and
            lose fifty times that when other programs want the cores. None for torch's number.
        seed: rules split, order and first weights, unless another is given.
        expected: accuracy on the test part and its spread.
        source: where the settings come from.
        note: where the recipe departs from its source.
    """

    net: str
    data: str
    name: str = "quick"
    preparation: Mapping[str, Any]
    augment: Mapping[str, Any] | None = None
    epochs: int
    batch_size: int
    optimizer: str
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    schedule: str | Sequence[float] | None
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    online: bool = False
    average: float | None = None
    monitor: str | None = None
    net_options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    seed: int = 0
    expected: Expected | None = None
    source: str = ""
    note: str = ""

    def fit_settings(self) -> dict[str, Any]:
        """What `fit_arguments` takes, ready for JSON; what is not used is left out."""
        rates = None if self.schedule is None else list(self.schedule)
        settings = {
            "epochs": self.epochs,
            "optimizer": self.optimizer,
            "optimizer_options": dict(self.optimizer_options),
            "lr": self.lr,
            "schedule": self.schedule if isinstance(self.schedule, str) else rates,
            "loss": self.loss,
            "online": self.online,
            "label_smoothing": self.label_smoothing,
            "average": self.average,
            "monitor": self.monitor,
        }
        optional = ("optimizer_options", "online", "label_smoothing", "average", "monitor")
        return {name: value for name, value in settings.items() if value or name not in optional}


# What the optimizers are called in torch, for those with settings of their own.
_OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
}


def _cross_entropy_of_softmax(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs.softmax(1), labels)


def _cross_entropy_of_tanh(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs.tanh(), labels)


# Nets of tutorials that end in one function too many; here the loss has it, and no net.
_TUTORIAL_LOSSES: dict[str, Loss] = {
    "cross_entropy_of_softmax": _cross_entropy_of_softmax,
    "cross_entropy_of_tanh": _cross_entropy_of_tanh,
}


def evaluation_loss(name: str) -> str | Loss:
    """What `evaluate` takes for the loss that a recipe names."""
    return _TUTORIAL_LOSSES.get(name, name)


def fit_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `fit` is called with for the settings of a recipe, or of a run, as JSON has them.

    Raises:
        ConfigError: settings that do not go together, or an unknown optimizer with options.
    """
    arguments = dict(settings)
    options = arguments.pop("optimizer_options", None)
    if options:
        name, lr = arguments["optimizer"], arguments.pop("lr")
        if name not in _OPTIMIZERS:
            raise ConfigError(
                f"optimizer is {name!r}; those with optimizer_options are {', '.join(_OPTIMIZERS)}"
            )
        arguments["optimizer"] = partial(_OPTIMIZERS[name], lr=lr, **options)
    smoothing = arguments.pop("label_smoothing", 0.0)
    if not smoothing:
        arguments["loss"] = evaluation_loss(arguments["loss"])
    elif arguments["loss"] == "cross_entropy":
        arguments["loss"] = nn.CrossEntropyLoss(label_smoothing=smoothing)
    else:
        raise ConfigError(
            f"label_smoothing is {smoothing} and loss {arguments['loss']!r}; "
            "labels are smoothed for 'cross_entropy' alone"
        )
    return arguments
