"""The net of 1998 against one of today, on the same digits: what 25 years of habits are worth.

python examples/then_and_now.py        ends in how much more of the test set today's net gets right
"""

import torch
from torch import nn

import classicnets


def net_of_today() -> nn.Module:
    """Small windows, batch norm, ReLU, one average over the last map: 10,642 parameters."""
    return nn.Sequential(
        *block(1, 8),  # (8, 16, 16)
        *block(8, 16),  # (16, 8, 8)
        *block(16, 60),  # (60, 4, 4)
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(60, 10),
    )


def block(maps_in: int, maps_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(maps_in, maps_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(maps_out), nn.ReLU(), nn.MaxPool2d(2)]


def accuracy_of(model: nn.Module, normalize: str, loss: str, epochs: int) -> float:
    data = classicnets.data.digits(batch_size=32, normalize=normalize)
    classicnets.fit(
        model,
        data.train,
        val_loader=data.val,
        epochs=epochs,
        lr=0.005,
        schedule="onecycle",
        loss=loss,
        seed=0,
    )
    result = classicnets.evaluate(model, data.test, loss=loss)
    parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{type(model).__name__}, {parameters:,} parameters: {result}")
    return result.accuracy


def main(epochs: int = 15) -> float:
    torch.manual_seed(0)
    then = accuracy_of(classicnets.LeNet5Paper(), "paper", "distance", epochs)
    now = accuracy_of(net_of_today(), "standard", "cross_entropy", epochs)
    return now - then


if __name__ == "__main__":
    print(main())
