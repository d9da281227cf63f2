"""Lightning: as its front page has it, or with `--lean`, all that can be switched off being off."""

import tempfile
from typing import Any

import lightning
import task
import torch
import torch_task
from torch import nn


class LitModel(lightning.LightningModule):
    def __init__(self, net: nn.Module, criterion: nn.Module, lean: bool) -> None:
        super().__init__()
        self.net = net
        self.criterion = criterion
        self.lean = lean

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = self.criterion(self.net(x), y)
        if not self.lean:
            self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch_task.sgd(self.net)


def main() -> None:
    given = task.arguments()
    off: dict[str, Any] = {"enable_checkpointing": False}
    if given.lean:
        off |= {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}

    def prepare(net: nn.Module, criterion: nn.Module, loader: Any) -> Any:
        trainer = lightning.Trainer(max_epochs=1, default_root_dir=folder, **off)
        return lambda: trainer.fit(LitModel(net, criterion, given.lean), loader)

    with tempfile.TemporaryDirectory() as folder:
        torch_task.main(prepare, given=given)


if __name__ == "__main__":
    main()
