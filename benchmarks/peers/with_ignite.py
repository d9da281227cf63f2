"""PyTorch-Ignite, by its quickstart."""

from typing import Any

import torch_task
from ignite.engine import Engine, Events, create_supervised_trainer
from torch import nn


def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> Any:
    trainer = create_supervised_trainer(net, torch_task.sgd(net), criterion)

    @trainer.on(Events.ITERATION_COMPLETED(every=100))
    def log_training_loss(engine: Engine) -> None:
        print(f"Epoch[{engine.state.epoch}], Iter[{engine.state.iteration}] {engine.state.output}")

    return lambda: trainer.run(loader, max_epochs=1)


if __name__ == "__main__":
    torch_task.main(prepare)
