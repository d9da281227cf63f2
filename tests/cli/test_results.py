"""The commands about a run: train, evaluate, predict, plot."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from sklearn.datasets import load_digits

from classicnets import create_model, model_card, predict
from classicnets.cli import main
from classicnets.runs import Run, open_run


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """The last digit of the test part, an 8."""
    pixels = np.rint(load_digits().images[-1] * 255 / 16).astype(np.uint8)
    path = tmp_path / "eight.png"
    Image.fromarray(pixels).save(path)
    return path


def test_train_tells_accuracy_interval_folder_and_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = call(capsys, "train", "lenet5", "--epochs", "1", "--batch-size", "128", "--quiet")
    assert "test accuracy " in text
    assert "95 % interval" in text
    assert "360 images" in text
    folder = Path("runs", "lenet5-digits-1")
    assert str(folder) in text
    assert f"classicnets evaluate {folder}" in text
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["fit"]["epochs"] == 1
    assert metrics["data"]["options"]["batch_size"] == 128


def test_train_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--epochs", "1", "--option", "pooling=max", "--seed", "3", "--json", "--quiet")
    result = json.loads(call(capsys, "train", "lenet5", *words, "--out", tmp_path / "run"))
    assert result["run"] == str(tmp_path / "run")
    assert result["net"]["options"]["pooling"] == "max"
    assert result["seed"] == 3
    assert 0 <= result["result"]["test"]["accuracy"] <= 1


def test_train_refuses_a_folder_that_holds_a_run(
    digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (digits_run.path / "metrics.json").read_bytes()
    assert main(["train", "lenet5", "--out", str(digits_run.path)]) == 5
    assert "holds a run already; choose another folder" in capsys.readouterr().err
    assert (digits_run.path / "metrics.json").read_bytes() == before


def test_evaluate_repeats_the_result_of_the_run(
    digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads(call(capsys, "evaluate", digits_run.path, "--json"))
    test = digits_run.metrics["result"]["test"]
    assert result["accuracy"] == test["accuracy"]
    assert result["loss"] == pytest.approx(test["loss"], rel=1e-5)
    assert result["count"] == 360
    assert np.array(result["confusion"]).shape == (10, 10)


def test_evaluate_shows_each_class_to_people(
    digits_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = call(capsys, "evaluate", digits_run.path, "--part", "val").splitlines()
    assert lines[0].startswith("val: accuracy ")
    assert lines[1].split() == ["class", "images", "right"]
    assert [line.split()[0] for line in lines[2:]] == list("0123456789")


def test_predict_writes_a_row_a_picture(
    digits_run: Run, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = call(capsys, "predict", digits_run.path, picture, picture)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["1", "2"]
    assert rows[0]["path"] == str(picture)
    shares = {name: float(rows[0][f"probability_{name}"]) for name in "0123456789"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert max(shares, key=shares.__getitem__) == rows[0]["label"]


def test_predict_warns_of_a_digit_that_is_dark_on_light(
    digits_run: Run, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(picture) as image:
        ImageOps.invert(image.convert("L")).save(tmp_path / "paper.png")
    assert main(["predict", str(digits_run.path), str(picture), str(tmp_path / "paper.png")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "paper.png: warning: it looks dark on light, and this net has learnt light on dark"
    )


def test_predict_prepares_a_picture_as_the_data_set_does(
    digits_run: Run, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = json.loads(call(capsys, "predict", digits_run.path, picture, "--json"))
    *_, (images, _) = digits_run.data().test
    expected = predict(digits_run.model, images[-1:]).probabilities[0].tolist()
    assert list(row["probabilities"].values()) == pytest.approx(expected, abs=1e-5)


def test_evaluate_takes_a_net_whose_weights_come_with_the_library(
    mnist_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = call(capsys, "evaluate", "lenet5", "--root", mnist_root, "--no-download", "--json")
    found = json.loads(text)
    assert found["accuracy"] == pytest.approx(model_card("lenet5").accuracy, abs=0.00021)


def test_a_run_in_a_folder_named_like_a_net_goes_before_its_weights(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_run("lenet5").metrics["data"]["name"] == "mnist"
    shutil.copytree(digits_run.path, "lenet5")
    assert open_run("lenet5").metrics["data"]["name"] == "digits"


def test_a_net_without_weights_names_those_that_have_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", "alexnet", "a.png"]) == 3
    assert "of which no weights come" in capsys.readouterr().err


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A one in dark ink on grey paper, off the middle."""
    page = Image.new("L", (300, 200), 200)
    ImageDraw.Draw(page).line([(60, 40), (50, 130)], 30, 12)
    page.save(tmp_path / "one.jpg")
    return tmp_path / "one.jpg"


