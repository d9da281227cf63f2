"""The cards of the weights that come with the library: what they are and what to expect of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .errors import ConfigError, WeightsError
from .models import list_models
from .preparation import Preparation

if TYPE_CHECKING:
    import os

    from PIL import Image

__all__ = ["ModelCard", "cards_from", "list_pretrained", "model_card"]

_FOLDER = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class ModelCard:
    """Where the weights of a net come from, what they reach, and what they want to be fed.

    Attributes:
        name: of the net, as in `list_models`.
        net_options: what the net is built with.
        recipe: name of the recipe that trained it, as in `recipes.list_recipes`.
        fit: the settings of the training.
        seed: of the run whose weights these are: the best of `seeds` on the validation part.
        seeds: for each seed that was trained, accuracy on the validation and on the test part.
        data: name of the data set, a function of `classicnets.data`.
        data_options: what that function is told to give loaders that match; the training
            pictures then come without the recipe's augmentation.
        preparation: how a picture of the data set became the net's input.
        classes: the names of the net's outputs.
        accuracy: on the test part, 0..1.
        interval: its 95 % Wilson interval.
        loss: on the test part.
        count: images there.
        sha256: of the file of weights.
        licence: of the weights.
        versions: of the packages that trained it.
        machine: that trained it, in words.
        date: of the training, ISO 8601.

    Example:
        >>> card = model_card("lenet5")
        >>> card.data, card.preparation.image_size
        ('mnist', 32)
    """

    name: str
    net_options: Mapping[str, Any]
    recipe: str
    fit: Mapping[str, Any]
    seed: int
    seeds: Mapping[str, Mapping[str, float]]
    data: str
    data_options: Mapping[str, Any]
    preparation: Preparation
    classes: tuple[str, ...]
    accuracy: float
    interval: tuple[float, float]
    loss: float
    count: int
    sha256: str
    licence: str
    versions: Mapping[str, str]
    machine: str
    date: str

    def transform(self, image: "Image.Image | str | os.PathLike[str]") -> Tensor:
        """One picture, light on dark, as a batch of one, ready for the net; see `Preparation`."""
        return self.preparation(image)

    @property
    def path(self) -> Path:
        """The file of weights."""
        return _FOLDER / f"{self.name}.safetensors"

    def __str__(self) -> str:
        low, high = self.interval
        seeds = ", ".join(
            f"{seed}: {100 * reached['validation']:.2f} and {100 * reached['test']:.2f} %"
            for seed, reached in self.seeds.items()
        )
        rows = {
            "weights": f"{self.name}, {self.licence} licence, {self.date}",
            "accuracy": f"{100 * self.accuracy:.2f} % (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f} %) on the {self.count:,} test images of {self.data}",
            "recipe": f"{self.recipe}, seed {self.seed}, the best by validation",
            "seeds": f"validation and test {seeds}",
            "machine": self.machine,
            "versions": ", ".join(f"{name} {text}" for name, text in self.versions.items()),
            "sha256": self.sha256,
        }
        return "\n".join(f"{name:<8}  {text}" for name, text in rows.items())

    def to_dict(self) -> dict[str, Any]:
        """The attributes, ready for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "preparation": self.preparation.to_dict()}


def list_pretrained() -> list[str]:
    """Names of the nets whose weights come with the library.

    Example:
        >>> "lenet5" in list_pretrained()
        True
    """
    return list(_cards())


def model_card(name: str) -> ModelCard:
    """The card of a net whose weights come with the library.

    Raises:
        ConfigError: there are no weights of a net of this name.
    """
    if name not in _cards():
        train = f"; train it: classicnets train {name}" if name in list_models() else ""
        raise ConfigError(
            f"name is {name!r}, of which no weights come with classicnets; there are those of "
            f"{', '.join(_cards()) or 'no net'}{train}"
        )
    return _cards()[name]


@cache
def _cards() -> dict[str, ModelCard]:
    return cards_from(_FOLDER)


def cards_from(folder: Path) -> dict[str, ModelCard]:
    """The cards in the `cards.json` of a folder, by the name of the net; none without the file.

    Raises:
        WeightsError: the file is damaged.
    """
    path = folder / "cards.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {entry["name"]: _card(entry) for entry in entries}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{str(path)!r} cannot be read ({error!r:.100}); install classicnets again"
        ) from error


def _card(entry: Mapping[str, Any]) -> ModelCard:
    low, high = entry["interval"]
    changed = {
        "preparation": Preparation.from_dict(entry["preparation"]),
        "classes": tuple(entry["classes"]),
        "interval": (low, high),
    }
    return ModelCard(**{**entry, **changed})
