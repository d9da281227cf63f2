"""Code that people bring from tutorials and notebooks does here what it does in a plain loop."""

import copy
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from classicnets import evaluate, fit, predict
from classicnets.errors import ConfigError

Batches = list[tuple[Tensor, Tensor]]


def batches(classes: int = 3, count: int = 4) -> Batches:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(8) % classes
    return [(torch.randn(8, 1, 10, 10, generator=generator), labels) for _ in range(count)]


def net(outputs: int = 3) -> nn.Sequential:
    """One with max pooling, whose weights `fit` puts into another order meanwhile."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, outputs),
    )  # fmt: skip


def fitted(model: nn.Module, loader: Iterable[Any], **options: Any) -> Any:
    options = {"epochs": 1, "device": "cpu", "progress": False, **options}
    return fit(model, loader, **options)


def by_hand(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int = 1,
    at_end: Callable[[int], object] = lambda epoch: None,
) -> None:
    for epoch in range(1, epochs + 1):
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        at_end(epoch)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_an_optimizer_kept_from_a_callback_goes_on_exactly() -> None:
    kept: list[Any] = []
    model, plain = net(), net()
    fitted(model, batches(), callbacks=[lambda event: kept.append(event.optimizer)])
    optimizer = torch.optim.Adam(plain.parameters(), fused=True)
    by_hand(plain, optimizer)
    assert all(
        value.is_contiguous() for state in kept[0].state.values() for value in state.values()
    )
    fitted(model, batches(), optimizer=kept[0])
    by_hand(plain, optimizer)
    assert_same(model, plain)


def test_a_callback_sees_weights_and_state_in_the_usual_order() -> None:
    def look(event: Any) -> None:
        torch.nn.utils.parameters_to_vector(event.model.parameters())  # by `view`
        for state in event.optimizer.state_dict()["state"].values():
            assert all(value.is_contiguous() for value in state.values())
        seen.append(event.epoch)

    seen: list[int] = []
    fitted(net(), batches(), epochs=2, callbacks=[look], average=0.9)
    assert seen == [1, 2]


def test_a_loss_may_view_the_weights() -> None:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        decay = sum(p.view(-1).square().sum() for p in model.parameters())
        return F.cross_entropy(outputs, labels) + 1e-4 * decay

    model = net()
    assert len(fitted(model, batches(), loss=loss).step_losses) == 4


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1), *net())
    model[1].weight.data = model[0].weight.data
    fitted(model, batches(), optimizer="sgd", lr=0.1)
    assert model[0].weight.data_ptr() == model[1].weight.data_ptr()


class HandMadeNorm(nn.Module):
    """Batch normalisation whose state the forward replaces, in a net that needs a retry."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.count = net()[:4], torch.zeros(1), 0
        self.register_buffer("kept", torch.zeros(1))
        self.head = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.mean = 0.9 * self.mean + x.mean()
        self.kept = 0.9 * self.kept + x.mean()
        result: Tensor = self.head(self.body(x).view(-1, 36))
        return result


def test_a_first_step_that_must_be_made_again_counts_once() -> None:
    model, plain = HandMadeNorm(), HandMadeNorm()
    plain.load_state_dict(model.state_dict())
    fitted(model, batches(), optimizer="sgd")
    for images, _ in batches():
        plain(images)
    assert model.count == plain.count == 4
    torch.testing.assert_close((model.mean, model.kept), (plain.mean, plain.kept))


def test_one_output_and_whole_numbers_as_targets() -> None:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1), labels.float())

    model = net(1)
    history = fitted(model, batches(2), loss=loss, val_loader=batches(2))
    assert history.epochs[-1].train_accuracy is None  # of one score the largest says nothing
    assert evaluate(model, batches(2), loss=loss).accuracy is None
    with pytest.raises(ConfigError, match=r"the model has one output.*torch.sigmoid"):
        predict(model, batches()[0][0])


def test_labels_that_a_loss_ignores_are_no_fault() -> None:
    images, labels = batches()[0]
    labels = labels.clone()
    labels[0] = -1
    fitted(net(), [(images, labels)], loss=nn.CrossEntropyLoss(ignore_index=-1))


def test_a_group_that_a_callback_adds_is_trained_as_by_hand() -> None:
    def prepared() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], None]]:
        model = net()
        model[:5].requires_grad_(False)
        optimizer = torch.optim.SGD(model[5].parameters(), 0.1)

        def unfreeze(epoch: int) -> None:
            if epoch == 1:
                model[:5].requires_grad_(True)
                optimizer.add_param_group({"params": list(model[:5].parameters())})

        return model, optimizer, unfreeze

    model, optimizer, unfreeze = prepared()
    fitted(model, batches(), epochs=3, optimizer=optimizer,
           callbacks=[lambda event: unfreeze(event.epoch)])  # fmt: skip
    plain, theirs, at_end = prepared()
    by_hand(plain, theirs, 3, at_end)
    assert_same(model, plain)


def test_what_a_callback_unfreezes_is_trained() -> None:
    model = net()
    model[0].requires_grad_(False)
    plain = copy.deepcopy(model)
    fitted(model, batches(), epochs=3, callbacks=[lambda event: event.model.requires_grad_(True)])
    optimizer = torch.optim.Adam(plain.parameters())
    by_hand(plain, optimizer, 3, lambda epoch: plain.requires_grad_(True))
    assert_same(model, plain)


def test_a_net_that_has_answered_can_be_trained() -> None:
    class Caches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.mask = nn.LazyLinear(3), None

        def forward(self, x: Tensor) -> Tensor:
            if self.mask is None:
                self.mask = torch.ones_like(x)
            result: Tensor = self.layer((x * self.mask).flatten(1))
            return result

    model = Caches()
    predict(model, batches()[0][0])
    evaluate(model, batches())
    fitted(model, batches())


def test_batches_of_classes_and_of_mixtures_in_turn() -> None:
    images, labels = batches()[0]
    mixed = [(images, labels), (images, F.one_hot(labels, 3).float()), (images, labels)]
    record = fitted(net(), mixed).epochs[-1]
    assert record.train_accuracy is None
    assert record.train_loss > 0


def test_a_loader_may_fill_its_memory_again() -> None:
    class Buffered:
        def __iter__(self) -> Any:
            images, labels = torch.zeros(4, 1, 10, 10), torch.zeros(4, dtype=torch.int64)
            for number in range(3):
                labels.fill_(number)
                yield images, labels

    found = evaluate(net(), Buffered())
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_plateau_of_the_highest_looks_at_the_accuracy() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0)
    seen: list[float] = []
    real = plateau.step
    plateau.step = lambda metrics, epoch=None: (seen.append(metrics), real(metrics))  # type: ignore
    history = fitted(
        model, batches(), epochs=2, optimizer=optimizer, schedule=plateau, val_loader=batches()
    )
    assert seen == [record.val_accuracy for record in history.epochs]


@pytest.mark.parametrize(("answer", "epochs"), [(1, 3), (np.True_, 1), (True, 1), (None, 3)])
def test_a_callback_ends_the_run_by_true_alone(answer: Any, epochs: int) -> None:
    history = fitted(net(), batches(), epochs=3, callbacks=[lambda event: answer])
    assert len(history.epochs) == epochs


class Slow(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        time.sleep(0.5)
        return torch.zeros(1, 10, 10), index


def test_workers_that_stay_are_as_patient_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classicnets.training.workers._LOOK_SECONDS", 0.2)
    loader = DataLoader(Slow(), 2, num_workers=1, persistent_workers=True)
    fitted(net(), loader)
    assert len([len(labels) for _, labels in loader]) == 1  # takes a second
    del loader
