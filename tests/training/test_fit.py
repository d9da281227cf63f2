import copy
import math
import os
import signal
import threading
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import classicnets
from classicnets.errors import (
    ConfigError,
    DataError,
    DeviceError,
    DivergedError,
    OutOfMemoryError,
    WorkerDiedError,
)
from classicnets.storage.checkpoints import CheckpointStore
from classicnets.training import each_step, evaluate, fit
from classicnets.training.loop import Best
from classicnets.training.step import Step


def small_net(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Dropout(dropout), nn.Linear(24, 4)
    )


def pictures(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four classes, told by which quarter of the picture is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    images = torch.rand(count, 1, 4, 4, generator=generator)
    for image, label in zip(images, labels, strict=True):
        image[0, label] += 1
    return images, labels


def batches(count: int, size: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    images, labels = pictures(count, seed)
    return list(zip(images.split(size), labels.split(size), strict=True))


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def quiet(model, loader, **options):
    return fit(model, loader, progress=False, **options)


def test_overfits_one_batch():
    model, loader = small_net(), batches(32, 32)
    history = quiet(model, loader, epochs=200, lr=0.01)
    assert history.epochs[-1].train_accuracy == 1.0
    assert history.epochs[-1].train_loss < 0.05


def test_same_seed_gives_same_bits_and_another_seed_others():
    nets = [small_net(dropout=0.5) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        quiet(net, batches(64, 16), epochs=3, lr=0.01, seed=seed)
    assert weights(nets[0]).equal(weights(nets[1]))
    assert not weights(nets[0]).equal(weights(nets[2]))


def test_seed_leaves_the_random_numbers_of_the_process_as_they_were():
    before = torch.get_rng_state()
    quiet(small_net(dropout=0.5), batches(32, 16), epochs=1, seed=5)
    assert torch.get_rng_state().equal(before)


def test_short_last_batch_does_not_bias_a_mean():
    model, loader = small_net(), batches(37, 16)
    history = quiet(model, loader, epochs=1, optimizer="sgd", lr=1e-30)
    with torch.no_grad():
        images, labels = pictures(37)
        outputs = model(images)
        loss = nn.functional.cross_entropy(outputs, labels)
        right = (outputs.argmax(1) == labels).float().mean()
    assert history.epochs[0].train_loss == pytest.approx(loss.item(), rel=1e-6)
    assert history.epochs[0].train_accuracy == pytest.approx(right.item())


def test_history_has_a_record_per_epoch_and_a_loss_per_step():
    history = quiet(small_net(), batches(40, 16), epochs=4)
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4]
    assert len(history.step_losses) == 12
    assert all(math.isfinite(value) for value in history.step_losses)
    assert history.epochs[0].images_per_second == pytest.approx(40 / history.epochs[0].seconds)


def test_weights_of_the_best_epoch_are_put_back():
    model, kept = small_net(), []
    history = quiet(
        model,
        batches(64, 16),
        val_loader=batches(50, 25, seed=1),
        epochs=12,
        lr=0.05,
        callbacks=[lambda event: kept.append(weights(event.model))],
    )
    key = [(record.val_accuracy, -record.val_loss) for record in history.epochs]
    best = key.index(max(key))
    assert history.best_epoch == best + 1
    assert weights(model).equal(kept[best])


def test_validation_equals_evaluate_and_does_not_change_training():
    with_val, without = small_net(dropout=0.3), small_net(dropout=0.3)
    seen = []
    val = DataLoader(TensorDataset(*pictures(50, 1)), batch_size=20, shuffle=True)
    torch.manual_seed(0)
    history = quiet(
        with_val,
        batches(64, 16),
        val_loader=val,
        epochs=3,
        callbacks=[lambda event: seen.append(copy.deepcopy(event.model))],
    )
    torch.manual_seed(0)
    quiet(without, batches(64, 16), epochs=3)
    assert weights(seen[-1]).equal(weights(without))
    found = evaluate(seen[-1], batches(50, 25, seed=1))
    assert history.epochs[-1].val_accuracy == found.accuracy
    assert history.epochs[-1].val_loss == pytest.approx(found.loss, rel=1e-6)


def test_model_gets_its_mode_back():
    model = small_net(dropout=0.5).train()
    model[1].eval()
    quiet(model, batches(32, 16), epochs=1, val_loader=batches(16, 16))
    assert model.training
    assert not model[1].training


def test_nan_in_an_image_stops_before_the_weights_are_spoiled():
    loader = batches(64, 16)
    loader[2][0][3, 0, 1, 1] = math.nan
    twin, model = small_net(), small_net()
    with pytest.raises(
        DivergedError, match=r"loss is nan at step 3 \(epoch 1\).*rate 0.01"
    ) as info:
        quiet(model, loader, epochs=3, optimizer="sgd", lr=0.01)
    quiet(twin, loader[:2], epochs=1, optimizer="sgd", lr=0.01)
    assert weights(model).equal(weights(twin))
    assert len(info.value.history.step_losses) == 2
    assert f"last finite loss {info.value.history.step_losses[-1]:.6g}" in str(info.value)


def test_nan_that_comes_from_the_gradient_is_rolled_back():
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels) + (0 * outputs).sum().sqrt()

    model = small_net()
    before = weights(model)
    with pytest.raises(DivergedError, match="put back to those after step 0"):
        quiet(model, batches(64, 16), epochs=1, loss=loss)
    assert weights(model).equal(before)


def test_nan_cannot_stay_in_a_running_mean():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 4))
    loader = batches(48, 16)
    loader[1][0][0] = math.nan
    with pytest.raises(DivergedError, match="loss is nan at step 2"):
        quiet(model, loader, epochs=1)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_last_update_of_an_epoch_that_spoils_the_weights_is_found_before_validation():
    def spoil(event):
        with torch.no_grad():
            event.model[1].weight.fill_(math.inf)

    with pytest.raises(DivergedError, match="weight is not finite"):
        quiet(
            small_net(),
            batches(16, 16),
            val_loader=batches(16, 16),
            epochs=1,
            callbacks=[each_step(spoil)],
        )


