"""Every recipe fits its net, its data and `fit`."""

import dataclasses
import inspect
import json

import pytest
import torch
from torch.nn import functional as F

import classicnets
from classicnets import create_model, evaluate, fit, list_models
from classicnets.errors import ConfigError
from classicnets.recipes import (
    Expected,
    Recipe,
    evaluation_loss,
    find_recipe,
    fit_arguments,
    list_recipes,
)

PICTURE_NETS = {"lenet_catdog", "alexnet", "alexnet_paper"}


def test_every_net_of_grey_digits_has_a_quick_recipe_for_every_set_of_them() -> None:
    grey = ("digits", "mnist", "fashion_mnist")
    pairs = {(recipe.net, recipe.data) for recipe in list_recipes(name="quick")}
    nets = set(list_models()) - PICTURE_NETS
    assert {pair for pair in pairs if pair[1] in grey} == {
        (net, data) for net in nets for data in grey
    }


def test_every_net_of_pictures_has_a_quick_recipe_for_cats_and_dogs_and_for_any_folder() -> None:
    for data in ("cats_vs_dogs", "image_folder"):
        assert {recipe.net for recipe in list_recipes(data=data, name="quick")} >= PICTURE_NETS


@pytest.mark.parametrize("recipe", list_recipes(data="digits"), ids=lambda recipe: recipe.net)
def test_a_recipe_prepares_the_pictures_as_its_net_takes_them(recipe: Recipe) -> None:
    splits = classicnets.data.digits(batch_size=2, **recipe.preparation)
    images, _ = next(iter(splits.train))
    model = create_model(recipe.net, **recipe.net_options)
    assert tuple(images.shape[1:]) == model.input_shape
    assert model(images).shape == (2, 10)


def test_every_quick_recipe_of_a_net_prepares_the_pictures_alike() -> None:
    for recipe in list_recipes(name="quick"):
        if "augment" not in recipe.preparation:  # of grey digits
            assert recipe.preparation == find_recipe(recipe.net).preparation


def test_a_net_of_pictures_is_trained_alike_on_cats_and_dogs_and_on_any_folder() -> None:
    for recipe in list_recipes(data="image_folder", name="quick"):
        twin = find_recipe(recipe.net, "cats_vs_dogs", recipe.name)
        told = {"expected": twin.expected, "note": twin.note}
        assert twin == dataclasses.replace(recipe, data="cats_vs_dogs", **told)


def name_of(recipe: Recipe) -> str:
    return f"{recipe.net}-{recipe.data}-{recipe.name}"


@pytest.mark.parametrize("recipe", list_recipes(), ids=name_of)
def test_fit_and_evaluate_take_what_a_recipe_says(recipe: Recipe) -> None:
    if recipe.net in PICTURE_NETS:  # large
        model: torch.nn.Module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(75, 2))
        images = torch.rand(4, 3, 5, 5)
    else:
        model = create_model(recipe.net, **recipe.net_options)
        images = torch.rand(4, *model.input_shape)
    loader = [(images, torch.tensor([0, 1, 1, 0]))]
    settings = json.loads(json.dumps({**recipe.fit_settings(), "epochs": 1}))
    val = loader if "monitor" in settings else None
    history = fit(model, loader, val_loader=val, progress=False, **fit_arguments(settings))
    assert len(history.epochs) == 1
    assert evaluate(model, loader, loss=evaluation_loss(recipe.loss)).count == 4


def test_a_recipe_with_options_of_its_optimizer_builds_it_with_them() -> None:
    settings = find_recipe("lenet5", name="tutorial").fit_settings()
    optimizer = fit_arguments(settings)["optimizer"]([torch.zeros(1, requires_grad=True)])
    assert (optimizer.defaults["momentum"], optimizer.defaults["lr"]) == (0.0, 0.001)


def test_smoothed_labels_reach_the_loss_and_other_losses_refuse_them() -> None:
    settings = {"loss": "cross_entropy", "label_smoothing": 0.1}
    outputs, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(
        fit_arguments(settings)["loss"](outputs, labels),
        F.cross_entropy(outputs, labels, label_smoothing=0.1),
    )
    with pytest.raises(ConfigError, match="label_smoothing is 0.1 and loss 'mse'; labels are smoo"):
        fit_arguments({**settings, "loss": "mse"})


def test_an_optimizer_that_takes_no_options_here_is_told() -> None:
    settings = {"optimizer": "rmsprop", "lr": 0.1, "optimizer_options": {"alpha": 0.9}}
    with pytest.raises(ConfigError, match="'rmsprop'; those with optimizer_options are adam, adam"):
        fit_arguments(settings)


