"""What commands write can be read by people, programs and spreadsheets, and obeyed by none."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classicnets.cli.output import columns, printable, to_csv, to_json

NAMES = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "=cmd|'/c calc'!A1",
    'a "quoted" name',
    "a,b;c|d",
    "@b;=1+1",
    "x;=1;+2|-3;\uff1d4",
    "two\nlines",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "caf\udce9.png",
    "한글.png",
    "plain.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_csv_cell_of_text_is_a_formula_or_moves_the_terminal(name: str) -> None:
    text = to_csv([[name, name]])
    text.encode()
    (row,) = csv.reader(io.StringIO(text))
    for cell in row:
        for part in re.split("[;|]", cell):  # where semicolons part cells
            assert not part.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"))
        assert cell.isprintable()


@given(st.text(st.characters(exclude_categories=[])))
def test_csv_keeps_one_line_a_row_whatever_the_text(name: str) -> None:
    text = to_csv([["id", "path"], [1, name]])
    assert text.count("\n") == 2
    assert len(list(csv.reader(io.StringIO(text)))[1]) == 2


def test_csv_never_prefixes_a_number() -> None:
    assert to_csv([[-1, -0.5, 1e-7]]) == "-1,-0.5,1e-07\n"


@pytest.mark.parametrize("name", NAMES)
def test_json_keeps_every_name_exactly(name: str) -> None:
    text = to_json({"path": name})
    assert json.loads(text) == {"path": name}
    assert text.isascii()


def test_printable_escapes_what_a_terminal_would_obey() -> None:
    assert printable("\x1b[31m\u202ea 한글") == "\\x1b[31m\\u202ea 한글"
    assert printable("caf\udce9.png") == "caf\\xe9.png"


def test_columns_align_text_to_the_left_and_numbers_to_the_right() -> None:
    assert columns([("net", "size"), ("a", "5"), ("long", "1,000")], right=(1,)) == (
        "net    size\na         5\nlong  1,000"
    )
