"""The training of today: `modern` for the most that a net can reach, `fast` for 99 % soon."""

from .quick import NETS
from .recipe import Expected, Recipe


def _row(net: str, epochs: int, lr: float, expected: Expected | None = None) -> Recipe:
    preparation, loss = NETS[net]
    return Recipe(
        net=net,
        data="mnist",
        name="modern",
        preparation=preparation,
        augment={"rotation": 10.0, "scale": 0.1, "shear": 0.1, "shift": 0.0625},
        net_options={} if loss == "cross_entropy" else {"init": "modern"},
        epochs=epochs,
        batch_size=128,
        optimizer="adamw",  # weight decay 0.01
        lr=lr,
        schedule="onecycle",
        loss=loss,
        label_smoothing=0.05 if loss == "cross_entropy" else 0.0,
        average=0.999,
        threads=1,
        expected=expected,
    )


_CORE = "one core (AMD EPYC)"
_LENET5 = Expected(0.9946, 0.9938, 0.9955, seeds=5, seconds=533, machine=_CORE)

# fmt: off
MODERN = (
    #    net              epochs  lr
    _row("lenet5",           100, 0.003, _LENET5),
    # not yet measured
    _row("lenet1989",         30, 0.003),
    _row("lenet1",            30, 0.006),
    _row("lenet5_paper",      30, 0.003),
    _row("sequential_cnn",    30, 0.003),
    _row("lecture_cnn",       20, 0.003),
)
FAST = (
    Recipe(
        net="lenet5", data="mnist", name="fast", preparation={**NETS["lenet5"][0], "val_size": 0},
        augment={"rotation": 5.0, "scale": 0.05, "shear": 0.05, "shift": 0.04},
        epochs=3, batch_size=128, optimizer="sgd", lr=0.3, schedule="onecycle",
        label_smoothing=0.05,
        expected=Expected(0.9912, 0.9904, 0.9918, seeds=10, seconds=16, machine=_CORE),
    ),
)
# fmt: on