def test_loss_at_chance_for_an_epoch_warns_once_with_the_cause():
    model = small_net()
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    with pytest.warns(UserWarning, match=r"within 1 % of ln\(4\).*learning rate") as caught:
        quiet(model, batches(64, 16), epochs=3, optimizer="sgd", lr=1e-9)
    assert [warning.filename for warning in caught] == [__file__]


def test_learning_net_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet(small_net(), batches(64, 16), epochs=5, lr=0.01)


def test_accumulated_batches_equal_one_large_batch():
    small, large = small_net(), small_net()
    quiet(small, batches(64, 16), epochs=3, optimizer="sgd", lr=0.1, accumulate=4)
    quiet(large, batches(64, 64), epochs=3, optimizer="sgd", lr=0.1)
    torch.testing.assert_close(weights(small), weights(large), rtol=1e-5, atol=1e-6)


def test_a_last_smaller_group_is_averaged_over_its_own_batches():
    small, large = small_net(), small_net()
    quiet(small, batches(48, 16), epochs=1, optimizer="sgd", lr=0.1, accumulate=2)
    images, labels = pictures(48)
    quiet(
        large,
        [(images[:32], labels[:32]), (images[32:], labels[32:])],
        epochs=1,
        optimizer="sgd",
        lr=0.1,
    )
    torch.testing.assert_close(weights(small), weights(large), rtol=1e-5, atol=1e-6)


