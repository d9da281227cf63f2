"""A run on a folder of pictures: trained, resumed, evaluated, asked and drawn."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import classicnets
from classicnets import create_model, list_models, recipes, run_data, runs
from classicnets.cli import main
from classicnets.errors import ConfigError, DataError, DeviceError
from classicnets.run_plots import KINDS
from classicnets.runs import Run, open_run, train

SMALL = {"num_workers": 0}


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def draw(root: Path, names: tuple[str, str] = ("dark/{}.png", "light/{}.png")) -> Path:
    """Twenty noisy pictures of each of two brightnesses."""
    random = np.random.default_rng(0)
    for name, level in zip(names, (50, 180), strict=True):
        for number in range(1, 21):
            path = root / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(level, level + 60, (36, 44, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet-5 on a folder of pictures, some epochs long; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("pictures")
    root = draw(folder / "data")
    return train("lenet5", data=str(root), epochs=6, out=folder / "run", progress=False)


def test_a_folder_of_pictures_can_be_given_for_the_data(run: Run) -> None:
    data = run.metrics["data"]
    assert data["name"] == "image_folder"
    assert Path(data["root"]).name == "data"
    assert run.metrics["classes"] == ["dark", "light"]
    assert run.metrics["net"]["options"]["num_classes"] == 2
    assert run.metrics["preparation"]["shorter_side"] == 37
    assert data["options"]["split"] == [0.8, 0.1, 0.1]
    assert set(data["files"]) == {"train", "val", "test"}
    assert run.metrics["result"]["test"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("Cat/{}.png", "Dog/{}.png"), "cats_vs_dogs"),
        (("cats/{}.png", "dogs/{}.png"), "cats_vs_dogs"),
        (("PetImages/Cat/{}.png", "PetImages/Dog/{}.png"), "cats_vs_dogs"),
        (("cat.{}.png", "dog.{}.png"), "cats_vs_dogs"),
        (("train/cat.{}.png", "train/dog.{}.png"), "cats_vs_dogs"),
        (("cats/{}.png", "birds/{}.png"), "image_folder"),
    ],
)
def test_a_folder_of_cats_and_dogs_is_known_by_its_form(
    names: tuple[str, str], kind: str, tmp_path: Path
) -> None:
    assert run_data.place_of(str(draw(tmp_path, names)), None) == (kind, str(tmp_path))


def test_a_data_set_goes_before_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "digits")
    assert run_data.place_of("digits", None) == ("digits", None)
    assert run_data.place_of("./digits", None) == ("image_folder", "./digits")


def test_a_folder_and_a_root_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="which is a folder, and root is 'there'; give the folder"
    ):
        run_data.place_of(str(tmp_path), "there")


@pytest.mark.parametrize(
    "options",
    [{"split": ["0.5", "0.25", "0.25"]}, {"max_skipped": "abc"}, {"augment": [1]}],
    ids=str,
)
def test_an_option_that_cannot_work_is_told_before_any_file_is_read(
    options: dict[str, Any], tmp_path: Path
) -> None:
    root = draw(tmp_path)
    next(root.rglob("*.png")).write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=f"^{next(iter(options))} is "):
        run_data.load_data("image_folder", options, root)
    with pytest.raises(DeviceError, match="device is 'abacus'"):
        classicnets.data.image_folder(root, device="abacus")


def test_every_data_set_of_a_recipe_can_be_loaded() -> None:
    assert {recipe.data for recipe in recipes.list_recipes()} == set(run_data.DATA_SETS)


@pytest.mark.parametrize(
    "net", [net for net in list_models() if recipes.list_recipes(net, "image_folder")]
)
def test_the_recipe_of_each_net_gives_pictures_that_it_takes(net: str, tmp_path: Path) -> None:
    recipe = recipes.find_recipe(net, "image_folder")
    splits = run_data.load_data("image_folder", {**recipe.preparation, **SMALL}, draw(tmp_path))
    images, _ = next(iter(splits.val))
    options = {**recipe.net_options, "num_classes": 2}
    if net == "alexnet":
        assert create_model(net, **options).options["hidden"] == [4096, 512]
        options["hidden"] = (8, 8)
    with torch.inference_mode():
        assert create_model(net, **options)(images).shape == (len(images), 2)


def test_a_net_for_other_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'lenet1', which takes pictures of 1x28x28: there is no"):
        train("lenet1", data=str(draw(tmp_path)), progress=False)


def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match=r"data is 'no/such', which is no folder; the data sets"):
        train("lenet5", data="no/such", progress=False)


def test_an_option_that_the_data_do_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'colour' is no option of data\.image_folder; those ar"):
        train("lenet5", data=str(draw(tmp_path)), data_options={"colour": 1}, progress=False)


def test_a_part_that_the_split_does_not_have_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"split": {"train": (1, 15), "test": (16, 20)}, **SMALL}
    root, out = draw(tmp_path / "data"), tmp_path / "run"
    train("lenet5", data=str(root), data_options=options, epochs=1, out=out, progress=False)
    assert main(["evaluate", str(out), "--part", "val"]) == 3
    assert "part is val, and the split of this run has none" in capsys.readouterr().err


def test_options_of_the_data_are_kept_with_the_run(tmp_path: Path) -> None:
    split = {"train": (1, 10), "val": (11, 15), "test": (16, 20)}
    run = train(
        "lenet5",
        data=str(draw(tmp_path / "data")),
        data_options={"split": split, **SMALL},
        epochs=1,
        out=tmp_path / "run",
        progress=False,
    )
    assert run.metrics["result"]["test"]["count"] == 10
    assert open_run(run.path).data().train.num_images == 20


def test_a_picture_run_goes_on_to_the_bits_it_would_have_reached(run: Run, tmp_path: Path) -> None:
    root = run.metrics["data"]["root"]
    train("lenet5", data=root, epochs=3, out=tmp_path / "part", progress=False)
    resumed = runs.resume(tmp_path / "part", epochs=6, progress=False)
    assert len(resumed.history.epochs) == 6
    part = train("lenet5", data=root, epochs=6, out=tmp_path / "whole", progress=False)
    assert part.history.step_losses == run.history.step_losses


def test_evaluate_repeats_the_result_of_a_picture_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(call(capsys, "evaluate", run.path, "--json"))
    assert found["classes"] == ["dark", "light"]
    assert found["accuracy"] == run.metrics["result"]["test"]["accuracy"]
    lines = call(capsys, "evaluate", run.path).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["dark", "light"]


@pytest.fixture
def moved(run: Run, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the run and of its pictures, where it finds them."""
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    root = Path(shutil.copytree(run.metrics["data"]["root"], tmp_path / "data"))
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    metrics["data"]["root"] = str(root)
    (folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    return folder, root


def test_pictures_that_changed_since_the_run_are_told_unless_taken_as_they_are(
    moved: tuple[Path, Path],
) -> None:
    folder, root = moved
    shutil.copy(root / "dark" / "1.png", root / "dark" / "0.png")
    opened = open_run(folder)
    with pytest.raises(DataError, match=r"not those that the run was trained on, .* --root "):
        opened.data()
    assert opened.data(root=root).test.num_images == 4


def test_a_folder_of_other_classes_is_refused(run: Run, tmp_path: Path) -> None:
    other = draw(tmp_path, ("dawn/{}.png", "light/{}.png"))
    with pytest.raises(DataError, match="has the classes dawn, light, the run was trained on dark"):
        run.data(root=other)


def test_predict_writes_a_row_for_each_picture_below_a_folder(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(run.metrics["data"]["root"])
    output = tmp_path / "predictions.csv"
    assert call(capsys, "predict", run.path, root, "-o", output) == ""
    rows = list(csv.DictReader(io.StringIO(output.read_text("utf-8"))))
    assert list(rows[0]) == ["id", "path", "label", "probability_dark", "probability_light"]
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 41)]
    assert rows[0]["path"] == str(root / "dark" / "1.png")
    assert all(row["label"] == Path(row["path"]).parent.name for row in rows)
    for row in rows:
        shares = float(row["probability_dark"]), float(row["probability_light"])
        assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_predictions_hold_nothing_that_a_spreadsheet_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40)).save("=cmd('x').png")
    text = call(capsys, "predict", run.path, "=cmd('x').png")
    assert "\n1,'=cmd('x').png," in text


