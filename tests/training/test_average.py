import pytest
import torch
from torch import Tensor, nn

from classicnets import evaluate, fit
from classicnets.errors import ConfigError

DATA = [(torch.randn(16, 4, generator=torch.Generator().manual_seed(3)), torch.arange(16) % 3)]


def a_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def test_the_model_ends_with_the_moving_average_of_its_weights() -> None:
    seen: list[Tensor] = []

    def remember(event: object) -> None:
        seen.append(event.model.weight.detach().clone())  # type: ignore[attr-defined]

    model = a_net()
    fit(model, DATA, epochs=5, average=0.8, callbacks=[remember], device="cpu", progress=False)
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(model.weight.detach(), expected)


def test_the_average_is_what_is_validated_and_kept() -> None:
    model = a_net()
    history = fit(model, DATA, epochs=5, val_loader=DATA, average=0.8, device="cpu", progress=False)
    best = history.epochs[history.best_epoch - 1]  # type: ignore[operator]
    assert evaluate(model, DATA).loss == pytest.approx(best.val_loss)


@pytest.mark.parametrize("average", [0, 1, -0.5, 2.0])
def test_a_decay_that_is_none_is_refused(average: float) -> None:
    with pytest.raises(ConfigError, match=r"average is .*; the decay must be a number between 0"):
        fit(a_net(), DATA, average=average, progress=False)