def test_clip_norm_bounds_the_update():
    model = small_net()
    before = weights(model)
    plain = torch.optim.SGD(model.parameters(), lr=1.0)
    quiet(model, batches(16, 16), epochs=1, optimizer=plain, clip_norm=1e-3)
    assert (weights(model) - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_the_best_epoch_is_chosen_by_what_is_monitored():
    found = {}
    for monitor in ("accuracy", "loss"):
        model, val = small_net(), batches(64, 64)
        history = quiet(
            model,
            [(images, labels.roll(1)) for images, labels in val],  # what is learnt is half wrong
            val_loader=val,
            epochs=30,
            lr=0.1,
            monitor=monitor,
        )
        ranks = [(record.val_accuracy, -record.val_loss) for record in history.epochs]
        if monitor == "loss":
            ranks = [rank[::-1] for rank in ranks]
        assert history.best_epoch == 1 + ranks.index(max(ranks))
        assert evaluate(model, val).loss == history.epochs[history.best_epoch - 1].val_loss
        found[monitor] = history.best_epoch
    assert found["accuracy"] != found["loss"]


@pytest.mark.parametrize(
    ("monitor", "accuracy", "loss", "beaten"),
    [
        ("accuracy", 0.6, 9.0, True),
        ("accuracy", 0.5, 0.9, True),
        ("accuracy", 0.5, 1.0, False),
        ("accuracy", 0.4, 0.1, False),
        ("accuracy", None, 0.1, False),
        ("loss", 0.4, 0.9, True),
        ("loss", 0.6, 1.0, True),
        ("loss", 0.5, 1.0, False),
        ("loss", 0.6, 1.1, False),
        ("loss", 0.6, math.nan, False),
    ],
)
def test_an_epoch_is_better_by_what_is_monitored_and_then_by_the_other(
    monitor, accuracy, loss, beaten
):
    assert Best(1, 0.5, 1.0, {}).beaten_by(accuracy, loss, monitor) == beaten


def test_early_stopping_waits_its_epochs():
    model = small_net()
    history = quiet(
        model,
        batches(16, 16),
        val_loader=batches(16, 16),
        optimizer="sgd",
        lr=1e-30,
        epochs=50,
        early_stopping=3,
    )
    assert len(history.epochs) == 4
    assert history.stopped == "early stopping"
    assert history.best_epoch == 1


def test_a_callback_that_returns_true_ends_the_run():
    events = []

    def stop(event):
        events.append(event)
        return event.epoch == 2

    history = quiet(small_net(), batches(32, 16), epochs=9, callbacks=[stop])
    assert [(event.kind, event.epoch, event.step) for event in events] == [
        ("epoch", 1, 2),
        ("epoch", 2, 4),
    ]
    assert history.stopped == "callback"
    assert not history.interrupted


def test_a_marked_callback_is_told_of_each_step_with_its_loss():
    losses, epochs = [], []

    @each_step
    def watch(event):
        (losses if event.kind == "step" else epochs).append(event.loss)

    history = quiet(small_net(), batches(48, 16), epochs=2, callbacks=[watch])
    assert losses == history.step_losses
    assert epochs == [record.train_loss for record in history.epochs]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_finishes_the_batch_and_returns_the_history(number):
    former = signal.getsignal(number)

    @each_step
    def interrupt(event):
        if event.kind == "step" and event.step == 3:
            os.kill(os.getpid(), number)

    history = quiet(small_net(), batches(64, 16), epochs=5, callbacks=[interrupt])
    assert history.interrupted
    assert history.stopped == signal.Signals(number).name
    assert 3 <= len(history.step_losses) <= 4
    assert signal.getsignal(number) is former


def test_second_ctrl_c_stops_at_once():
    @each_step
    def interrupt(event):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        quiet(small_net(), batches(64, 16), epochs=5, callbacks=[interrupt])


def test_signal_during_validation_ends_the_run_without_a_record():
    class Interrupting:
        def __iter__(self):
            os.kill(os.getpid(), signal.SIGINT)
            yield from batches(64, 16)

    history = quiet(small_net(), batches(64, 16), epochs=2, val_loader=Interrupting())
    assert history.interrupted
    assert history.epochs == []
    assert len(history.step_losses) == 4


def test_trains_in_a_thread_that_is_not_the_main_one():
    results = []
    thread = threading.Thread(target=lambda: results.append(quiet(small_net(), batches(32, 16))))
    thread.start()
    thread.join()
    assert len(results[0].epochs) == 10


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_learn(precision):
    model = small_net()
    history = quiet(model, batches(64, 64), epochs=150, lr=0.01, precision=precision)
    assert history.epochs[-1].train_accuracy > 0.95
    assert all(parameter.dtype is torch.float32 for parameter in model.parameters())


def test_fp16_gradients_that_never_become_finite_stop_the_run():
    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * math.inf

    model = small_net()
    before = weights(model)
    with pytest.raises(DivergedError, match="not finite in 20 updates in a row"):
        quiet(
            model,
            batches(64, 1),
            epochs=1,
            precision="fp16",
            loss=lambda outputs, labels: nn.functional.cross_entropy(
                Overflow.apply(outputs), labels
            ),
        )
    assert weights(model).equal(before)


def test_a_resumed_fp16_run_counts_its_own_skipped_updates_alone():
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    step = Step(
        model,
        nn.functional.cross_entropy,
        optimizer,
        device=torch.device("cpu"),
        precision="fp16",
    )
    saved = step.state()
    saved["scaler"]["scale"] = 256.0  # lower than a new scaler's, by many skips
    step.load_state({**saved, "skipped": Step.MOST_SKIPS - 1})
    step(*batches(8, 8)[0])
    assert step.state()["scaler"]["scale"] == 256.0
    assert step.state()["skipped"] == 0


def test_optimizer_may_be_a_callable_or_an_object():
    one, two = small_net(), small_net()
    quiet(one, batches(32, 16), optimizer=lambda p: torch.optim.SGD(p, lr=0.1), epochs=2)
    quiet(two, batches(32, 16), optimizer=torch.optim.SGD(two.parameters(), lr=0.1), epochs=2)
    assert weights(one).equal(weights(two))


def test_targets_that_are_no_classes_have_no_accuracy():
    model = nn.Linear(3, 1)
    loader = [(torch.rand(8, 3), torch.rand(8, 1))]
    history = quiet(model, loader, epochs=2, loss=nn.functional.mse_loss)
    assert history.epochs[0].train_accuracy is None
    assert evaluate(model, loader, loss=nn.functional.mse_loss).accuracy is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be a whole number from 1 up"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be a number above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"lr": -0.1}, "lr is -0.1; the learning rate must be a number above 0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"precision": "half"}, "precision is 'half'; allowed are 'float32', 'bf16', 'fp16'"),
        ({"optimizer": "sdg"}, "optimizer is 'sdg'; allowed are 'adam'"),
        ({"optimizer": 3}, "optimizer is 3; give a name"),
        ({"optimizer": lambda p: None}, "returned None, not a torch Optimizer"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1.0), "lr": 1.0}, "has its own learning"),
        ({"loss": "hinge"}, "loss is 'hinge'; allowed are 'cross_entropy', 'mse', 'squared_error'"),
        ({"loss": 3}, "loss is 3"),
        ({"schedule": "linear"}, "schedule is 'linear'; allowed are 'onecycle', 'cosine', 'step'"),
        ({"early_stopping": 2}, "early_stopping needs a val_loader"),
        ({"monitor": "val_loss"}, "monitor is 'val_loss'; allowed are 'accuracy' and 'loss'"),
        ({"monitor": "loss"}, "monitor needs a val_loader"),
        ({"resume": True}, "need a checkpoint_dir"),
        ({"checkpoint_every": 5}, "need a checkpoint_dir"),
    ],
)
def test_options_that_cannot_work_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        quiet(small_net(), batches(16, 16), **options)


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:99", "", "CUDA", "cpu:7", None, "mps", "cuda", 3.5, "xpu"]
)
def test_device_that_does_not_exist_is_refused_with_those_that_do(device):
    existing = str(device).startswith("cuda") and torch.cuda.is_available()
    if (existing and device == "cuda") or (device == "mps" and torch.backends.mps.is_available()):
        pytest.skip(f"this machine has {device}")
    with pytest.raises(DeviceError, match="this machine has cpu"):
        quiet(small_net(), batches(16, 16), device=device)