def test_the_losses_of_tutorials_have_the_function_that_their_nets_end_in() -> None:
    outputs, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    for name, last in (("softmax", lambda x: x.softmax(1)), ("tanh", torch.tanh)):
        loss = evaluation_loss(f"cross_entropy_of_{name}")
        assert torch.equal(loss(outputs, labels), F.cross_entropy(last(outputs), labels))


def test_what_a_recipe_does_not_use_is_not_in_its_settings() -> None:
    assert set(find_recipe("lenet5").fit_settings()) == {
        "epochs",
        "optimizer",
        "lr",
        "schedule",
        "loss",
    }
    modern = find_recipe("lenet5", name="modern").fit_settings()
    assert modern["label_smoothing"] == 0.05
    assert modern["average"] == 0.999


def test_no_two_recipes_bear_the_same_name() -> None:
    names = [name_of(recipe) for recipe in list_recipes()]
    assert len(set(names)) == len(names)


def test_the_net_of_every_recipe_can_be_built() -> None:
    for recipe in list_recipes():
        with torch.device("meta"):
            create_model(recipe.net, **recipe.net_options)


def test_the_ranges_of_every_recipe_make_an_augmentation() -> None:
    for recipe in (*list_recipes(name="modern"), *list_recipes(name="fast")):
        assert classicnets.data.Affine(**recipe.augment).draws == 5


def test_a_recipe_other_than_the_quick_one_is_found_by_name() -> None:
    assert find_recipe("lenet5", name="modern").data == "mnist"
    assert find_recipe("alexnet", name="tutorial").net_options["hidden"] == (4096, 512)


def test_find_recipe_names_the_recipes_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"recipe is 'best'; .* quick on digits, .* fast on mnist"
    ):
        find_recipe("lenet5", name="best")
    with pytest.raises(ConfigError, match="recipe is 'modern' on digits; those of lenet5 are"):
        find_recipe("lenet5", "digits", "modern")
    with pytest.raises(ConfigError, match="'paper' is there for lenet5_paper, lenet1, lenet1989, "):
        find_recipe("lenet5", name="paper")
    with pytest.raises(ConfigError, match="those of lenet1989 are quick on digits, quick on mnist"):
        find_recipe("lenet1989", name="fast")


def test_a_result_to_expect_says_its_spread_time_and_machine() -> None:
    plain = Expected(0.99, 0.9895, 0.991)
    assert str(plain) == "99.00 % (98.95 to 99.10, 3 seeds)"
    assert str(Expected(0.99, 0.988, 0.991)) == "99.0 % (98.8 to 99.1, 3 seeds)"
    assert str(Expected(0.99, 0.99, 0.99, 1)) == "99.0 % (one seed)"
    whole = Expected(0.9945, 0.994, 0.995, 5, 301.2, "two cores")
    assert str(whole) == "99.45 % (99.40 to 99.50, 5 seeds) in 301 s of processor time on two cores"


def test_every_expected_accuracy_is_a_fraction_within_its_spread() -> None:
    for recipe in list_recipes():
        if recipe.expected is not None:
            assert 0 < recipe.expected.low <= recipe.expected.accuracy <= recipe.expected.high < 1


def test_the_nets_of_1989_are_trained_by_squared_error_as_their_papers_say() -> None:
    losses = {recipe.net: recipe.loss for recipe in list_recipes(name="quick")}
    assert losses["lenet1989"] == losses["lenet1"] == "mse"
    assert losses["lenet5"] == "cross_entropy"


def test_find_recipe_names_the_data_sets_there_are() -> None:
    with pytest.raises(ConfigError, match="'cifar', which is no folder; .* are cats_vs_dogs, "):
        find_recipe("lenet5", "cifar")


@pytest.mark.parametrize("net", sorted(PICTURE_NETS))
def test_find_recipe_tells_nets_of_large_pictures_where_to_train(net: str) -> None:
    with pytest.raises(
        ConfigError, match=r"takes pictures of 3x2\d\dx2\d\d.*'digits', but on .*--data"
    ):
        find_recipe(net, "digits")


def test_find_recipe_names_a_net_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="lenet5"):
        find_recipe("lenet55")


def test_every_field_of_a_recipe_is_documented() -> None:
    text = inspect.getdoc(Recipe) or ""
    for name in Recipe.__dataclass_fields__:
        assert f"    {name}: " in text


def test_the_recipes_for_digits_and_that_of_lenet5_for_mnist_say_what_to_expect() -> None:
    for recipe in [*list_recipes(data="digits"), find_recipe("lenet5", "mnist")]:
        assert recipe.expected, recipe
