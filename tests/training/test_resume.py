import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from classicnets import AlexNet, LeNet5, SequentialCNN
from classicnets.data.loader import TensorLoader
from classicnets.errors import (
    CheckpointMismatchError,
    ConfigError,
    RunLockedError,
    StorageError,
)
from classicnets.preparation import Preparation
from classicnets.storage.checkpoints import read_checkpoint
from classicnets.training import History, each_step, fit

# labels are drawn at random here, so the nets stay at chance
pytestmark = pytest.mark.filterwarnings("ignore:the loss stayed within 1 %")


class Brighter:
    """An augmentation by one random number a picture."""

    name, draws = "brighter", 1

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        return images + 40 * draws[:, :, None, None]


def loader(size: int = 32, count: int = 48, *, augment: bool = False, seed: int = 0, **options):
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(256, (count, 1, size, size), generator=generator, dtype=torch.uint8)
    return TensorLoader(
        images,
        torch.randint(10, (count,), generator=generator),
        classes=tuple("0123456789"),
        preparation=Preparation(size, mean=(0.5,), std=(0.25,)),
        seed=seed,
        augment=Brighter() if augment else None,
        **{"batch_size": 8, "shuffle": True, **options},
    )


class WithDropout(nn.Module):
    """A net whose forward draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = SequentialCNN()
        self.drop = nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.drop(x))


def make(name: str) -> nn.Module:
    torch.manual_seed(11)
    if name == "alexnet":
        return AlexNet(10, hidden=(16, 16), in_channels=1)
    return {"lenet5": LeNet5, "dropout": WithDropout}[name]()


SIZES = {"lenet5": 32, "dropout": 28, "alexnet": 63}


def same_history(one: History, two: History) -> bool:
    """All but the clock."""

    def rows(history):
        return [
            (r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy, r.lr)
            for r in history.epochs
        ]

    return (
        rows(one) == rows(two)
        and one.step_losses == two.step_losses
        and one.best_epoch == two.best_epoch
        and one.stopped == two.stopped
    )


def same_tensors(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def newest(folder: Path) -> Path:
    return max(folder.glob("step_*"))


class InterruptingValidation:
    """Asks for an end while the second epoch is validated, once."""

    def __init__(self, val: TensorLoader, armed: bool) -> None:
        self.val, self.armed, self.passes = val, armed, 0

    def __iter__(self):
        self.passes += 1
        for batch in self.val:
            if self.armed and self.passes == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch


def interrupt_at(step: int):
    @each_step
    def callback(event):
        if event.kind == "step" and event.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.parametrize("cut", ["end", "middle", "validation"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["lenet5", "dropout", "alexnet"])
def test_resumed_run_equals_one_that_never_stopped(tmp_path, name, optimizer, cut):
    size = SIZES[name]
    options = {
        "optimizer": optimizer,
        "schedule": "onecycle",
        "epochs": 3,
        "seed": 5,
        "progress": False,
        "device": "cpu",
    }
    augment = name != "dropout"
    val = loader(size, 20, shuffle=False)
    whole = make(name)
    expected = fit(
        whole,
        loader(size, augment=augment),
        val_loader=InterruptingValidation(val, armed=False),
        checkpoint_dir=tmp_path / "whole",
        **options,
    )
    cuts = {"end": 6, "middle": 9, "validation": None}
    broken = make(name)
    partial = fit(
        broken,
        loader(size, augment=augment),
        val_loader=InterruptingValidation(val, armed=cut == "validation"),
        checkpoint_dir=tmp_path / "cut",
        callbacks=[interrupt_at(cuts[cut])] if cuts[cut] else [],
        **options,
    )
    assert partial.interrupted
    assert len(partial.epochs) < 3
    resumed = make(name)
    with torch.no_grad():
        next(resumed.parameters()).add_(1)  # what a new process has does not matter
    found = fit(
        resumed,
        loader(size, augment=augment),
        val_loader=InterruptingValidation(val, armed=False),
        checkpoint_dir=tmp_path / "cut",
        resume=True,
        **options,
    )
    assert same_history(found, expected)
    assert same_tensors(resumed.state_dict(), whole.state_dict())
    one = read_checkpoint(newest(tmp_path / "whole"))
    two = read_checkpoint(newest(tmp_path / "cut"))
    assert same_tensors(one.tensors, two.tensors)


def test_kept_checkpoints_are_two_and_the_best(tmp_path):
    history = fit(
        make("lenet5"),
        loader(),
        val_loader=loader(count=20, shuffle=False),
        epochs=6,
        lr=0.01,
        progress=False,
        checkpoint_dir=tmp_path,
    )
    steps = sorted(read_checkpoint(path).step for path in tmp_path.glob("step_*"))
    assert set(steps) == {30, 36, 6 * history.best_epoch}


def test_checkpoints_inside_an_epoch_come_as_often_as_asked(tmp_path):
    seen = set()

    @each_step
    def look(event):
        seen.update(int(path.name[5:13]) for path in tmp_path.glob("step_*"))

    fit(
        make("lenet5"),
        loader(),
        epochs=2,
        progress=False,
        callbacks=[look],
        checkpoint_dir=tmp_path,
        checkpoint_every=4,
    )
    assert seen == {4, 6, 10, 12}


def test_resume_begins_where_there_is_no_checkpoint(tmp_path):
    one, two = make("lenet5"), make("lenet5")
    fit(one, loader(), epochs=1, progress=False, seed=1)
    fit(two, loader(), epochs=1, progress=False, seed=1, checkpoint_dir=tmp_path, resume=True)
    assert same_tensors(one.state_dict(), two.state_dict())


def test_more_epochs_go_on_from_the_end(tmp_path):
    one, two = make("lenet5"), make("lenet5")
    fit(one, loader(), epochs=4, progress=False, seed=1)
    options = {"progress": False, "seed": 1, "checkpoint_dir": tmp_path}
    fit(two, loader(), epochs=2, **options)
    history = fit(two, loader(), epochs=4, resume=True, **options)
    assert same_tensors(one.state_dict(), two.state_dict())
    assert len(history.epochs) == 4


def test_finished_run_is_returned_as_it_ended(tmp_path):
    options = {"progress": False, "seed": 1, "checkpoint_dir": tmp_path, "epochs": 2}
    model = make("lenet5")
    history = fit(model, loader(), **options)
    again = make("lenet5")
    assert same_history(fit(again, loader(), resume=True, **options), history)
    assert same_tensors(model.state_dict(), again.state_dict())


def test_broken_newest_checkpoint_is_passed_over_by_name(tmp_path):
    options = {"progress": False, "seed": 1, "checkpoint_dir": tmp_path}
    fit(make("lenet5"), loader(), epochs=2, **options)
    file = newest(tmp_path) / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    model = make("lenet5")
    with pytest.warns(UserWarning, match="passed over as broken: step_00000012") as caught:
        fit(model, loader(), epochs=3, resume=True, **options)
    assert caught[0].filename == __file__
    whole = make("lenet5")
    fit(whole, loader(), epochs=3, progress=False, seed=1)
    assert same_tensors(model.state_dict(), whole.state_dict())


CHANGES = {
    "batch_size": ({"loader": {"batch_size": 12}}, "batch_size: 8 there, 12 here"),
    "data seed": ({"loader": {"seed": 3}}, "data: .*'seed': 0.* there, .*'seed': 3.* here"),
    "augment": ({"loader": {"augment": True}}, "'augment': None.* there"),
    "count": ({"loader": {"count": 56}}, "batches: 6 there, 7 here"),
    "seed": ({"seed": 2}, "seed: 1 there, 2 here"),
    "lr": ({"lr": 0.5}, "'lr': 0.001.* there, .*'lr': 0.5.* here"),
    "optimizer": ({"optimizer": "sgd"}, "optimizer: 'Adam' there, 'SGD' here"),
    "schedule": ({"schedule": "cosine"}, "schedule: None there, 'cosine' here"),
    "precision": ({"precision": "bf16"}, "precision: 'float32' there, 'bf16' here"),
    "loss": ({"loss": "mse"}, "loss: None there, 'mse' here"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_run_is_refused_with_old_and_new_side_by_side(tmp_path, change):
    options = {"progress": False, "seed": 1, "checkpoint_dir": tmp_path, "epochs": 1}
    fit(make("lenet5"), loader(), **options)
    changed, message = CHANGES[change]
    changed = dict(changed)
    data = loader(**changed.pop("loader", {}))
    with pytest.raises(CheckpointMismatchError, match=message):
        fit(make("lenet5"), data, resume=True, **{**options, **changed})


def test_changed_model_or_classes_are_refused(tmp_path):
    options = {"progress": False, "seed": 1, "checkpoint_dir": tmp_path, "epochs": 1}
    fit(make("lenet5"), loader(), **options)
    with pytest.raises(CheckpointMismatchError, match="'activation': 'tanh'.* there"):
        fit(LeNet5(activation="relu"), loader(), resume=True, **options)
    with pytest.raises(CheckpointMismatchError, match="'num_classes': 10.* there, .*12"):
        fit(LeNet5(12), loader(), resume=True, **options)
    with pytest.raises(CheckpointMismatchError, match="net: 'LeNet5' there, 'SequentialCNN' here"):
        fit(SequentialCNN(), loader(28), resume=True, **options)


def test_folder_of_an_earlier_run_is_not_mixed_with_a_new_one(tmp_path):
    options = {"progress": False, "checkpoint_dir": tmp_path, "epochs": 1}
    fit(make("lenet5"), loader(), **options)
    with pytest.raises(ConfigError, match="pass resume=True to go on with it, or name another"):
        fit(make("lenet5"), loader(), **options)


def test_two_runs_into_one_folder_are_refused(tmp_path):
    def start_another(event):
        fit(make("lenet5"), loader(), epochs=1, progress=False, checkpoint_dir=tmp_path)

    with pytest.raises(RunLockedError, match="is in use by process"):
        fit(
            make("lenet5"),
            loader(),
            epochs=1,
            progress=False,
            checkpoint_dir=tmp_path,
            callbacks=[start_another],
        )


def test_file_in_the_folders_place_is_named_before_the_first_batch(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    with pytest.raises(StorageError, match="file"):
        fit(
            make("lenet5"),
            loader(),
            progress=False,
            checkpoint_dir=tmp_path / "file",
            callbacks=[each_step(lambda event: steps.append(event))],
        )
    assert steps == []


class Drawing(torch.utils.data.Dataset):
    """Pictures that are changed by Python's and numpy's random numbers, as users do."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        noise = torch.rand(1, 4, 4) + random.random() + float(np.random.rand())
        return self.images[index] + 0.1 * noise, self.labels[index]


def foreign(workers: int) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 1, 4, 4, generator=generator)
    labels = torch.randint(4, (40,), generator=generator)
    dataset = Drawing(images, labels) if workers == 0 else TensorDataset(images, labels)
    return DataLoader(dataset, batch_size=8, shuffle=True, num_workers=workers, generator=generator)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [4, 5, 7, "end"])
def test_foreign_loader_with_a_generator_resumes_to_the_same_bits(tmp_path, workers, cut):
    def net():
        torch.manual_seed(2)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 4))

    options = {"epochs": 3, "seed": 5, "progress": False, "lr": 0.01}
    random.seed(1)
    np.random.seed(1)
    whole = net()
    expected = fit(whole, foreign(workers), **options)
    random.seed(1)
    np.random.seed(1)
    fit(
        net(),
        foreign(workers),
        checkpoint_dir=tmp_path,
        callbacks=[interrupt_at(cut)] if cut != "end" else [],
        **{**options, "epochs": 2 if cut == "end" else 3},
    )
    random.seed(99)
    resumed = net()
    found = fit(resumed, foreign(workers), checkpoint_dir=tmp_path, resume=True, **options)
    assert same_history(found, expected)
    assert same_tensors(resumed.state_dict(), whole.state_dict())
