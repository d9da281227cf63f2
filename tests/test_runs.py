"""A run keeps what is needed to repeat it, and damage to its folder is told, not guessed around."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import classicnets
from classicnets import History, run_folder, runs
from classicnets.cli import main
from classicnets.errors import (
    CheckpointMismatchError,
    ConfigError,
    DataError,
    StorageError,
    WeightsError,
)
from classicnets.recipes import Recipe
from classicnets.runs import Run, open_run, train

FILES = {
    "checkpoints",
    "confusion.png",
    "curves.png",
    "history.csv",
    "metrics.json",
    "model.safetensors",
    "predictions.png",
    "steps.csv",
}


@pytest.fixture
def copied(digits_run: Run, tmp_path: Path) -> Path:
    """A copy of the run's folder, free to be damaged."""
    return Path(shutil.copytree(digits_run.path, tmp_path / "copy"))


def change(folder: Path, *keys: str, value: Any) -> None:
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text("utf-8"))
    place = metrics
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(metrics), "utf-8")


def test_a_run_leaves_exactly_its_files(digits_run: Run) -> None:
    assert {path.name for path in digits_run.path.iterdir()} == FILES


def test_metrics_hold_everything_to_repeat_the_run(digits_run: Run) -> None:
    metrics = json.loads((digits_run.path / "metrics.json").read_text("utf-8"))
    assert metrics["format"] == 1
    assert metrics["classicnets"] == classicnets.__version__
    assert metrics["net"]["name"] == "lenet5"
    assert metrics["net"]["options"]["activation"] == "tanh"
    assert metrics["data"]["name"] == "digits"
    assert metrics["data"]["options"]["image_size"] == 32
    assert metrics["preparation"] == digits_run.data().preparation.to_dict()
    assert metrics["classes"] == list("0123456789")
    assert metrics["fit"]["epochs"] == 3
    assert metrics["seed"] == 0
    assert metrics["command"] == ["classicnets", "train", "lenet5"]
    assert metrics["versions"]["torch"] == version("torch")
    assert metrics["machine"]["cpus"] >= 1
    test = metrics["result"]["test"]
    assert test["count"] == 360
    assert test["interval"][0] <= test["accuracy"] <= test["interval"][1]
    assert metrics["result"]["best_epoch"] in (1, 2, 3)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    def weights(seed: int, name: str) -> torch.Tensor:
        run = train("lenet1", epochs=1, seed=seed, out=tmp_path / name, progress=False)
        return torch.cat([p.detach().flatten() for p in run.model.parameters()])

    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    first = weights(1, "a")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(weights(1, "b"), first)
    assert not torch.equal(weights(2, "c"), first)


def test_a_run_read_back_is_the_run(digits_run: Run) -> None:
    opened = open_run(digits_run.path)
    assert opened.metrics == json.loads(json.dumps(digits_run.metrics))
    assert opened.history == digits_run.history
    assert opened.classes == digits_run.classes
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(opened.model.eval()(images), digits_run.model.eval()(images))
    assert opened.model.preparation == digits_run.model.preparation


def test_the_data_of_a_run_are_those_it_was_trained_on(digits_run: Run) -> None:
    data = open_run(digits_run.path).data()
    assert data.test.settings == digits_run.data().test.settings
    accuracy = classicnets.evaluate(digits_run.model, data.test).accuracy
    assert accuracy == digits_run.metrics["result"]["test"]["accuracy"]


def test_the_pictures_can_be_opened(digits_run: Run) -> None:
    for kind in runs.PICTURES:
        with Image.open(digits_run.path / f"{kind}.png") as picture:
            picture.verify()


def test_draw_names_the_pictures_there_are(digits_run: Run) -> None:
    with pytest.raises(ConfigError, match="'heatmap'; the pictures are curves, confusion, pred"):
        digits_run.draw("heatmap")


def test_folders_are_numbered_from_the_highest_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lenet1-digits-7", "lenet1-digits-x", "lenet5-digits-9"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    run = train("lenet1", epochs=1, progress=False)
    assert run.path == Path("runs", "lenet1-digits-8")


