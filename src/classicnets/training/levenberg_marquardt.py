"""The optimizer of 1998: a step size for each weight, from the curvature of the loss there."""

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from ..errors import ConfigError
from ..layers import RBFOutput, ScaledTanh, Subsample2d, TableConv2d, UnitBiasConv2d
from .losses import Loss

# learning rate of each of the 20 passes; L98, section III.B
PRINTED_RATES = (*[5e-4] * 2, *[2e-4] * 3, *[1e-4] * 3, *[5e-5] * 4, *[1e-5] * 8)
SAMPLES = 500  # for the curvatures, before each pass

_SQUASHING = (ScaledTanh, nn.Tanh, nn.Sigmoid, nn.ReLU)
_LINEAR = (nn.Conv2d, nn.Linear, TableConv2d, UnitBiasConv2d, Subsample2d)


class DiagonalLM(Optimizer):
    """Stochastic diagonal Levenberg-Marquardt (SDLM): w -= lr / (mu + h) dE/dw, for each weight w.

    h estimates the second derivative of the loss by that weight. `estimate` finds it from samples,
    before each pass over the data in the paper, and it stays as it is until the next time. Flat
    directions get larger steps than steep ones, none more than lr / mu.

    Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11) 1998, section III.B and App. C; there one pattern makes a step,
    mu is 0.02, `PRINTED_RATES` are the rates of the 20 passes, and 500 samples give h.

    Differences from the paper: None.

    Args:
        params: the parameters, or groups of them.
        lr: the paper's eta, the same for all weights; above 0.
        mu: keeps steps small where the loss is flat; above 0.

    Raises:
        ConfigError: lr or mu is not above 0; a step before the first estimate.

    Example:
        >>> net, loss = nn.Linear(2, 1), nn.MSELoss()
        >>> optimizer = DiagonalLM(net.parameters(), lr=0.1)
        >>> optimizer.estimate(net, loss, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 1))
        >>> optimizer.state[net.weight]["curvature"]
        tensor([[ 2., 18.]])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = PRINTED_RATES[0],
        mu: float = 0.02,
    ) -> None:
        for name, value in (("lr", lr), ("mu", mu)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} is {value!r}; it must be a number above 0")
        super().__init__(params, {"lr": lr, "mu": mu})
        self._dampers: dict[Tensor, Tensor] = {}  # 1 / (mu + h), made when first needed

    def estimate(self, net: nn.Module, loss: Loss, images: Tensor, labels: Tensor) -> None:
        """Set the curvature of each weight to its mean over samples.

        Args:
            net: the net that owns the parameters; a chain of layers (see `curvatures`).
            loss: callable of (outputs, labels), a mean over the samples.
            images: the samples, 500 in the paper.
            labels: theirs.

        Raises:
            ConfigError: the net is no such chain, or a parameter is not in it.
        """
        found = curvatures(net, loss, images, labels)
        self._dampers.clear()
        for parameter in self._parameters():
            if parameter not in found:
                raise ConfigError(
                    f"net is {type(net).__name__}, which does not use a parameter of shape "
                    f"{tuple(parameter.shape)} that this optimizer holds; give the net whose "
                    "parameters made the optimizer"
                )
            self.state[parameter]["curvature"] = found[parameter]

    def step_sizes(self) -> dict[Tensor, Tensor]:
        """Return lr / (mu + h) for each weight of each parameter."""
        return {
            parameter: group["lr"] * self._damper(parameter, group["mu"])
            for group in self.param_groups
            for parameter in group["params"]
        }

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Any) -> float: ...
    @torch.no_grad()
    def step(self, closure: Any = None) -> float | None:
        """Move every weight that has a gradient; with a closure, return what it returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, mu = -group["lr"], group["mu"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.addcmul_(parameter.grad, self._damper(parameter, mu), value=rate)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over rates and curvatures that were saved."""
        super().load_state_dict(state_dict)
        self._dampers = {}

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _damper(self, parameter: Tensor, mu: float) -> Tensor:
        damper = self._dampers.get(parameter)
        if damper is None:
            if "curvature" not in self.state[parameter]:
                raise ConfigError(
                    "curvature is not known before the first step; call "
                    "optimizer.estimate(net, loss, images, labels) with some 500 samples"
                )
            damper = self._dampers[parameter] = 1 / (mu + self.state[parameter]["curvature"])
        return damper


def curvatures(net: nn.Module, loss: Loss, images: Tensor, labels: Tensor) -> dict[Tensor, Tensor]:
    """Return the second derivative of the loss by each weight, as App. C of the paper estimates it.

    Back-propagation of the diagonal alone, by Gauss and Newton: the term with the second
    derivative of the squashing is dropped, so nothing is negative. A weight that many connections
    share gets the sum over them. Through the output units of distances, and through the loss, the
    second derivative is exact.

    Args:
        net: layers that follow one another, each used once: convolutions (without padding by
            zeros), those of ours, linear layers, tanh, sigmoid, ReLU, flattening; `RBFOutput` last.
        loss: callable of (outputs, labels), a mean over the samples.
        images: (N, ...), as the net takes them.
        labels: as the loss takes them.

    Raises:
        ConfigError: the net has another layer, or its layers do not follow one another.
    """
    calls = _calls(net, images)
    head = calls.pop()[0] if isinstance(calls[-1][0], RBFOutput) else nn.Identity()
    curvature = _second_derivatives(lambda last: loss(head(last), labels), calls[-1][2])
    found: dict[Tensor, Tensor] = {}
    for layer, x, output in reversed(calls):
        curvature = curvature.view_as(output)
        if isinstance(layer, _LINEAR):
            curvature, of_parameters = _through_links(layer, x, curvature)
            found.update(of_parameters)
        elif isinstance(layer, _SQUASHING):
            curvature = curvature * _slope(layer, x).square()
        elif not isinstance(layer, nn.Flatten):
            raise ConfigError(
                f"net has a layer {type(layer).__name__}; curvatures go through convolutions, "
                "linear layers, trainable subsampling, tanh, sigmoid and ReLU"
            )
    return found


@torch.no_grad()
def _calls(net: nn.Module, images: Tensor) -> list[tuple[nn.Module, Tensor, Tensor]]:
    """Return every layer with its input and output, in the order of their use."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, x, y: calls.append((layer, x[0], y)))
        for layer in net.modules()
        if next(layer.children(), None) is None
    ]
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()
    for (layer, _, output), (following, x, _) in pairwise(calls):
        if output.data_ptr() != x.data_ptr():
            raise ConfigError(
                f"net does something of its own between {type(layer).__name__} and "
                f"{type(following).__name__}; it must be a chain of layers"
            )
    return calls


