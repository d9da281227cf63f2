"""The command about a folder of pictures: doctor."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classicnets.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six sound pictures, one copy, one empty file."""
    for number in range(6):
        path = tmp_path / ("ants" if number % 2 else "bees") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (tmp_path / "ants" / "copy.png").write_bytes((tmp_path / "ants" / "1.png").read_bytes())
    (tmp_path / "bees" / "red\x1b[31m.png").touch()
    return tmp_path


def test_doctor_names_what_to_leave_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(folder)]) == 3
    text = capsys.readouterr().out
    assert "exact duplicate  ants/copy.png" in text
    assert "bees/red\\x1b[31m.png" in text
    assert "4 ants, 4 bees; 2 to leave out, 0 left out" in text
    assert not (folder / "exclude.json").exists()


def test_doctor_fixes_and_is_then_content(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert main(["doctor", str(folder), "--fix"]) == 0
    assert str(folder / "exclude.json") in capsys.readouterr().out
    assert sorted(folder.rglob("*")) == sorted([*before, folder / "exclude.json"])
    assert main(["doctor", str(folder)]) == 0
    assert "0 to leave out, 2 left out" in capsys.readouterr().out


def test_doctor_gives_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(folder), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert set(report["exclude"]) == {"ants/copy.png", "bees/red\x1b[31m.png"}
    assert report["classes"] == {"ants": 4, "bees": 4}
    assert report["written"] is None


def test_doctor_is_not_content_with_a_class_of_no_pictures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cats").mkdir()
    assert main(["doctor", str(folder), "--fix"]) == 3
    assert "classes without pictures: cats; add some, or remove them" in capsys.readouterr().out


def test_doctor_of_no_folder_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "nowhere"]) == 3
    assert "there is no folder 'nowhere'; check the path" in capsys.readouterr().err
