"""What happens when the worker processes of a loader fail."""

import os
import signal
import time
from multiprocessing import active_children

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from classicnets.errors import WorkerDiedError
from classicnets.training import fit, workers


class Failing(Dataset):
    """64 pictures, one of which does something to the worker that reads it."""

    def __init__(self, fail=lambda: None):
        self.fail = fail

    def __len__(self):
        return 64

    def __getitem__(self, index):
        if index == 40:
            self.fail()
        generator = torch.Generator().manual_seed(index)
        return torch.rand(1, 4, 4, generator=generator), index % 4


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(60)


def complain():
    raise LookupError("picture 40 is missing")


@pytest.mark.parametrize("count", [1, 2])
def test_killed_worker_is_named_and_the_run_goes_on_from_where_it_was(tmp_path, count):
    options = {"epochs": 1, "seed": 1, "progress": False}

    def loader(fail=lambda: None):
        generator = torch.Generator().manual_seed(3)
        return DataLoader(Failing(fail), 8, num_workers=count, generator=generator)

    with pytest.raises(WorkerDiedError, match=r"worker process \d+ died \(exit code -9\)"):
        fit(net(), loader(kill), checkpoint_dir=tmp_path, **options)
    assert active_children() == []
    resumed, whole = net(), net()
    fit(resumed, loader(), checkpoint_dir=tmp_path, resume=True, **options)
    fit(whole, loader(), **options)
    for name, value in whole.state_dict().items():
        assert value.equal(resumed.state_dict()[name])


def test_hung_worker_is_found_after_the_wait(monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE_SECONDS", 1)
    began = time.monotonic()
    loader = DataLoader(Failing(hang), 8, num_workers=1)
    with pytest.raises(WorkerDiedError, match="gave no batch in time.*num_workers=0"):
        fit(net(), loader, epochs=1, progress=False)
    assert time.monotonic() - began < 30
    assert loader.timeout == 0
    assert active_children() == []


def test_error_inside_a_worker_keeps_its_class_and_words():
    with pytest.raises(LookupError, match="picture 40 is missing"):
        fit(net(), DataLoader(Failing(complain), 8, num_workers=1), epochs=1, progress=False)
    assert active_children() == []


def test_error_inside_the_loader_saves_the_run(tmp_path):
    with pytest.raises(LookupError):
        fit(net(), DataLoader(Failing(complain), 8), progress=False, checkpoint_dir=tmp_path)
    assert [path.name for path in tmp_path.glob("step_*")] == ["step_00000005"]


def test_interrupted_run_leaves_no_worker_behind():
    def stop(event):
        return True

    loader = DataLoader(Failing(), 8, num_workers=2)
    fit(net(), loader, epochs=5, progress=False, callbacks=[stop])
    assert active_children() == []
