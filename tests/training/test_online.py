"""An update after each picture, as in 1989 and 1998."""

import pytest
import torch
from torch import nn

from classicnets import LeNet1989, data, fit
from classicnets.errors import ConfigError, DivergedError
from classicnets.training.fit import _check_online, _check_optimizer
from classicnets.training.levenberg_marquardt import DiagonalLM
from classicnets.training.losses import squared_error
from classicnets.training.ranks import Ranks

SETTINGS = {"optimizer": "diagonal_lm", "loss": "squared_error", "online": True, "progress": False}


def digits(**options):
    options = {"batch_size": 100, "image_size": 16, "train_size": 250, "repeat": 1, **options}
    return data.digits(normalize="signed", **options)


def new_net(seed=0):
    torch.manual_seed(seed)
    return LeNet1989()


def train(net, **settings):
    return fit(net, digits().train, **{"epochs": 2, **SETTINGS, **settings})


def test_learns_from_each_picture_as_batches_of_one_do():
    """The same pictures one by one through fit, with the curvatures of the first batch."""
    net, twin = new_net(), new_net()
    train(net, epochs=1)
    batches = list(digits().train)
    optimizer = DiagonalLM(twin.parameters())
    optimizer.estimate(twin, squared_error, *batches[0])
    for images, labels in batches:
        for image, label in zip(images.split(1), labels.split(1), strict=True):
            twin.zero_grad()
            squared_error(twin(image), label).backward()
            optimizer.step()
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        # the rounding of 250 updates, which themselves move weights by tenths
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=5e-4)


def test_learns_more_from_an_epoch_than_batches_do():
    online = train(new_net(), epochs=2)
    batched = train(new_net(), epochs=2, online=False)
    assert online.epochs[-1].train_accuracy > 0.5 > batched.epochs[-1].train_accuracy


def test_resumed_equals_uninterrupted(tmp_path):
    whole, parts = new_net(), new_net()
    rates = [5e-4, 2e-4, 1e-4]
    history = train(whole, epochs=3, schedule=rates)

    def stop(event):
        return event.epoch == 2

    for callbacks in ([stop], []):
        resumed = train(
            parts if callbacks else new_net(1),
            epochs=3,
            schedule=rates,
            callbacks=callbacks,
            checkpoint_dir=tmp_path,
            resume=not callbacks,
        )
    assert resumed.step_losses == history.step_losses
    assert [record.lr for record in resumed.epochs] == rates


def test_an_epoch_that_diverges_puts_the_weights_back():
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(DivergedError, match="the loss is .*put back to those after step 0"):
        train(net, optimizer="sgd", lr=1e20)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    "setting",
    [{"accumulate": 2}, {"clip_norm": 1.0}, {"average": 0.9}, {"precision": "bf16"}],
    ids=lambda setting: next(iter(setting)),
)
def test_what_does_not_go_with_it_is_named(setting):
    with pytest.raises(ConfigError, match=r"online=True makes .*; leave out precision, clip_norm"):
        train(new_net(), **setting)


def test_another_device_is_refused():
    with pytest.raises(
        ConfigError, match="device is 'meta'.*online=True trains on 'cpu' in 1 process"
    ):
        train(new_net(), device="meta")


def test_several_processes_are_refused():
    ranks = Ranks()
    ranks.alone, ranks.world_size = False, 2
    with pytest.raises(ConfigError, match="processes: 2; online=True trains on 'cpu' in 1 process"):
        _check_online(torch.device("cpu"), ranks)
    with pytest.raises(
        ConfigError, match="processes: 2; DiagonalLM estimates .*leave out torchrun"
    ):
        _check_optimizer(DiagonalLM(new_net().parameters()), ranks)


def test_a_net_that_it_cannot_walk_through_is_named():
    net = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(256, 10))
    with pytest.raises(ConfigError, match=r"layer Dropout\(.*leave out online=True"):
        train(net, optimizer="sgd")


def test_labels_outside_the_classes_are_found():
    batch = torch.rand(3, 1, 16, 16), torch.tensor([0, 10, 1])
    with pytest.raises((ConfigError, ValueError), match="label 10 at index 1"):
        fit(new_net(), [batch], epochs=1, **SETTINGS)
