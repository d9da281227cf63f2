"""How each net is trained on each data set, one row a recipe, as a paper would print it.

Settings were chosen on the validation part alone, but where a note says otherwise. `expected` is
what then came out on the test part: the mean over its seeds, and the lowest and highest of them;
None where not yet measured.
"""

from ..errors import ConfigError
from ..models import model_class
from .modern import FAST, MODERN
from .papers import PAPERS
from .pictures import PICTURES
from .quick import QUICK
from .recipe import Expected, Recipe, evaluation_loss, fit_arguments
from .tutorials import TUTORIALS

__all__ = ["Expected", "Recipe", "evaluation_loss", "find_recipe", "fit_arguments", "list_recipes"]

_RECIPES = (*QUICK, *PICTURES, *PAPERS, *MODERN, *FAST, *TUTORIALS)


def list_recipes(
    net: str | None = None, data: str | None = None, name: str | None = None
) -> list[Recipe]:
    """Return the recipes: of one net, for one data set, of one name where asked.

    Example:
        >>> [recipe.data for recipe in list_recipes("lenet1", name="quick")]
        ['digits', 'mnist', 'fashion_mnist']
    """
    return [
        recipe
        for recipe in _RECIPES
        if net in (None, recipe.net) and data in (None, recipe.data) and name in (None, recipe.name)
    ]


def find_recipe(net: str, data: str | None = None, name: str = "quick") -> Recipe:
    """Return the recipe of that name for a net, on one data set or the first that has it.

    Raises:
        ConfigError: there is no such net, recipe or data set, or the net does not take its
            pictures.

    Example:
        >>> find_recipe("lenet1").preparation
        {'image_size': 28, 'digit_size': 16}
        >>> find_recipe("lenet5", name="modern").data
        'mnist'
    """
    for recipe in list_recipes(net, data, name):
        return recipe
    shape = "x".join(map(str, model_class(net).input_shape))  # type: ignore[attr-defined]
    known = sorted({recipe.data for recipe in _RECIPES})
    if data is not None and data not in known:
        raise ConfigError(
            f"data is {data!r}, which is no folder; the data sets with recipes are "
            f"{', '.join(known)}"
        )
    if name == "quick":
        sets = ", ".join(recipe.data for recipe in list_recipes(net, name=name))
        raise ConfigError(
            f"net is {net!r}, which takes pictures of {shape}: there is no quick recipe for it on "
            f"{data!r}, but on {sets}; "
            "a folder of pictures is named by itself: --data FOLDER"
        )
    pairs = ", ".join(f"{recipe.name} on {recipe.data}" for recipe in list_recipes(net))
    others = dict.fromkeys(recipe.net for recipe in list_recipes(data=data, name=name))
    also = f"; {name!r} is there for {', '.join(others)}" if others else ""
    raise ConfigError(
        f"recipe is {name!r}{f' on {data}' if data else ''}; those of {net} are {pairs}{also}"
    )
