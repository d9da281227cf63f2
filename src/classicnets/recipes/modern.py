"""The training of today: `modern` for the most that a net can reach, `fast` for 99 % soon."""

from .quick import NETS
from .recipe import Recipe


def _row(net: str, epochs: int, batch_size: int, lr: float) -> Recipe:
    return Recipe(
        net=net,
        data="mnist",
        name="modern",
        preparation=NETS[net][0],
        augment={"rotation": 10.0, "scale": 0.1, "shear": 0.1, "shift": 0.0625},
        epochs=epochs,
        batch_size=batch_size,
        optimizer="adamw",  # weight decay 0.01
        lr=lr,
        schedule="onecycle",
        label_smoothing=0.05,
        average=0.999,
    )


# fmt: off
MODERN = (
    #    net              epochs batch lr
    _row("lenet5",            50, 128, 0.006),
    _row("sequential_cnn",    20, 128, 0.003),
    _row("lecture_cnn",       20, 128, 0.003),
)
FAST = (
    Recipe(
        net="lenet5", data="mnist", name="fast", preparation=NETS["lenet5"][0],
        epochs=4, batch_size=64, optimizer="adamw", lr=0.004, schedule="onecycle",
    ),
)
# fmt: on
