"""Nets by name: fresh ones, and (from the version that ships weights) trained ones."""

from inspect import signature
from typing import Any

from torch import nn

from .errors import ConfigError
from .models import model_class

__all__ = ["create_model"]


def create_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """Build the net of that name.

    Args:
        name: one of `list_models()`.
        pretrained: load the weights that come with the library.
        options: the net's own arguments by keyword; see its class.

    Raises:
        ConfigError: the name is unknown, an option is unknown or out of range, or weights are
            asked for, of which this version ships none.

    Example:
        >>> create_model("lenet5", activation="relu").options["activation"]
        'relu'
    """
    net = model_class(name)
    known = list(signature(net).parameters)
    for option in options:
        if option not in known:
            takes = f"takes {', '.join(known)}" if known else "has no options"
            raise ConfigError(f"{option} is no option of {name}, which {takes}")
    if pretrained:
        raise ConfigError(
            f"pretrained is {pretrained!r}, but this version ships no weights; give "
            f"pretrained=False and train the net: classicnets train {name}"
        )
    return net(**options)