def test_optimizer_of_another_model_is_refused():
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="holds no parameter of this Sequential"):
        quiet(small_net(), batches(16, 16), optimizer=optimizer)


def test_a_lazy_layer_must_know_its_size_first():
    net = nn.Sequential(nn.LazyConv2d(2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3))
    batch = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    with pytest.raises(ConfigError, match=r"'0.weight' of the net has no size yet.*call the net"):
        fit(net, [batch], epochs=1, progress=False, device="cpu")
    net(batch[0])
    fit(net, [batch], epochs=1, progress=False, device="cpu")


def test_model_with_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="no parameter with requires_grad"):
        quiet(small_net().requires_grad_(False), batches(16, 16))


def labelled(labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(torch.rand(4, 1, 4, 4), labels)]


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "0 batches"),
        (iter([]), "gave no batch in epoch 1"),
        (7, "loader is 7; give an iterable"),
        ([3], r"batch 0 is no pair \(images, labels\) of tensors or arrays"),
        ([{"images": 1, "labels": 2}], "batch 0 is a dict with 'images', 'labels'; give pairs"),
        ([(torch.rand(3, 1, 4, 4), torch.zeros(2).long())], "3 images and 2 labels"),
        ([(torch.rand(0, 1, 4, 4), torch.zeros(0).long())], "at least one image"),
        (labelled(torch.tensor([0, 1, 4, 0])), "label 4 at index 2.*labels are 0 to 3"),
        (labelled(torch.tensor([0, -1, 2, 0])), "label -1 at index 1"),
        (labelled(torch.tensor([0, 1, 2, -100])), "label -100 at index 3"),
        (labelled(torch.rand(4)), "labels are torch.float32 of shape"),
        (labelled(torch.rand(4, 5)), "labels are torch.float32 of shape"),
    ],
)
def test_data_that_cannot_work_are_named(loader, message):
    with pytest.raises(DataError, match=message):
        quiet(small_net(), loader, epochs=1)