def test_predict_and_evaluation_see_a_picture_alike(run: Run) -> None:
    from classicnets import predict

    test = run.data().test
    images = torch.cat([images for images, _ in test])
    paths = sorted(Path(run.metrics["data"]["root"]).rglob("*.png"))
    answers = predict(run.model, paths).probabilities
    for expected in predict(run.model, images).probabilities:
        assert (answers - expected).abs().amax(1).min() < 1e-4


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("connections", "response_norm")]
)
def test_plot_draws_each_kind_of_a_picture_run(
    kind: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "plot", run.path, kind, "-o", tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as drawn:
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 20


def test_plot_takes_a_photograph(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = next(Path(run.metrics["data"]["root"]).rglob("*.png"))
    call(capsys, "plot", run.path, "activations", photo, "-o", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_train_on_a_folder_tells_what_to_try_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "pets", ("Cat/{}.png", "Dog/{}.png"))
    words = ("--epochs", "1", "--data-option", "num_workers=0", "--quiet")
    text = call(capsys, "train", "sequential_cnn", "--data", "pets", *words)
    folder = Path("runs", "sequential_cnn-cats_vs_dogs-1")
    assert f"classicnets predict {folder} a-picture-of-yours.jpg" in text
    assert json.loads((folder / "metrics.json").read_text("utf-8"))["classes"] == ["cat", "dog"]
    assert main(["train", "lenet5", "--data-option", "split"]) == 2
    assert "--data-option 'split' is not KEY=VALUE, such as split=" in capsys.readouterr().err


def test_a_bad_picture_ends_the_command_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw(tmp_path / "data")
    (root / "dark" / "7.png").write_bytes(b"")
    words = ("train", "lenet5", "--data", str(root), "--quiet", "--epochs", "1")
    assert main([*words, "--out", str(tmp_path / "a")]) == 3
    assert "dark/7.png" in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"1 files of .* are skipped:\n.*dark/7\.png"):
        call(capsys, *words, "--out", tmp_path / "b", "--data-option", "on_bad=skip")
