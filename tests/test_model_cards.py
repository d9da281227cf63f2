"""The weights that come with the library are what their cards say."""

import inspect
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

import classicnets
from classicnets import ModelCard, create_model, evaluate, list_models, model_card, model_cards
from classicnets.benchmark import machine
from classicnets.errors import ConfigError, WeightsError
from classicnets.imagenet_weights import IMAGENET
from classicnets.model_cards import cards_from, list_pretrained
from classicnets.recipes import find_recipe

ROOT = Path(__file__).parents[1]
WITHOUT = sorted(set(list_models()) - set(list_pretrained()))


@pytest.mark.parametrize("name", list_pretrained())
def test_the_weights_reach_what_their_card_says_and_elsewhere_within_two_images(
    name: str, mnist_root: Path
) -> None:
    card = model_card(name)
    splits = classicnets.data.mnist(mnist_root, download=False, **card.data_options)
    found = evaluate(create_model(name, pretrained=True), splits.test)
    assert found.count == card.count == 10_000
    same_torch = torch.__version__.partition("+")[0] == card.versions["torch"].partition("+")[0]
    same = same_torch and card.machine.startswith(f"{machine()['processor']},")
    assert abs(found.accuracy - card.accuracy) * card.count <= (0.001 if same else 2.001)
    assert splits.preparation == card.preparation
    assert splits.classes == card.classes


@pytest.mark.parametrize("name", list_pretrained())
def test_a_card_names_a_recipe_there_is_and_the_best_of_its_seeds(name: str) -> None:
    card = model_card(name)
    assert find_recipe(card.name, card.data, card.recipe).net == name
    ranks = {
        seed: (reached["validation"], -reached["validation loss"])
        for seed, reached in card.seeds.items()
    }
    if card.fit.get("monitor") == "loss":
        ranks = {seed: rank[::-1] for seed, rank in ranks.items()}
    assert str(card.seed) == max(ranks, key=ranks.__getitem__)
    assert card.seeds[str(card.seed)]["test"] == pytest.approx(card.accuracy)
    assert card.interval[0] < card.accuracy < card.interval[1]


@pytest.mark.parametrize("name", list_pretrained())
def test_the_weights_need_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "socket", refuse)
    net = create_model(name, pretrained=True)
    assert not net.training
    assert net.preparation == model_card(name).preparation
    assert net.options == model_card(name).net_options


def test_all_weights_together_are_below_6_megabytes() -> None:
    folder = Path(model_cards.__file__).with_name("weights")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
    stems = {path.stem for path in folder.iterdir()}
    assert stems == {*list_pretrained(), "cards"}


def test_transform_prepares_a_picture_as_the_data_were() -> None:
    card = model_card("lenet5")
    picture = Image.new("L", (28, 28))
    assert torch.equal(card.transform(picture), card.preparation(picture))


def test_a_card_goes_to_json_and_back() -> None:
    card = model_card("lenet5")
    assert model_cards._card(json.loads(json.dumps(card.to_dict()))) == card


def test_a_card_prints_what_a_reader_asks_first() -> None:
    text = str(model_card("lenet5"))
    for word in ("accuracy", "% (95 % interval", "10,000 test images of mnist", "MIT", "seed"):
        assert word in text


@pytest.mark.parametrize("name", WITHOUT)
def test_a_net_without_weights_names_those_that_have_them(name: str) -> None:
    message = rf"name is '{name}', of which no weights come .* lenet5.*: classicnets train {name}$"
    with pytest.raises(ConfigError, match=message):
        model_card(name)
    if name not in IMAGENET:
        with pytest.raises(ConfigError, match=message):
            create_model(name, pretrained=True)


def test_what_is_no_net_at_all_is_not_to_be_trained() -> None:
    with pytest.raises(ConfigError, match=r"name is 'lenet6', .* lenet5, .*, sequential_cnn$"):
        model_card("lenet6")


def test_weights_with_other_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"activation is 'relu', but the weights of lenet5 were "):
        create_model("lenet5", pretrained=True, activation="relu")
    assert create_model("lenet5", pretrained=True, activation="tanh").options["num_classes"] == 10


def test_weights_whose_sha256_is_another_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = bytearray(model_card("lenet5").path.read_bytes())
    damaged[-1] ^= 1
    monkeypatch.setattr(model_cards, "_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="cannot read the weights of lenet5: .* install classic"):
        create_model("lenet5", pretrained=True)
    (tmp_path / "lenet5.safetensors").write_bytes(damaged)
    with pytest.raises(WeightsError, match="has SHA-256 .* its card says .* install classicnets"):
        create_model("lenet5", pretrained=True)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"name": "lenet5"}]'])
def test_damaged_cards_are_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "cards.json").write_text(text, "utf-8")
    if text == "{}":
        assert cards_from(tmp_path) == {}
        return
    with pytest.raises(WeightsError, match=r"cards\.json.* cannot be read .*; install classicnets"):
        cards_from(tmp_path)


def test_every_attribute_of_a_card_is_documented() -> None:
    text = inspect.getdoc(ModelCard) or ""
    for name in ModelCard.__dataclass_fields__:
        assert f"    {name}: " in text


@pytest.fixture
def build_weights(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    load_benchmark("reproduction")  # which it imports
    return load_benchmark("build_weights")


def test_the_build_keeps_the_seed_that_is_best_by_validation(
    build_weights: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    recipe = replace(find_recipe("lenet1", "digits"), epochs=2)
    monkeypatch.setattr("classicnets.recipes._RECIPES", [recipe])
    row = replace(build_weights.ROWS["modern-lenet1"], recipe=recipe, seeds=(0, 1))
    monkeypatch.setitem(build_weights.ROWS, "modern-lenet1", row)
    card = build_weights.build("lenet1", tmp_path / "runs", None, weights)
    assert len(card.seeds) == 2
    assert cards_from(weights)["lenet1"].sha256 == card.sha256
    assert (weights / "lenet1.safetensors").exists()
    again = build_weights.build("lenet1", tmp_path / "runs", None, weights)
    assert again.sha256 == card.sha256
