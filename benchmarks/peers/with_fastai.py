"""fastai, by its page on migrating from plain PyTorch."""

from functools import partial
from typing import Any

import task
import torch_task
from fastai.callback.core import Callback, CancelValidException
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import SGD
from torch import nn


class TrainingOnly(Callback):
    def before_validate(self) -> None:
        raise CancelValidException


def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> Any:
    data = DataLoaders(loader, loader)  # it wants a second one, which is not read
    learner = Learner(
        data, net, criterion, opt_func=partial(SGD, mom=task.MOMENTUM), cbs=TrainingOnly()
    )
    return lambda: learner.fit(1, lr=task.LEARNING_RATE)


if __name__ == "__main__":
    torch_task.main(prepare)
