"""The losses that have a name."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]


def signed_mse(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error to targets of +1 for the right class and -1 elsewhere.

    The loss of the nets of 1989 (LeCun et al., Neural Computation 1(4) and NIPS 2).

    Shape:
        outputs (N, C), float; labels (N,), int64; result (), float.
    """
    targets = torch.full_like(outputs, -1.0).scatter_(1, labels[:, None], 1.0)
    return F.mse_loss(outputs, targets)


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error of `signed_mse`, summed over the outputs: the papers' own scale.

    The scale matters to the optimizer of 1998, whose mu is held against second derivatives.
    """
    return outputs.shape[1] * signed_mse(outputs, labels)


def own_distance(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean distance of each image to the code of its own class.

    The loss of `LeNet5Paper`: LeCun et al., Proc. IEEE 86(11) 1998, eq. 8. It needs codes that are
    fixed, as there; learned ones would collapse.

    Shape:
        outputs (N, C), negated distances; labels (N,), int64; result (), float.
    """
    return -outputs.gather(1, labels[:, None]).mean()


def map_distance(outputs: Tensor, labels: Tensor, *, rubbish: float = 1.0) -> Tensor:
    """Return the mean distance to the own code, with the other codes pushed away.

    The discriminative loss of LeCun et al., Proc. IEEE 86(11) 1998, eq. 9, the maximum a posteriori
    criterion: y_D + log(e^-j + sum_i e^-y_i) for distances y and label D. The paper wants it where
    the codes are learned, and does not say with which of its two losses LeNet-5 was trained.

    Args:
        outputs: (N, C), negated distances.
        labels: (N,), int64.
        rubbish: the paper's j, above 0, given there without a value; here 1. The distance of a
            class of things that are no digit: codes farther off than j are pushed no more.
    """
    to_rubbish = outputs.new_full((len(outputs), 1), -rubbish)
    competition = torch.cat((outputs, to_rubbish), 1).logsumexp(1)
    return own_distance(outputs, labels) + competition.mean()


_IGNORED = -100  # by torch's losses, unless they are told another number

_LOSSES: dict[str, Loss] = {
    "cross_entropy": F.cross_entropy,
    "mse": signed_mse,
    "squared_error": squared_error,
    "distance": own_distance,
    "map_distance": map_distance,
}


def resolve_loss(loss: str | Loss | None) -> Loss:
    """Return the loss of that name, "cross_entropy" for None, or the callable as it is.

    Raises:
        ConfigError: the name is unknown.
    """
    if loss is None:
        return F.cross_entropy
    if isinstance(loss, str):
        if loss not in _LOSSES:
            raise ConfigError(
                f"loss is {loss!r}; allowed are {', '.join(map(repr, _LOSSES))} "
                "or a callable of (outputs, labels)"
            )
        return _LOSSES[loss]
    if not callable(loss) or isinstance(loss, type):
        raise ConfigError(f"loss is {loss!r}; give a name or a callable of (outputs, labels)")
    return loss


def is_over_classes(loss: Loss) -> bool:
    """Return whether a loss is known to take the numbers of classes as labels, all of them."""
    if isinstance(loss, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss):
        return loss.ignore_index == _IGNORED
    return loss in _LOSSES.values()
