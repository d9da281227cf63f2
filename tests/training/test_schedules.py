import pytest
import torch

from classicnets.errors import ConfigError
from classicnets.training import each_step, fit
from classicnets.training.schedules import cosine, one_cycle, thirds


def rates_of(schedule, epochs=4, batches=5, **options):
    parameter = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(parameter.parameters(), lr=0.5)
    rates = []

    @each_step
    def watch(event):
        if event.kind == "step":
            rates.append(event.optimizer.param_groups[0]["lr"])

    fit(
        parameter,
        [(torch.rand(3, 2), torch.tensor([0, 1, 0]))] * batches,
        epochs=epochs,
        optimizer=optimizer,
        schedule=schedule(optimizer) if schedule and not isinstance(schedule, str) else schedule,
        callbacks=[watch],
        progress=False,
        **options,
    )
    return rates


def test_one_cycle_draws_the_curve_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, cycle_momentum=False
    )
    # torch's rise ends at step 0.3 * 101 - 1 and its fall at step 100
    theirs = []
    for _ in range(101):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        if len(theirs) < 101:
            scheduler.step()
    ours = [one_cycle(step / 100) for step in range(101)]
    assert ours[0] == pytest.approx(theirs[0])
    assert ours[-1] == pytest.approx(theirs[-1])
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 0.05


@pytest.mark.parametrize("curve", [one_cycle, cosine, thirds])
def test_curves_stay_between_0_and_1(curve):
    assert all(0 <= curve(step / 1000) <= 1 + 1e-12 for step in range(1001))


def test_thirds_divides_by_ten_after_each_third():
    assert [thirds(t) for t in (0, 0.33, 0.34, 0.66, 0.67, 1)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_named_schedule_moves_after_each_batch():
    rates = rates_of("cosine")
    expected = [0.5 * cosine(step / 20) for step in range(1, 21)]
    assert rates == pytest.approx(expected)


def test_named_schedule_moves_once_an_update_when_batches_accumulate():
    rates = rates_of("cosine", accumulate=2)
    assert len(set(rates)) == 1 + 4 * 3 - 1  # three updates an epoch; each batch sees one rate


def test_torch_scheduler_moves_after_each_epoch():
    rates = rates_of(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1))
    assert rates == pytest.approx([0.5] * 5 + [0.05] * 5 + [0.005] * 5 + [0.0005] * 5)


def test_plateau_is_told_the_loss():
    rates = rates_of(
        lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=0, threshold=10.0, threshold_mode="abs"
        )
    )
    assert rates[0] == 0.5
    assert rates[-1] < 0.5


def test_callable_is_given_optimizer_and_total_steps():
    seen = []

    def linear(optimizer, total_steps):
        seen.append(total_steps)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total_steps)

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    model = torch.nn.Linear(2, 2)
    fit(
        model,
        [(torch.rand(3, 2), torch.tensor([0, 1, 0]))] * 5,
        epochs=4,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.5),
        schedule=linear,
        progress=False,
    )
    assert seen == [20]
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_schedule_of_another_optimizer_is_refused():
    other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    with pytest.raises(ConfigError, match="belongs to another optimizer"):
        rates_of(lambda _: torch.optim.lr_scheduler.StepLR(other, 1))


def test_a_list_gives_the_rate_of_each_epoch_and_the_last_stays():
    rates = rates_of(lambda optimizer: [0.3, 0.2], epochs=3, batches=2)
    assert rates == [0.3, 0.3, 0.2, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("rates", [[], [0.1, 0.0], ["fast"]])
def test_a_list_of_rates_that_cannot_work_is_shown(rates):
    with pytest.raises(ConfigError, match="schedule is .*; give the learning rate of each epoch"):
        rates_of(lambda optimizer: rates)
