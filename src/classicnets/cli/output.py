"""How commands write: aligned columns, JSON, and CSV that no spreadsheet can be tricked by."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

# at the start of a cell, or of what is one where semicolons part cells; wide signs count as well
_FORMULA = re.compile(r"(^|[;|])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of show: control letters, marks of direction.

    A byte of a file's name that is no UTF-8 is written as `x` and two digits after a backslash.
    """

    def shown(letter: str) -> str:
        if letter.isprintable():
            return letter
        byte = ord(letter) - 0xDC00  # as Python holds such bytes
        return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else ascii(letter)[1:-1]

    return "".join(map(shown, text))


def to_json(value: Any) -> str:
    """A value for programs; letters beyond ASCII are escaped, so that nothing is lost."""
    return json.dumps(value, indent=2) + "\n"


def print_json(value: Any) -> None:
    """Print a value for programs."""
    typer.echo(to_json(value), nl=False)


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells as aligned text; `right` names the columns of numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def to_csv(rows: Iterable[Sequence[str | int | float]]) -> str:
    """Rows as CSV, text cells guarded against being taken for a formula, numbers as they are.

    Where a text cell starts like a formula, or would if semicolons parted cells, an apostrophe goes
    before it (OWASP, "CSV Injection").
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([_guarded(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()


def _guarded(text: str) -> str:
    return printable(_FORMULA.sub(r"\1'", text))


def write_text(path: Path, text: str) -> None:
    """Write a whole file, or leave what was there.

    Raises:
        StorageError: the file cannot be written.
    """
    from ..storage.safe_files import replace_file, storage_error

    content = text.encode()
    try:
        replace_file(path, [content])
    except OSError as error:
        raise storage_error(path, len(content), error) from error
