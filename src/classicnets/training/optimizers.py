"""The optimizers that have a name, with the settings that people mean by it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ConfigError
from .levenberg_marquardt import PRINTED_RATES, DiagonalLM

OptimizerChoice = str | Optimizer | Callable[[Iterable[torch.nn.Parameter]], Optimizer]

# name -> (class, learning rate unless given, settings)
_OPTIMIZERS: dict[str, tuple[type[Optimizer], float, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, 1e-3, {}),
    "adamw": (torch.optim.AdamW, 1e-3, {}),
    "sgd": (torch.optim.SGD, 1e-2, {"momentum": 0.9}),
    "rmsprop": (torch.optim.RMSprop, 1e-3, {}),
    "diagonal_lm": (DiagonalLM, PRINTED_RATES[0], {}),
}
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

# settings that do not change what is computed
_HOW = ("fused", "foreach", "capturable")


def build_optimizer(choice: OptimizerChoice, model: torch.nn.Module, lr: float | None) -> Optimizer:
    """Return the optimizer for the parameters of `model`.

    Args:
        choice: a name ("adam", "adamw", "sgd" with momentum 0.9, "rmsprop", "diagonal_lm"), an
            optimizer, or a callable of the parameters that returns one.
        model: the module to train.
        lr: learning rate, above 0; for a name only.

    Raises:
        ConfigError: unknown name, a rate given beside an optimizer that has its own, a rate that
            is not above 0, or nothing to train.
    """
    if lr is not None and not (isinstance(lr, int | float) and 0 < lr < float("inf")):
        raise ConfigError(f"lr is {lr!r}; the learning rate must be a number above 0")
    parameters = list(model.parameters())  # frozen ones too: a callback may unfreeze them
    if not any(parameter.requires_grad for parameter in parameters):
        raise ConfigError(
            f"{type(model).__name__} has no parameter with requires_grad=True; nothing to train"
        )
    if isinstance(choice, str):
        if choice not in _OPTIMIZERS:
            raise ConfigError(
                f"optimizer is {choice!r}; allowed are {', '.join(map(repr, _OPTIMIZERS))}, "
                "an optimizer, or a callable of the parameters"
            )
        kind, usual_lr, settings = _OPTIMIZERS[choice]
        rate: float | Tensor = usual_lr if lr is None else lr
        if kind in _FUSED and _can_be_fused(parameters):
            settings = {**settings, "fused": True}
            if parameters[0].is_cuda:  # so that a captured step sees the rate change
                rate = torch.tensor(rate, dtype=torch.float32, device=parameters[0].device)
                if kind is not torch.optim.SGD:  # which has no such setting, and needs none
                    settings["capturable"] = True
        # lr is the one name that all of them share
        return kind(parameters, lr=rate, **settings)  # type: ignore[call-arg]
    if lr is not None:
        raise ConfigError(
            f"lr is {lr}, but the optimizer given has its own learning rate; "
            "set it there, or give the optimizer by name"
        )
    if isinstance(choice, Optimizer):
        ours = set(map(id, parameters))
        if not any(id(p) in ours for group in choice.param_groups for p in group["params"]):
            raise ConfigError(
                f"the optimizer holds no parameter of this {type(model).__name__}; "
                "make it from model.parameters()"
            )
        return choice
    if not callable(choice):
        raise ConfigError(
            f"optimizer is {choice!r}; give a name, an optimizer, or a callable of the parameters"
        )
    optimizer = choice(parameters)
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(f"the optimizer callable returned {optimizer!r}, not a torch Optimizer")
    return optimizer


def be_eager(optimizer: Optimizer) -> None:
    """Undo what makes an optimizer of this file ready to be captured, and slower where it is not.

    A rate on the device stays there.
    """
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = False


def settings_of(optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings of an optimizer that its results depend on, not how it computes them.

    The learning rate may be held as a float32 tensor, so it is told to six places.
    """
    settings = {name: value for name, value in optimizer.defaults.items() if name not in _HOW}
    if "lr" in settings:
        settings["lr"] = float(f"{float(settings['lr']):.6g}")
    return settings


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a saved state, but keep how this optimizer computes and where it keeps its rate.

    torch takes over both with the state, and leaves tensors in the order they were saved in, which
    its fused optimizers do not look at.
    """
    former = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, before in zip(optimizer.param_groups, former, strict=True):
        rate = float(group["lr"])
        group.update({name: before[name] for name in _HOW if name in before})
        group["lr"] = before["lr"].fill_(rate) if isinstance(before["lr"], Tensor) else rate
    give_state_the_layout(optimizer)


def give_state_the_layout(optimizer: Optimizer) -> None:
    """Copy the tensors of an optimizer's state that are not in the order of their parameter."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            is_map = isinstance(value, Tensor) and value.shape == parameter.shape
            if is_map and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def give_gradients_their_layout(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Copy any gradient whose strides are not its parameter's.

    torch's fused optimizers on a CPU walk both in the parameter's order without a look at the
    strides, and would update the wrong weights. Autograd keeps the rule by itself; a hook or a
    callback that sets `.grad` may break it.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def _can_be_fused(parameters: list[torch.nn.Parameter]) -> bool:
    """Return whether torch updates these in one call; others it would refuse."""
    return all(
        p.device.type in ("cpu", "cuda") and p.is_floating_point() and p.layout is torch.strided
        for p in parameters
    )
