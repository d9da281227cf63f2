"""The one check that every option of every net passes through."""

from collections.abc import Collection

from ..errors import ConfigError

__all__ = ["check_choice", "check_fraction", "check_int"]


def check_int(name: str, value: int, least: int = 1, largest: int | None = None) -> int:
    """Return an int that lies in its range; bools and floats are refused."""
    in_range = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not in_range or (largest is not None and value > largest):
        allowed = f"of at least {least}" if largest is None else f"from {least} to {largest}"
        raise ConfigError(f"{name} is {value!r}; give an int {allowed}")
    return value


def check_fraction(name: str, value: float) -> float:
    """Return a number that lies in 0 <= value < 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise ConfigError(f"{name} is {value!r}; give a number from 0 to below 1")
    return value


def check_choice(name: str, value: str, allowed: Collection[str]) -> str:
    """Return a value that is one of those allowed."""
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(map(repr, allowed))}")
    return value
