"""The command plot: each kind of each run, where it goes, and what it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classicnets.cli import main
from classicnets.run_plots import KINDS
from classicnets.runs import Run

OF_LENET5 = [kind for kind in KINDS if kind not in ("connections", "response_norm")]


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], status: int, *words: str | Path) -> str:
    assert main([str(word) for word in words]) == status
    return capsys.readouterr().err


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A slanted stroke, light on dark, in colour."""
    rows, columns = np.indices((40, 30))
    pixels = np.where(np.abs(columns - 8 - rows / 3) < 3, 255, 0).astype(np.uint8)
    path = tmp_path / "stroke.png"
    Image.fromarray(np.stack([pixels, pixels, pixels // 2], axis=2)).save(path)
    return path


def test_the_help_names_every_kind_that_a_run_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(kind in text for kind in KINDS)


@pytest.mark.parametrize("kind", OF_LENET5)
def test_plot_draws_each_kind(
    kind: str, digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "picture.png"
    assert call(capsys, "plot", digits_run.path, kind, "-o", output) == f"{output}\n"
    with Image.open(output) as drawn:
        assert drawn.width == 787
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 20


@pytest.mark.parametrize("kind", ["activations", "occlusion", "gradient"])
def test_plot_takes_a_picture_and_names_the_file_by_it(
    kind: str,
    digits_run: Run,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "drawn.png"
    call(capsys, "plot", digits_run.path, kind, picture, "-o", output)
    call(capsys, "plot", digits_run.path, kind, "-o", tmp_path / "other.png")
    assert output.read_bytes() != (tmp_path / "other.png").read_bytes()
    assert call(capsys, "plot", digits_run.path, kind, picture).strip() == str(
        digits_run.path / f"{kind}-stroke.png"
    )
    (digits_run.path / f"{kind}-stroke.png").unlink()


def test_plot_draws_curves_of_several_runs_and_their_mean(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(digits_run.path, tmp_path / "other")
    words = ("plot", digits_run.path, "curves", "--with", other)
    call(capsys, *words, "-o", tmp_path / "both.png")
    call(capsys, *words, "--mean", "-o", tmp_path / "mean.png")
    assert (tmp_path / "both.png").read_bytes() != (tmp_path / "mean.png").read_bytes()
    err = refusal(capsys, 2, *words, "--with", digits_run.path)
    assert "--with names the same run twice; give each once" in err


@pytest.mark.parametrize(
    "words", [("filters", "--with", "RUN"), ("curves", "--mean"), ("confusion", "--mean")]
)
def test_plot_compares_nothing_but_curves(
    words: tuple[str, ...], digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [digits_run.path if word == "RUN" else word for word in words]
    assert "write `classicnets plot RUN curves --with OTHER`" in refusal(
        capsys, 2, "plot", digits_run.path, *given
    )


@pytest.mark.parametrize(
    ("kind", "what"),
    [("connections", "table of connections"), ("response_norm", "local response normalisation")],
)
def test_plot_of_what_a_net_has_not_names_what_it_has(
    kind: str, what: str, digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    err = refusal(capsys, 3, "plot", digits_run.path, kind)
    allowed = ", ".join(OF_LENET5)
    assert f"kind is '{kind}', but LeNet5 has no {what}; the pictures are {allowed}" in err


def test_plot_refuses_a_picture_where_none_is_drawn(
    digits_run: Run, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    err = refusal(capsys, 3, "plot", digits_run.path, "filters", picture)
    assert "image is given, but filters is drawn from no single picture; leave it out, or" in err
    assert "activations, occlusion, gradient" in err


def test_plot_names_the_picture_that_cannot_be_read(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.png"
    assert "none.png" in refusal(capsys, 3, "plot", digits_run.path, "occlusion", missing)


def test_plot_names_the_kinds_there_are(
    digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    err = refusal(capsys, 2, "plot", digits_run.path, "heatmap")
    assert "'curves', 'confusion', 'predictions', 'mistakes'" in err


def test_plot_of_a_net_with_shipped_weights_is_put_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "plot", "lenet5", "filters") == "lenet5-filters.png\n"
    assert (tmp_path / "lenet5-filters.png").is_file()
    assert "the run has no history, as no weights have" in refusal(
        capsys, 3, "plot", "lenet5", "curves"
    )
