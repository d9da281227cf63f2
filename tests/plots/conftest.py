"""What the tests of plots draw: results and nets built by formula, so that none is drawn by lot."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn


@dataclass
class Epoch:
    epoch: int
    train_loss: float = 0.5
    train_accuracy: float | None = 0.8
    val_loss: float | None = 0.6
    val_accuracy: float | None = 0.7


@dataclass
class History:
    epochs: list[Epoch]
    step_losses: list[float] = field(default_factory=lambda: [2.3, 1.0, 0.5])
    best_epoch: int | None = None


@dataclass
class Prediction:
    labels: np.ndarray
    probabilities: np.ndarray


def learning(epochs: int, speed: float = 1.0) -> History:
    """A history whose losses fall and whose accuracies rise."""
    records = [
        Epoch(
            n, 2 / (1 + speed * n), 1 - 1 / (1 + speed * n), 2.2 / (1 + speed * n), 0.9 - 1 / 2**n
        )
        for n in range(1, epochs + 1)
    ]
    losses = [2.3 / (1 + step / 20) + 0.1 * np.sin(step) for step in range(200)]
    return History(records, losses, epochs)


def predict(predicted: list[int], confidence: list[float], classes: int = 10) -> Prediction:
    """A prediction whose rest goes to the class before the predicted one."""
    rows = np.arange(len(predicted))
    probabilities = np.zeros((len(predicted), classes))
    probabilities[rows, predicted] = confidence
    probabilities[rows, np.array(predicted) - 1] = 1 - np.array(confidence)
    return Prediction(np.array(predicted), probabilities)


def fill(model: nn.Module) -> nn.Module:
    """Weights that are waves."""
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            wave = torch.sin(0.7 * torch.arange(weight.numel()) + number).view_as(weight)
            weight.copy_(wave / max(1, weight[0].numel()) ** 0.5)
    return model


def stroke(size: int, channels: int = 1, slant: float = 0.0) -> torch.Tensor:
    """A slanted bar, bright on dark, (channels, size, size), each channel dimmer than the last."""
    rows = torch.arange(size).view(-1, 1) / size - 0.5
    columns = torch.arange(size).view(1, -1) / size - 0.5
    bar = torch.exp(-((columns + slant * rows) ** 2) * 60) * (rows.abs() < 0.4)
    return torch.stack([bar / (1 + channel) for channel in range(channels)])


@pytest.fixture
def make() -> SimpleNamespace:
    """All of the above."""
    return SimpleNamespace(
        Epoch=Epoch,
        History=History,
        Prediction=Prediction,
        learning=learning,
        predict=predict,
        fill=fill,
        stroke=stroke,
    )


@pytest.fixture
def small_net() -> nn.Module:
    """A net of one convolution for grey pictures of 12x12, with ten outputs."""
    layers = [nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5)]
    return fill(nn.Sequential(*layers, nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10)))
