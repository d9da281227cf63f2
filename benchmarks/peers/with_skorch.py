"""skorch: the net as a scikit-learn estimator."""

from typing import Any

import task
import torch
import torch_task
from skorch import NeuralNet, NeuralNetClassifier
from torch import nn
from torch.utils.data import TensorDataset


def main() -> None:
    given = task.arguments()

    def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> Any:
        kind = NeuralNetClassifier if given.part == "epochs" else NeuralNet
        options: dict[str, Any] = {"iterator_train__shuffle": True}
        if given.part == "steps":  # skorch makes its own loader; here it takes the one it is given
            options = {"iterator_train": lambda dataset, **options: loader}
        estimator = kind(
            net,
            criterion=type(criterion),
            optimizer=torch.optim.SGD,
            optimizer__momentum=task.MOMENTUM,
            lr=task.LEARNING_RATE,
            batch_size=task.BATCH,
            max_epochs=1,
            train_split=None,
            **options,
        ).initialize()
        dataset = getattr(loader, "dataset", TensorDataset(torch.zeros(1)))
        return lambda: estimator.partial_fit(dataset, None)

    torch_task.main(prepare, given=given)


if __name__ == "__main__":
    main()
