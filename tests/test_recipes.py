"""Every recipe fits its net, its data and `fit`."""

import inspect

import pytest

import classicnets
from classicnets import create_model, fit, list_models
from classicnets.errors import ConfigError
from classicnets.recipes import Recipe, find_recipe, list_recipes

PICTURE_NETS = {"lenet_catdog", "alexnet", "alexnet_paper"}


def test_every_net_of_grey_digits_has_a_recipe_for_every_set_of_them() -> None:
    pairs = {(recipe.net, recipe.data) for recipe in list_recipes()}
    nets = set(list_models()) - PICTURE_NETS
    assert pairs == {(net, data) for net in nets for data in ("digits", "mnist", "fashion_mnist")}


@pytest.mark.parametrize("recipe", list_recipes(data="digits"), ids=lambda recipe: recipe.net)
def test_a_recipe_prepares_the_pictures_as_its_net_takes_them(recipe: Recipe) -> None:
    splits = classicnets.data.digits(batch_size=2, **recipe.preparation)
    images, _ = next(iter(splits.train))
    model = create_model(recipe.net, **recipe.net_options)
    assert tuple(images.shape[1:]) == model.input_shape
    assert model(images).shape == (2, 10)


def test_every_recipe_of_a_net_prepares_the_pictures_alike() -> None:
    for recipe in list_recipes():
        assert recipe.preparation == find_recipe(recipe.net).preparation


@pytest.mark.parametrize("recipe", list_recipes(data="digits"), ids=lambda recipe: recipe.net)
def test_fit_takes_what_a_recipe_says(recipe: Recipe) -> None:
    splits = classicnets.data.digits(batch_size=recipe.batch_size, **recipe.preparation)
    history = fit(
        create_model(recipe.net),
        [next(iter(splits.train))],
        epochs=1,
        optimizer=recipe.optimizer,
        lr=recipe.lr,
        schedule=recipe.schedule,
        loss=recipe.loss,
        progress=False,
    )
    assert len(history.epochs) == 1


def test_the_nets_of_1989_are_trained_by_squared_error_as_their_papers_say() -> None:
    losses = {recipe.net: recipe.loss for recipe in list_recipes()}
    assert losses["lenet1989"] == losses["lenet1"] == "mse"
    assert losses["lenet5"] == "cross_entropy"


def test_find_recipe_names_the_data_sets_there_are() -> None:
    with pytest.raises(ConfigError, match="'cifar'; the data sets with recipes are digits, fash"):
        find_recipe("lenet5", "cifar")


@pytest.mark.parametrize("net", sorted(PICTURE_NETS))
def test_find_recipe_tells_nets_of_large_pictures_where_to_train(net: str) -> None:
    with pytest.raises(ConfigError, match=r"takes pictures of 3x2\d\dx2\d\d.*'digits'; .*README"):
        find_recipe(net)


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
