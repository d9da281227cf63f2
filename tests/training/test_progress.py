import io
import sys
import types

import pytest
import torch
from torch import nn

from classicnets.training import evaluate, fit


class Terminal(io.StringIO):
    def isatty(self):
        return True


LOADER = [(torch.rand(4, 3), torch.tensor([0, 1, 2, 0]))] * 5


def learnable() -> nn.Linear:
    """A net so sure of class 0 that its loss is far from that of chance."""
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    model.bias.data[0] = 6.0
    return model


def seen_on_a_terminal(monkeypatch: pytest.MonkeyPatch, call) -> str:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with monkeypatch.context() as patch:  # not in a fixture: pytest sets stderr after those
        patch.setattr(sys, "stderr", stream)
        call()
    return stream.getvalue()


def test_terminal_shows_a_bar_and_keeps_a_line_per_epoch(monkeypatch):
    text = seen_on_a_terminal(
        monkeypatch, lambda: fit(learnable(), LOADER, val_loader=LOADER, epochs=2)
    )
    assert "epoch 1/2  loss" in text
    assert "epoch 2/2  loss" in text
    assert "validation loss" in text
    assert "images/s" in text


def test_terminal_shows_evaluation_when_asked(monkeypatch):
    assert seen_on_a_terminal(monkeypatch, lambda: evaluate(learnable(), LOADER)) == ""
    text = seen_on_a_terminal(monkeypatch, lambda: evaluate(learnable(), LOADER, progress=True))
    assert "evaluate  loss" in text


def test_nothing_is_shown_when_not_wanted(monkeypatch):
    def call():
        fit(learnable(), LOADER, epochs=1, progress=False)

    assert seen_on_a_terminal(monkeypatch, call) == ""


def test_what_a_callback_prints_stays_on_standard_output(monkeypatch, capsys):
    def call():
        fit(learnable(), LOADER, epochs=1, callbacks=[lambda event: print("mine")])

    assert "mine" not in seen_on_a_terminal(monkeypatch, call)
    assert capsys.readouterr().out == "mine\n"


def test_notebook_shows_lines_that_are_updated_in_place(monkeypatch):
    shown = []

    class Handle:
        def update(self, picture, raw):
            shown.append(picture["text/plain"])

    def display(picture, raw, display_id):
        assert raw
        assert display_id
        return Handle()

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    fit(learnable(), LOADER, epochs=2)
    lines = shown[-1].splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/2", "epoch 2/2"]
