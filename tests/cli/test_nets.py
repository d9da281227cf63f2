"""The commands about nets: list, info, summary, size."""

import json

import pytest

from classicnets import create_model, list_models, model_card
from classicnets.cli import main
from classicnets.cli.nets import CARDS


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", list_models())
def test_list_tells_the_truth_about_a_net(name: str) -> None:
    model = create_model(name, **({"num_classes": 1000} if name.startswith("alexnet") else {}))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert CARDS[name].input_shape == model.input_shape
    assert CARDS[name].parameters == trainable


def test_list_names_every_net(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "list")
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(CARDS)
    assert set(CARDS) == set(list_models())


def test_list_gives_json(capsys: pytest.CaptureFixture[str]) -> None:
    nets = {net["name"]: net for net in json.loads(run(capsys, "list", "--json"))}
    assert nets["lenet5"]["input_shape"] == [1, 32, 32]
    assert nets["lenet5"]["parameters"] == 61706


def test_info_gives_the_differences_from_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "info", "lenet5_paper")
    assert "LeNet5Paper" in text
    assert "Differences from the paper" in text
    assert "classicnets train lenet5_paper --data digits" in text


def test_info_shows_the_card_of_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(model_card("lenet5")) in run(capsys, "info", "lenet5")
    assert "sha256" not in run(capsys, "info", "alexnet")


def test_info_gives_json(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(run(capsys, "info", "lenet5", "--json"))
    assert facts["class"] == "LeNet5"
    assert facts["options"]["activation"] == "tanh"
    assert facts["weights"]["sha256"] == model_card("lenet5").sha256
    pairs = {(recipe["data"], recipe["name"]) for recipe in facts["recipes"]}
    assert pairs >= {("digits", "quick"), ("mnist", "quick"), ("fashion_mnist", "quick")}


def test_summary_shows_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "summary", "lenet5")
    for layer in ("c1", "s2", "c3", "s4", "c5", "f6", "output", "(32 - 5 + 2*0)/1 + 1 = 28"):
        assert layer in text


def test_summary_takes_options_of_the_net_and_another_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--option", "num_classes=2", "--option", "pooling=max", "--input-shape", "1x35x35")
    rows = json.loads(run(capsys, "summary", "lenet5", *words, "--json"))
    text = json.dumps(rows)
    assert "MaxPool2d" in text
    assert "35 - 5" in text


def test_summary_of_an_input_that_does_not_fit_shows_the_layers_up_to_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["summary", "lenet5", "--input-shape", "1x20x20"]) == 3
    out, err = capsys.readouterr()
    assert "(20 - 5 + 2*0)/1 + 1 = 16" in out
    assert err.count("\n") == 1
    assert "1x32x32" in err


def test_size_shows_the_formula_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "size", "224", "--kernel", "11", "--stride", "4", "--padding", "2")
    assert text == "(224 - 11 + 2*2)/4 + 1 = 55.25 -> 55\n"


def test_size_tells_which_pixels_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "size", "224", "-k", "11", "-s", "4")
    assert text.endswith("pixels that no window reads: 1\n")
    text = run(capsys, "size", "53x52", "-k", "2", "--pool")
    assert text.endswith("pixels that no window reads: 1 rows, 0 columns\n")


def test_size_knows_pools_and_rounding_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "size", "28", "-k", "2", "--pool", "--json"))["output_size"] == 14
    words = ("size", "112", "-k", "3", "-s", "2", "--ceil", "--json")
    assert json.loads(run(capsys, *words))["output_size"] == 56


@pytest.mark.parametrize("size", ["2a4", "", "1x2x3", "-4"])
def test_size_refuses_what_is_no_size(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--kernel", "3", "--", size]) == 2
    assert "write 224, or 224x320 for height and width" in capsys.readouterr().err


def test_an_option_of_a_net_must_have_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet5", "--option", "relu"]) == 2
    assert "--option 'relu' is not KEY=VALUE" in capsys.readouterr().err
