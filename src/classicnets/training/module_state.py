"""What the modules of a net hold besides their weights: buffers, counters, tensors of their own."""

from typing import Any

from torch import Tensor, nn

Attributes = dict[tuple[int, str], tuple[dict[str, Any], Any]]
Change = tuple[dict[str, Any], str, Any, Any]  # holder, name, value before, value now


def attributes(net: nn.Module) -> Attributes:
    """The tensors and single values that the modules of a net hold, and where."""
    return {
        (id(holder), name): (holder, value)
        for module in net.modules()
        for holder in (module.__dict__, module._buffers)
        for name, value in holder.items()
        if isinstance(value, Tensor | int | float | str)
    }


def changes(net: nn.Module, before: Attributes) -> list[Change]:
    """The attributes of a net that have another value now."""
    now, found = attributes(net), []
    for place, (holder, value) in before.items():
        _, other = now.get(place, (holder, None))
        if is_replaced(value, other):
            found.append((holder, place[1], value, other))
    return found


def is_replaced(before: Any, now: Any) -> bool:
    """Return whether a value is another one now; of tensors, whether it is another tensor."""
    is_tensor = isinstance(before, Tensor) or isinstance(now, Tensor)
    return now is not before and (is_tensor or now != before)


def put_back(changed: list[Change]) -> None:
    """Give attributes their former values."""
    for holder, name, value, _ in changed:
        holder[name] = value
