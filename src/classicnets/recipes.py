"""How each net is trained on each data set, one row a recipe, as a paper would print it.

Settings were chosen on the validation part alone. `expected` is what then came out on the test
part: the mean over seeds 0, 1 and 2, and the lowest and highest of them; empty where not measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigError
from .models import model_class

__all__ = ["Recipe", "find_recipe", "list_recipes"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train one net on one data set.

    Args:
        net: name of the net, as in `list_models`.
        data: name of the data set, a function of `classicnets.data`.
        name: which of the net's recipes; "quick" is the plain one.
        preparation: what the data function is told, so that the pictures fit the net.
        epochs: passes over the training part.
        batch_size: images a step.
        optimizer: a name that `fit` knows.
        lr: learning rate, the highest of the schedule.
        schedule: a name that `fit` knows.
        loss: a name that `fit` knows.
        net_options: what the net is built with.
        expected: accuracy on the test part and its spread.
    """

    net: str
    data: str
    name: str = "quick"
    preparation: Mapping[str, Any]
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    schedule: str
    loss: str = "cross_entropy"
    net_options: Mapping[str, Any] = field(default_factory=dict)
    expected: str = ""


# What each net takes, and the loss of its paper.
_NETS: dict[str, tuple[dict[str, Any], str]] = {
    "lenet1989": ({"image_size": 16}, "mse"),
    "lenet1": ({"image_size": 28, "digit_size": 16}, "mse"),
    "lenet5": ({"image_size": 32}, "cross_entropy"),
    "lenet5_paper": ({"image_size": 32, "normalize": "paper"}, "distance"),
    "sequential_cnn": ({"image_size": 28}, "cross_entropy"),
    "lecture_cnn": ({"image_size": 28}, "cross_entropy"),
}


def _quick(
    net: str, data: str, epochs: int, batch_size: int, lr: float, expected: str = ""
) -> Recipe:
    preparation, loss = _NETS[net]
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
        expected=expected,
    )


# fmt: off
_RECIPES = (
    #       net             data           epochs batch lr     test accuracy
    _quick("lenet1989",      "digits",        30, 16, 0.01,  "92.8 % (91.7 to 94.2)"),
    _quick("lenet1",         "digits",        40, 16, 0.03,  "95.1 % (94.4 to 95.8)"),
    _quick("lenet5",         "digits",        30, 32, 0.003, "92.7 % (91.1 to 93.6)"),
    _quick("lenet5_paper",   "digits",        20, 32, 0.003, "92.5 % (91.9 to 93.3)"),
    _quick("sequential_cnn", "digits",        15, 32, 0.003, "93.6 % (92.8 to 94.4)"),
    _quick("lecture_cnn",    "digits",        15, 32, 0.001, "93.3 % (92.8 to 93.6)"),
    _quick("lenet1989",      "mnist",          5, 64, 0.01,  "97.7 % (97.7 to 97.8)"),
    _quick("lenet1",         "mnist",          5, 64, 0.02,  "97.1 % (97.0 to 97.1)"),
    _quick("lenet5",         "mnist",          5, 32, 0.002, "99.0 % (99.0 to 99.0)"),
    # not yet measured
    _quick("lenet5_paper",   "mnist",          5, 64, 0.003),
    _quick("sequential_cnn", "mnist",          3, 64, 0.002),
    _quick("lecture_cnn",    "mnist",          3, 64, 0.001),
    _quick("lenet1989",      "fashion_mnist",  5, 64, 0.01),
    _quick("lenet1",         "fashion_mnist",  5, 64, 0.02),
    _quick("lenet5",         "fashion_mnist",  5, 64, 0.003),
    _quick("lenet5_paper",   "fashion_mnist",  5, 64, 0.003),
    _quick("sequential_cnn", "fashion_mnist",  3, 64, 0.002),
    _quick("lecture_cnn",    "fashion_mnist",  3, 64, 0.001),
)
# fmt: on


def list_recipes(net: str | None = None, data: str | None = None) -> list[Recipe]:
    """Return the recipes, of one net or for one data set where asked.

    Example:
        >>> [recipe.data for recipe in list_recipes("lenet5")]
        ['digits', 'mnist', 'fashion_mnist']
    """
    return [
        recipe for recipe in _RECIPES if net in (None, recipe.net) and data in (None, recipe.data)
    ]


def find_recipe(net: str, data: str = "digits") -> Recipe:
    """Return the quick recipe of a net on a data set.

    Raises:
        ConfigError: there is no such net or data set, or the net does not take its pictures.

    Example:
        >>> find_recipe("lenet1").preparation
        {'image_size': 28, 'digit_size': 16}
    """
    for recipe in list_recipes(net, data):
        return recipe
    shape = "x".join(map(str, model_class(net).input_shape))  # type: ignore[attr-defined]
    known = sorted({recipe.data for recipe in _RECIPES})
    if data not in known:
        raise ConfigError(f"data is {data!r}; the data sets with recipes are {', '.join(known)}")
    raise ConfigError(
        f"net is {net!r}, which takes pictures of {shape}: there is no recipe for it on {data!r}; "
        "train it on pictures of its own size with classicnets.fit, as the README shows"
    )