def _second_derivatives(function: Any, x: Tensor) -> Tensor:
    """Return d2f/dx2 for each number of x, whose rows do not mix in f."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(function(x), x, create_graph=True)
        columns = [
            torch.autograd.grad(column.sum(), x, retain_graph=True)[0].flatten(1)[:, index]
            for index, column in enumerate(gradient.flatten(1).unbind(1))
        ]
    return torch.stack(columns, 1).clamp(min=0)


def _slope(layer: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(layer(x).sum(), x)[0]


def _through_links(
    layer: nn.Module, x: Tensor, curvature: Tensor
) -> tuple[Tensor, dict[Tensor, Tensor]]:
    """Return the curvatures before a layer of weighted sums, and those of its parameters.

    A sum of w x gives w^2 curvature to x and x^2 curvature to w: what back-propagation does in the
    same layer made of squares.
    """
    parameters = dict(layer.named_parameters())
    with torch.enable_grad():
        squares = {
            name: (p.detach().square() if name == "weight" else p.detach()).requires_grad_()
            for name, p in parameters.items()
        }
        x_squares = x.square().requires_grad_()
        if isinstance(layer, Subsample2d):
            # the coefficient's input is the mean of four; each of them has 1/4 of the coefficient
            through = F.avg_pool2d(x_squares, 2) / 4
            means = through + (F.avg_pool2d(x, 2).square() - through).detach()
            output = torch.addcmul(
                squares["bias"].view(-1, 1, 1), means, squares["weight"].view(-1, 1, 1)
            )
        else:
            squared = copy.copy(layer)
            if isinstance(squared, UnitBiasConv2d):
                squared.border = squared.border**2
            output = functional_call(squared, squares, x_squares)
        before, *found = torch.autograd.grad(output, (x_squares, *squares.values()), curvature)
    return before, dict(zip(parameters.values(), found, strict=True))