def test_wrong_label_is_found_in_any_batch():
    loader = batches(64, 16)
    loader[3][1][5] = 9
    with pytest.raises(DataError, match="label 9 at index 5 of batch 3"):
        quiet(small_net(), loader, epochs=1)


def test_generator_that_is_exhausted_is_named_in_the_second_epoch():
    with pytest.raises(DataError, match="gave no batch in epoch 2; a generator can be read only"):
        quiet(small_net(), iter(batches(32, 16)), epochs=2)


def test_schedule_by_batch_needs_a_length():
    with pytest.raises(ConfigError, match=r"loader has no len\(\)"):
        quiet(small_net(), iter(batches(32, 16)), epochs=1, schedule="cosine")


def test_model_that_loses_rows_is_named():
    class Squeezing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x):
            return self.layer(x.flatten(1))[:1]

    with pytest.raises(DataError, match="gave 1 outputs for 16 labels"):
        quiet(Squeezing(), batches(16, 16), epochs=1)


def test_out_of_memory_names_batch_size_and_device_and_leaves_the_process_usable():
    class Hungry(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x):
            return self.layer(x.flatten(1)) + torch.empty(2**55).sum()

    loader = DataLoader(TensorDataset(*pictures(16)), batch_size=16)
    with pytest.raises(OutOfMemoryError, match="a batch of 16 images does not fit.*cpu"):
        quiet(Hungry(), loader, epochs=1)
    assert len(quiet(small_net(), loader, epochs=1).epochs) == 1


