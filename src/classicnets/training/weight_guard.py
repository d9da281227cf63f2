"""The last weights that were finite, for when a step spoils them."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .step import NonFiniteError


class WeightGuard:
    """Keeps a copy of a net's weights while they are finite, and puts it back when they are not.

    What is not finite before training, such as a buffer that starts at infinity, may stay so.

    Args:
        model: the net that is trained.

    Attributes:
        kept: the copy, by the names of the `state_dict`.
        kept_at: steps that were done when it was made.

    Raises:
        ConfigError: a weight is not finite to begin with.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._finite_at_start = _finite_names(model.state_dict())
        self.kept: dict[str, Any] = {}
        self.kept_at = 0
        for name, parameter in model.named_parameters():
            if not parameter.isfinite().all():
                raise ConfigError(
                    f"the weight {name!r} is NaN or infinite before the first step; "
                    "initialise the model, or load other weights"
                )

    def keep(self, steps: int) -> None:
        """Copy the weights after so many steps.

        Raises:
            NonFiniteError: they are not finite.
        """
        self.check()
        self.kept, self.kept_at = copy_weights(self._model), steps

    def check(self) -> None:
        """Raise a NonFiniteError if a weight is not finite."""
        if self._spoilt():
            raise NonFiniteError("a weight is not finite after the update", after_update=True)

    def restore(self) -> str:
        """Put the copy back where it is needed, and say which weights the net has now."""
        if not self._spoilt():
            return "the weights are those before that step"
        self._model.load_state_dict(self.kept)
        return f"the weights are put back to those after step {self.kept_at}"

    def _spoilt(self) -> bool:
        return not self._finite_at_start <= _finite_names(self._model.state_dict())


def copy_weights(model: nn.Module) -> dict[str, Any]:
    """A copy of a net's `state_dict`."""
    return {
        name: value.clone() if isinstance(value, Tensor) else value
        for name, value in model.state_dict().items()
    }


def _finite_names(state: dict[str, Any]) -> set[str]:
    """Return the names of the floating tensors without NaN or infinity."""
    floating = {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel()
    }
    if not floating:
        return set()
    wide = (x.float() if x.dtype.itemsize < 2 else x for x in floating.values())
    bounds = [torch.stack(x.aminmax()) for x in wide]  # NaN where one value is
    finite = torch.stack(bounds).isfinite().all(1).tolist()
    return {name for name, is_finite in zip(floating, finite, strict=True) if is_finite}