def test_predict_finds_the_digit_in_a_photograph_and_says_what_it_saw(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "lenet5", str(photo)]) == 0
    out, err = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["label"] == "1"
    assert err.startswith(f"{photo}: dark on light, inverted (background 200); digit at ")


def test_predict_warns_of_a_page_without_ink(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (300, 200), 200).save(tmp_path / "empty.png")
    assert main(["predict", "lenet5", str(tmp_path / "empty.png")]) == 0
    assert "empty.png: warning: no ink found" in capsys.readouterr().err


def test_predict_tells_programs_what_it_saw(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = json.loads(call(capsys, "predict", "lenet5", photo, "--json"))
    assert row["label"] == "1"
    assert row["seen"]["inverted"] is True
    assert set(row["seen"]) == {"box", "inverted", "background", "notes", "warnings"}


def test_predict_as_is_searches_for_no_digit(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "lenet5", str(photo), "--as-is", "--json"]) == 0
    out, err = capsys.readouterr()
    assert not err
    (row,) = json.loads(out)
    assert "seen" not in row
    plain = predict(create_model("lenet5", pretrained=True), photo).probabilities[0].tolist()
    assert list(row["probabilities"].values()) == pytest.approx(plain, abs=1e-6)


def test_predict_shows_what_the_net_was_given(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "predict", "lenet5", photo, "--show", tmp_path / "seen.png")
    with Image.open(tmp_path / "seen.png") as drawn:
        assert drawn.width == 800


def test_predict_shows_nothing_where_nothing_is_searched(
    digits_run: Run, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([str(digits_run.path)], ["lenet5", "--as-is"]):
        assert main(["predict", *words, str(photo), "--show", "seen.png"]) == 2
        assert "--show is for nets of MNIST" in capsys.readouterr().err


def test_predict_takes_a_folder_and_writes_a_file_that_no_spreadsheet_runs(
    digits_run: Run, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "=scans"
    folder.mkdir()
    shutil.copy(picture, folder / "b.png")
    shutil.copy(picture, folder / "a.PNG")
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(digits_run.path), "=scans", "-o", "out.csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text("utf-8"))))
    names = [str(Path("=scans", name)) for name in ("a.PNG", "b.png")]
    assert [row["path"] for row in rows] == [f"'{name}" for name in names]


def test_predict_names_the_file_that_is_no_picture(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.png").write_text("<html>")
    assert main(["predict", str(digits_run.path), str(tmp_path / "page.png")]) == 3
    assert "page.png" in capsys.readouterr().err
    assert main(["predict", str(digits_run.path), str(tmp_path / "none.png")]) == 3
    assert "none.png" in capsys.readouterr().err


def test_predict_of_a_folder_leaves_out_what_the_doctor_did(
    digits_run: Run, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(picture, tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("<html>")
    assert main(["predict", str(digits_run.path), str(tmp_path)]) == 3
    (tmp_path / "exclude.json").write_text('{"bad.png": "not a picture"}')
    assert main(["predict", str(digits_run.path), str(tmp_path)]) == 0
    assert "good.png" in capsys.readouterr().out


def test_predict_says_when_a_folder_holds_no_picture(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(digits_run.path), str(tmp_path)]) == 3
    assert "holds no picture" in capsys.readouterr().err


def test_predict_says_when_it_cannot_write(
    digits_run: Run, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "missing" / "out.csv"
    assert main(["predict", str(digits_run.path), str(picture), "-o", str(output)]) == 5
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["curves", "confusion", "predictions"])
def test_plot_draws_each_picture(
    kind: str, digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "picture.png"
    assert call(capsys, "plot", digits_run.path, kind, "-o", output) == f"{output}\n"
    drawn = Image.open(output)
    kept = Image.open(digits_run.path / f"{kind}.png")
    assert drawn.size == kept.size
    assert drawn.tobytes() == kept.tobytes()


def test_plot_names_the_formats_there_are(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plot", str(digits_run.path), "curves", "-o", str(tmp_path / "curves.doc")]
    assert main(words) == 3
    assert "ends in '.doc'; allowed are" in capsys.readouterr().err
    assert not (tmp_path / "curves.doc").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict", "plot"])
def test_a_folder_without_a_run_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"evaluate": [], "predict": ["a.png"], "plot": ["curves"]}[command]
    assert main([command, str(tmp_path / "nowhere"), *more]) == 3
    err = capsys.readouterr().err
    assert "nowhere' is no folder; give a folder that `classicnets train` wrote" in err