def test_runs_that_start_together_get_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: run_folder.claim_folder(None, "net-data", {}), range(50)))
    assert len(set(folders)) == 50


def test_of_two_runs_into_one_folder_one_is_refused(tmp_path: Path) -> None:
    run_folder.claim_folder(tmp_path, "net-data", {})
    with pytest.raises(StorageError, match=r"holds a run already; choose another folder"):
        run_folder.claim_folder(tmp_path, "net-data", {})


def test_a_file_where_the_folder_should_be_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StorageError, match="file"):
            train("lenet1", epochs=1, out=out, progress=False)


def test_wrong_arguments_leave_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="'cifar', which is no folder; the data sets"):
        train("lenet5", data="cifar")
    with pytest.raises(ConfigError, match="name of augment is 'bend'; the names are affine, dist"):
        train("lenet5", data_options={"augment": {"name": "bend"}})
    with pytest.raises(ConfigError, match="activation"):
        train("lenet5", net_options={"activation": "swish"})
    with pytest.raises(ConfigError, match="batch_size"):
        train("lenet5", batch_size=0)
    with pytest.raises(ConfigError, match="epochs"):
        train("lenet5", epochs=0)
    assert not list(tmp_path.glob("runs/*"))


@pytest.fixture
def rich_recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe for LeNet-1 on digits that uses all that a recipe can say."""
    recipe = Recipe(
        net="lenet1",
        data="digits",
        name="rich",
        preparation={"image_size": 28, "digit_size": 16},
        augment={"rotation": 5.0},
        epochs=2,
        batch_size=64,
        optimizer="sgd",
        optimizer_options={"momentum": 0.5},
        lr=0.01,
        schedule=None,
        label_smoothing=0.1,
        seed=7,
    )
    monkeypatch.setattr("classicnets.recipes._RECIPES", (recipe,))
    return recipe


def test_a_run_of_a_rich_recipe_goes_on_to_the_bits_it_would_have_reached(
    rich_recipe: Recipe, tmp_path: Path
) -> None:
    whole = train("lenet1", recipe="rich", epochs=3, out=tmp_path / "whole", progress=False)
    train("lenet1", recipe="rich", out=tmp_path / "part", progress=False)
    resumed = runs.resume(tmp_path / "part", epochs=3, progress=False)
    assert resumed.history.step_losses == whole.history.step_losses
    weights = zip(resumed.model.parameters(), whole.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_a_run_records_its_recipe_in_full(rich_recipe: Recipe, tmp_path: Path) -> None:
    metrics = train("lenet1", recipe="rich", out=tmp_path / "run", progress=False).metrics
    assert metrics == {**json.loads(json.dumps(metrics)), "result": metrics["result"]}
    assert metrics["recipe"] == "rich"
    assert metrics["seed"] == 7
    assert metrics["data"]["options"]["augment"] == {"rotation": 5.0}
    assert metrics["fit"]["label_smoothing"] == 0.1
    assert metrics["fit"]["optimizer_options"] == {"momentum": 0.5}
    settings = open_run(tmp_path / "run").data().train.settings
    assert settings["augment"] == repr(classicnets.data.Affine(rotation=5.0))


def test_data_that_are_not_fetched_need_a_root() -> None:
    with pytest.raises(ConfigError, match="root is None, and cats_vs_dogs is not fetched; name"):
        train("lenet_catdog", recipe="tutorial")


def test_a_run_that_did_not_finish_is_told(copied: Path) -> None:
    change(copied, "result", value=None)
    with pytest.raises(DataError, match="did not finish"):
        open_run(copied)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no metrics\.json"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\x00", "[" * 100_000])
def test_metrics_that_cannot_be_read_are_told(text: str, copied: Path) -> None:
    (copied / "metrics.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"metrics\.json"):
        open_run(copied)


@pytest.mark.parametrize("key", ["net", "data", "preparation", "classes", "fit", "result"])
@pytest.mark.parametrize("value", [7, "x", [1], {"name": 1}], ids=str)
def test_metrics_of_a_wrong_kind_are_told(key: str, value: object, copied: Path) -> None:
    change(copied, key, value=value)
    with pytest.raises((DataError, ConfigError), match=key):
        open_run(copied)


def test_metrics_of_a_later_format_are_told(copied: Path) -> None:
    change(copied, "format", value=2)
    with pytest.raises(CheckpointMismatchError, match="format 2, this classicnets reads 1"):
        open_run(copied)


def test_weights_of_another_net_are_refused(copied: Path) -> None:
    change(copied, "net", value={"name": "lenet1", "options": {}})
    with pytest.raises(CheckpointMismatchError):
        open_run(copied)


def test_an_unknown_net_or_option_is_told(copied: Path) -> None:
    change(copied, "net", "options", "pooling", value="median")
    with pytest.raises(ConfigError, match="pooling"):
        open_run(copied)
    change(copied, "net", "options", value={"colour": "red"})
    with pytest.raises(ConfigError, match="colour"):
        open_run(copied)
    change(copied, "net", "name", value="lenet7")
    with pytest.raises(ConfigError, match="lenet7"):
        open_run(copied)


def test_missing_weights_are_told(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        open_run(copied)


@pytest.mark.parametrize("name", ["history.csv", "steps.csv"])
def test_a_damaged_history_is_told(name: str, copied: Path) -> None:
    (copied / name).write_text("epoch,loss\n1,x\n", "utf-8")
    with pytest.raises(DataError, match="history"):
        open_run(copied)
    (copied / name).unlink()
    with pytest.raises(DataError, match="history"):
        open_run(copied)


def test_data_named_by_a_run_are_a_data_set_and_nothing_else(copied: Path) -> None:
    change(copied, "data", "name", value="TensorLoader")
    with pytest.raises(ConfigError, match="data is 'TensorLoader'; it is a folder of pictures or"):
        open_run(copied).data()


def test_the_curves_of_one_epoch_show_its_steps_again(tmp_path: Path) -> None:
    train("lenet1", epochs=1, out=tmp_path / "run", progress=False)
    (axes,) = open_run(tmp_path / "run").draw("curves").axes
    assert axes.get_xlabel() == "step"


def test_history_csv_is_the_history(digits_run: Run) -> None:
    assert History.from_csv(digits_run.path / "history.csv").epochs == digits_run.history.epochs


def test_a_folder_with_checkpoints_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "precious").write_text("mine")
    with pytest.raises(StorageError, match="holds a folder 'checkpoints' already"):
        train("lenet5", out=tmp_path, epochs=0, progress=False)
    assert (tmp_path / "checkpoints" / "precious").read_text() == "mine"
    assert not (tmp_path / "metrics.json").exists()


def test_another_number_of_classes_than_the_data_have_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_classes is 20, but digits has 10 classes"):
        train("lenet5", net_options={"num_classes": 20}, out=tmp_path / "run", progress=False)


def test_more_epochs_asked_of_a_resumed_run_are_remembered(copied: Path) -> None:
    from classicnets.runs import resume

    assert resume(copied, epochs=4, progress=False).metrics["fit"]["epochs"] == 4
    assert json.loads((copied / "metrics.json").read_text("utf-8"))["fit"]["epochs"] == 4


def test_fewer_epochs_than_a_finished_run_has_had_are_refused(copied: Path) -> None:
    from classicnets.runs import resume

    before = (copied / "metrics.json").read_bytes()
    with pytest.raises(ConfigError, match="epochs is 2; this run has had 3 already: give more"):
        resume(copied, epochs=2, progress=False)
    assert (copied / "metrics.json").read_bytes() == before


def test_a_run_that_had_finished_says_so_when_it_is_resumed(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(copied), "-q"]) == 0
    assert "this run had finished already; --epochs N goes on with it" in capsys.readouterr().err
