"""A bar in a terminal while the pictures of a folder are read and decoded."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# Gives a sequence as it is, or watched while it is gone through.
Shown = Callable[[Sequence[Any], str], Iterable[Any]]


def unseen(items: Sequence[Any], doing: str) -> Iterable[Any]:
    """The items as they are."""
    del doing
    return items


def reading_bar(items: Sequence[Any], doing: str) -> Iterable[Any]:
    """The items, with a bar while they are taken if standard error is a terminal."""
    if not items or sys.stderr is None or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, f"{doing} pictures", console=Console(stderr=True), transient=True)
