"""Keras 3, on the backend that KERAS_BACKEND names, torch or jax."""

from argparse import Namespace
from typing import Any

import keras
import task
from keras import layers


def lenet5() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(10),
        ]
    )


def sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(task.LEARNING_RATE, momentum=task.MOMENTUM)


def epochs(given: Namespace) -> None:
    model = lenet5()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer=sgd(), metrics=["accuracy"])
    images, labels = task.pictures(given.root)
    images = images.reshape(-1, 32, 32, 1)

    def prepare(count: int) -> task.Run:
        if given.data == "memory":
            return lambda: model.fit(images[:count], labels[:count], batch_size=task.BATCH)
        loader = transforms_loader(given, count)
        return lambda: model.fit(loader)

    def tell() -> dict[str, Any]:
        outputs = model.predict(images[: task.JUDGED], verbose=0)
        found = loss(labels[: task.JUDGED], outputs)
        return {"loss": float(found), "parameters": model.count_params()}

    task.measure(given, prepare, tell)


def transforms_loader(given: Namespace, count: int) -> Any:
    """torchvision's transforms in a DataLoader, which `model.fit` takes as it is."""
    import torch
    import torch_task

    dataset = torch_task.mnist(given, count)
    dataset.transform.transforms.append(lambda image: image.permute(1, 2, 0))
    return torch.utils.data.DataLoader(dataset, batch_size=task.BATCH, shuffle=True)


def steps(given: Namespace) -> None:
    import torch
    import torch_task

    def keras_way(net: Any, criterion: Any, loader: Any) -> task.Run:
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        model.compile(loss="mse", optimizer=sgd())
        return lambda: model.fit(loader)

    def as_loader(batches: list[Any]) -> Any:
        return torch.utils.data.DataLoader(batches, batch_size=None)

    torch_task.steps(given, keras_way, as_loader)


if __name__ == "__main__":
    arguments = task.arguments()
    (steps if arguments.part == "steps" else epochs)(arguments)
