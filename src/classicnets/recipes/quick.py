"""The plain recipes: each net of grey digits on each set of them, in minutes at most."""

from typing import Any

from .recipe import Expected, Recipe

# What each net takes, and the loss of its paper.
NETS: dict[str, tuple[dict[str, Any], str]] = {
    "lenet1989": ({"image_size": 16}, "mse"),
    "lenet1": ({"image_size": 28, "digit_size": 16}, "mse"),
    "lenet5": ({"image_size": 32}, "cross_entropy"),
    "lenet5_paper": ({"image_size": 32, "normalize": "paper"}, "distance"),
    "sequential_cnn": ({"image_size": 28}, "cross_entropy"),
    "lecture_cnn": ({"image_size": 28}, "cross_entropy"),
}


def _row(
    net: str,
    data: str,
    epochs: int,
    batch_size: int,
    lr: float,
    expected: tuple[float, float, float] | None = None,
) -> Recipe:
    preparation, loss = NETS[net]
    return Recipe(
        net=net,
        data=data,
        preparation=preparation,
        epochs=epochs,
        batch_size=batch_size,
        optimizer="adam",
        lr=lr,
        schedule="onecycle",
        loss=loss,
        threads=1 if batch_size <= 32 else None,
        expected=Expected(*expected) if expected else None,
    )


# fmt: off
QUICK = (
    #    net             data           epochs batch lr     test: mean, lowest, highest
    _row("lenet1989",      "digits",        30, 16, 0.01, (0.928, 0.917, 0.942)),
    _row("lenet1",         "digits",        40, 16, 0.03, (0.951, 0.944, 0.958)),
    _row("lenet5",         "digits",        30, 32, 0.003, (0.927, 0.911, 0.936)),
    _row("lenet5_paper",   "digits",        20, 32, 0.003, (0.925, 0.919, 0.933)),
    _row("sequential_cnn", "digits",        15, 32, 0.003, (0.936, 0.928, 0.944)),
    _row("lecture_cnn",    "digits",        15, 32, 0.001, (0.933, 0.928, 0.936)),
    _row("lenet1989",      "mnist",          5, 64, 0.01, (0.977, 0.977, 0.978)),
    _row("lenet1",         "mnist",          5, 64, 0.02, (0.971, 0.970, 0.971)),
    _row("lenet5",         "mnist",          5, 32, 0.002, (0.990, 0.990, 0.990)),
    _row("lenet5_paper",   "mnist",          5, 64, 0.003, (0.9876, 0.9867, 0.9893)),
    _row("sequential_cnn", "mnist",          3, 64, 0.002, (0.9935, 0.9931, 0.9941)),
    _row("lecture_cnn",    "mnist",          3, 64, 0.001, (0.9932, 0.9928, 0.9938)),
    # not yet measured
    _row("lenet1989",      "fashion_mnist",  5, 64, 0.01),
    _row("lenet1",         "fashion_mnist",  5, 64, 0.02),
    _row("lenet5",         "fashion_mnist",  5, 64, 0.003),
    _row("lenet5_paper",   "fashion_mnist",  5, 64, 0.003),
    _row("sequential_cnn", "fashion_mnist",  3, 64, 0.002),
    _row("lecture_cnn",    "fashion_mnist",  3, 64, 0.001),
)
# fmt: on
