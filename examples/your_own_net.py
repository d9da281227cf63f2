"""A net of your own with `fit`: any module, any loader, here PyTorch's own of both.

python examples/your_own_net.py        ends in the test accuracy, about 0.95
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import classicnets


def make_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),  # (16, 8, 8)
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (16, 4, 4)
        nn.Conv2d(16, 32, 3, padding=1),  # (32, 4, 4)
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 4 * 4, 10),
    )


def main(epochs: int = 15) -> float:
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (1797, 1, 8, 8), 0 to 1
    labels = torch.from_numpy(digits.target).long()
    train = TensorDataset(images[:1200], labels[:1200])
    val = TensorDataset(images[1200:1437], labels[1200:1437])
    test = TensorDataset(images[1437:], labels[1437:])

    torch.manual_seed(0)  # the first weights
    model = make_net()
    print(classicnets.summary(model, (1, 8, 8)))

    order = torch.Generator().manual_seed(0)
    classicnets.fit(
        model,
        DataLoader(train, batch_size=32, shuffle=True, generator=order),
        val_loader=DataLoader(val, batch_size=256),
        epochs=epochs,
        optimizer="adamw",
        lr=0.005,
        schedule="cosine",
        seed=0,  # dropout
    )
    result = classicnets.evaluate(model, DataLoader(test, batch_size=256))
    print(result)
    return result.accuracy


if __name__ == "__main__":
    print(main())