class Dying(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        if index == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.rand(1, 4, 4), index % 4


def test_killed_worker_is_an_error_that_names_it():
    with pytest.raises(
        WorkerDiedError,
        match=r"worker process \d+ died \(exit code -9\) after \d+ batches.*num_workers=0",
    ):
        quiet(small_net(), DataLoader(Dying(), batch_size=8, num_workers=1), epochs=1)


def test_progress_is_silent_where_nobody_looks(capsys):
    fit(small_net(), batches(16, 16), epochs=1)
    output = capsys.readouterr()
    assert output.out == output.err == ""


def test_a_signal_after_the_last_batch_is_not_swallowed():
    def interrupt(event):
        os.kill(os.getpid(), signal.SIGTERM)

    history = quiet(small_net(), batches(16, 16), epochs=1, callbacks=[interrupt])
    assert history.interrupted
    assert history.stopped == "SIGTERM"
    assert len(history.epochs) == 1


def test_a_step_callback_stops_only_between_updates():
    model = small_net()
    before = weights(model)
    stop = each_step(lambda event: event.step >= 1)
    history = quiet(model, batches(96, 16), epochs=1, accumulate=3, callbacks=[stop])
    assert len(history.step_losses) == 3
    assert not weights(model).equal(before)


def test_a_later_epoch_beats_a_validation_loss_that_is_nan():
    calls = []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        value = nn.functional.mse_loss(outputs, labels)
        if not outputs.requires_grad:
            calls.append(None)
            return value * math.nan if len(calls) == 1 else value
        return value

    loader = [(torch.rand(8, 1, 4, 4), torch.rand(8, 4))]
    history = quiet(small_net(), loader, val_loader=loader, epochs=3, loss=loss)
    assert history.best_epoch != 1


def test_weights_that_are_not_finite_before_training_are_named():
    model = small_net()
    with torch.no_grad():
        model[1].bias.fill_(math.nan)
    with pytest.raises(ConfigError, match="weight '1.bias' is NaN or infinite before the first"):
        quiet(model, batches(16, 16))


def test_an_infinite_buffer_does_not_keep_a_net_from_training():
    model = small_net()
    model.register_buffer("mask", torch.full((2,), -math.inf))
    assert len(quiet(model, batches(16, 16), epochs=1).epochs) == 1


@pytest.mark.parametrize("schedule", ["onecycle", [0.3, 0.2]])
def test_an_optimizer_used_again_begins_at_its_own_rate(schedule):
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        quiet(model, batches(64, 16), optimizer=optimizer, schedule=schedule, epochs=2)
        assert optimizer.param_groups[0]["lr"] == 0.1


def test_double_images_of_a_foreign_loader_become_the_nets_type():
    images, labels = pictures(16)
    loader = [(images.double().numpy(), labels.numpy())]
    model = small_net()
    assert len(quiet(model, loader, epochs=1).epochs) == 1
    assert evaluate(model, loader).count == 16


def test_a_compiled_model_is_saved_as_what_it_wraps(tmp_path):
    model = small_net()
    compiled = torch.compile(model, backend="eager")
    quiet(compiled, batches(16, 16), epochs=1, checkpoint_dir=tmp_path)
    quiet(model, batches(16, 16), epochs=2, checkpoint_dir=tmp_path, resume=True)


def test_a_loss_that_is_no_single_number_is_refused():
    for loss in (nn.CrossEntropyLoss(reduction="none"), lambda outputs, labels: 1.0):
        with pytest.raises(ConfigError, match="the loss must return one number"):
            quiet(small_net(), batches(16, 16), loss=loss)
    with pytest.raises(ConfigError, match="loss is <class"):
        quiet(small_net(), batches(16, 16), loss=nn.CrossEntropyLoss)


def test_validation_leaves_a_generator_it_shares_with_training_alone():
    generator = torch.Generator().manual_seed(0)
    val = DataLoader(TensorDataset(*pictures(32)), 16, shuffle=True, generator=generator)
    before = generator.get_state()
    evaluate(small_net(), val)
    assert generator.get_state().equal(before)


def test_our_own_loader_gives_a_net_of_doubles_what_it_takes():
    data = classicnets.data.digits(image_size=32, batch_size=256)
    net = classicnets.LeNet5().double()
    quiet(net, data.train, val_loader=data.val, epochs=1, device="cpu")
    assert weights(net).dtype == torch.float64
    assert evaluate(net, data.test, device="cpu").count == data.test.num_images


def test_a_call_that_fails_leaves_the_optimizers_rate_as_it_was():
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for wrong in ({"precision": "fp8"}, {"clip_norm": -1}):
        with pytest.raises(ConfigError):
            quiet(
                net, batches(8, 4), optimizer=optimizer, schedule="onecycle", device="cpu", **wrong
            )
        assert optimizer.param_groups[0]["lr"] == 0.1


def test_no_weight_that_is_not_finite_is_kept_where_a_loader_fails(tmp_path):
    def loader():
        yield from batches(4, 4)
        raise OSError("the disk is gone")

    class Failing:
        def __iter__(self):
            return loader()

    net = small_net()
    with pytest.raises((OSError, DivergedError)):
        quiet(
            net,
            Failing(),
            loss=lambda outputs, labels: (outputs * 1e20).mean(),
            optimizer=torch.optim.SGD(net.parameters(), lr=1e30),
            checkpoint_dir=tmp_path,
            device="cpu",
        )
    found, _ = CheckpointStore(tmp_path).newest()
    kept = {} if found is None else found.tensors
    assert all(value.isfinite().all() for value in kept.values() if value.is_floating_point())
