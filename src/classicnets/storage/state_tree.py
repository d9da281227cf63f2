"""Nested state as named tensors and JSON, and back: what pickle does, without running code."""

from typing import Any

from torch import Tensor

from ..errors import ConfigError


def split_state(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a tree by their path, and the rest as JSON that refers to them.

    Dicts with any keys, lists, tuples, tensors, numbers, strings, booleans and None come back from
    `join_state` as they were.

    Raises:
        ConfigError: the tree holds something else; the message gives its path and type.
    """
    tensors: dict[str, Tensor] = {}

    def split(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value.detach()
            return {"$tensor": path}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [split(item, f"{path}.{index}") for index, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"$tuple": split(list(value), path)}
        if isinstance(value, dict):
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {
                    key: split(item, f"{path}.{key}" if path else key)
                    for key, item in value.items()
                }
            return {
                "$items": [
                    [split(key, f"{path}.key"), split(item, f"{path}.{key}")]
                    for key, item in value.items()
                ]
            }
        raise ConfigError(
            f"{path} is a {type(value).__name__}, which a checkpoint cannot hold; "
            "it takes tensors, numbers, strings, lists, tuples and dicts"
        )

    return tensors, split(tree, "")


def join_state(tensors: dict[str, Tensor], skeleton: Any) -> Any:
    """Return the tree that `split_state` took apart."""

    def join(value: Any) -> Any:
        if isinstance(value, list):
            return [join(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        if "$tuple" in value:
            return tuple(join(value["$tuple"]))
        if "$items" in value:
            return {join(key): join(item) for key, item in value["$items"]}
        return {key: join(item) for key, item in value.items()}

    return join(skeleton)
