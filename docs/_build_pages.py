"""Write what comes from the code: a page a net, the list of results, the drawing page.

    python docs/_build_pages.py

writes `docs/nets/` and `docs/_generated/extra/`, which git ignores. `make docs` calls it first.
"""

import inspect
import os
import re
from pathlib import Path
from string import Template

from _build_draw import write_page
from _draw_net import draw
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import classicnets
from classicnets import create_model, list_models, model_card, plots
from classicnets.model_cards import list_pretrained
from classicnets.recipes import Recipe, list_recipes

_DOCS = Path(__file__).parent
_HEADING = re.compile(
    r"(Paper|Source|Differences from .*?|Where .*?|[A-Z][a-z]+(?=:$)):(?: (.*))?$"
)
_ORDER = (
    "lenet1989",
    "lenet1",
    "lenet5_paper",
    "lenet5",
    "alexnet_paper",
    "alexnet",
    "sequential_cnn",
    "lecture_cnn",
    "lenet_catdog",
)
# pages of results; two of them are written by benchmarks, of the files that these made
_RESULTS = ("benchmarks", "reproduction", "cats_and_dogs", "reliability")


def main() -> None:
    """Write everything."""
    write_nets(_DOCS / "nets")
    (_DOCS / "_generated").mkdir(exist_ok=True)
    (_DOCS / "_generated" / "measured.md").write_text(measured(_DOCS), encoding="utf-8")
    write_page(_DOCS / "_generated" / "extra" / "draw")


def write_nets(folder: Path) -> None:
    """Write the page of each net, and the list of them."""
    folder.mkdir(exist_ok=True)
    names = [*_ORDER, *(name for name in list_models() if name not in _ORDER)]
    models = {name: create_model(name) for name in names}
    for name, model in models.items():
        (folder / f"{name}.md").write_text(net_page(name, model, folder), encoding="utf-8")
    (folder / "index.md").write_text(index_page(models), encoding="utf-8")


def index_page(models: dict[str, nn.Module]) -> str:
    """The list of the nets, with a link to each."""
    rows = [
        [
            f"[`{type(model).__name__}`]({name}.md)",
            _first_line(model),
            "x".join(map(str, model.input_shape)),
            f"{_trainable(model):,}",
        ]
        for name, model in models.items()
    ]
    table = "{.names}\n" + _table(["net", "what it is", "input", "parameters"], rows)
    listed = "\n".join(models)
    return (
        "# The nets\n\nEvery number and drawing on these pages is read from the code: what you see "
        f"is what runs.\n\n{table}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    )


def measured(folder: Path) -> str:
    """A sentence and the contents of the results; pages that nobody has made yet are left out."""
    pages = [page for page in _RESULTS if (folder / f"{page}.md").is_file()]
    links = ", ".join(f"[]({page}.md)" for page in pages)
    listed = "\n".join(pages)
    return f"""What was measured: {links}.

```{{toctree}}
:hidden:
:caption: What was measured

{listed}
```
"""


def net_page(name: str, model: nn.Module, folder: Path) -> str:
    """The page of one net; pictures that it shows are written to the folder."""
    parts = _sections(model)
    summary = classicnets.summary(model)
    totals = [
        f"{summary.parameters:,} parameters",
        *([f"{summary.fixed:,} fixed numbers"] if summary.fixed else []),
        f"{summary.connections:,} connections",
        f"{summary.multiply_adds:,} multiply-adds a picture",
    ]
    return _fill(
        "_net_page.md",
        kind=type(model).__name__,
        size="x".join(map(str, model.input_shape)),
        head=_marked(parts["head"]),
        story=_stories()[name],
        source=_source(model),
        drawing=draw(model),
        layers=_layers(summary),
        totals=", ".join(totals),
        links=_table_of_links(name, model, folder),
        differences="\n\n".join(_differences(parts)),
        file=os.path.relpath(inspect.getfile(type(model)), _DOCS),
        recipes=_recipes(name),
        weights="\n\n".join(_weights(name, folder)),
    )


def _fill(template: str, **values: str) -> str:
    return Template((_DOCS / template).read_text(encoding="utf-8")).substitute(values)


def _layers(summary: classicnets.Summary) -> str:
    rows = []
    for row in summary.rows:
        if not (row.formula or row.parameters or row.fixed or row.multiply_adds):
            continue
        shape = "x".join(map(str, row.output_shape))
        formula = f"`{row.formula}`" if row.formula else ""
        if row.dropped:
            formula += f" (drops {row.dropped})"
        fixed = f"({row.fixed:,} fixed)" if row.fixed else ""
        numbers = (row.connections, row.multiply_adds, row.receptive_field, row.jump)
        rows.append(
            [
                f"`{row.name.rsplit('.', 1)[-1]}` {row.type}",
                shape,
                formula,
                f"{row.parameters:,}" if row.parameters else fixed,
                *("" if number is None else f"{number:,}" for number in numbers),
            ]
        )
    heads = ["layer", "output", "(W - F + 2P)/S + 1", "parameters", "connections"]
    table = _table([*heads, "multiply-adds", "field", "jump"], rows, right=3)
    return "{.dense .numbers}\n" + table


def _recipes(name: str) -> str:
    recipes = list_recipes(name)
    if not recipes:
        return (
            "There is no recipe yet: the net takes pictures of your own, as "
            "[](../your_pictures.md) shows."
        )
    heads = ["recipe", "data", "epochs", "batch", "optimiser", "loss", "test accuracy"]
    rows = [
        [
            recipe.name,
            recipe.data,
            str(recipe.epochs),
            str(recipe.batch_size),
            f"{recipe.optimizer}, {_rate(recipe)}",
            f"`{recipe.loss}`",
            str(recipe.expected or "not measured yet"),
        ]
        for recipe in recipes
    ]
    notes = [
        f"- **{recipe.name}, {recipe.data}**: {_marked('; '.join(words))}"
        for recipe in recipes
        if (words := [text for text in (recipe.source, recipe.note) if text])
    ]
    command, words = f"classicnets train {name}", "trains as the first row says."
    if recipes[0].data != "digits":
        command += " --data pictures"
        words = "trains on [a folder of your own](../your_pictures.md) as the row `quick` says."
    return _fill(
        "_recipes.md",
        command=command,
        words=words,
        table=_table(heads, rows),
        notes="\n".join(notes),
    )


def _rate(recipe: Recipe) -> str:
    if isinstance(recipe.schedule, str | None):
        return f"{recipe.lr:g}, {recipe.schedule or 'constant'}"
    return f"{recipe.schedule[0]:g} falling to {recipe.schedule[-1]:g}"


def _weights(name: str, folder: Path) -> list[str]:
    """The card of the weights that come with the library, and what the trained net looks like."""
    if name not in list_pretrained():
        return []
    card = model_card(name)
    rows = [re.split(r" {2,}", line, maxsplit=1) for line in str(card).splitlines()]
    model = create_model(name, pretrained=True)
    seen = plots.activations(model, card.transform(_digit()), classes=card.classes)
    return [
        "## Weights",
        "{.card}\n" + _table(["", ""], [[label, _marked(text)] for label, text in rows]),
        f"`create_model({name!r}, pretrained=True)` gives the net with these weights.",
        "### What its filters look for",
        _picture(plots.filters(model), folder / f"{name}_filters.png", "The filters"),
        "### What it sees in a four",
        "One digit of scikit-learn's, which the net was not trained on, and what each layer makes "
        "of it; black is the lowest value of a layer and white its highest.",
        _picture(seen, folder / f"{name}_maps.png", "The feature maps, layer by layer"),
    ]


def _digit() -> Image.Image:
    """A four of scikit-learn's digits as a picture like MNIST's: 20x20 pixels in 28x28."""
    picture = Image.new("L", (28, 28))
    levels = load_digits().images[4] * 255 / 16
    picture.paste(Image.fromarray(levels.astype("uint8")).resize((20, 20)), (4, 4))
    return picture


def _table_of_links(name: str, model: nn.Module, folder: Path) -> str:
    """Which maps see which, where the net has a table."""
    try:
        figure = plots.connections(model)
    except classicnets.ClassicNetsError:
        return ""
    picture = _picture(figure, folder / f"{name}_links.png", "Which map sees which")
    return f"### Which map sees which\n\n{picture}"


def _picture(figure: Figure, path: Path, words: str) -> str:
    figure.savefig(path)
    return f"![{words}]({path.name})"


def _differences(parts: dict[str, str]) -> list[str]:
    """What departs from the paper or the source, and what had to be guessed."""
    text = []
    for title, body in parts.items():
        if not title.startswith(("Differences", "Where")):
            continue
        text.append(f"## {title}")
        items = [" ".join(item.split()) for item in re.split(r"^\s*- ", body, flags=re.M)]
        if items[0]:
            text.append(_marked(items[0][0].upper() + items[0][1:]))
        points = [item.split(": ", 1) for item in items[1:]]
        text.append("\n".join(f"- **{what}**: {_marked(_typeset(rest))}" for what, rest in points))
    return [part for part in text if part]


def _typeset(text: str) -> str:
    return text.replace(" -> ", " → ").replace("+-", "±")


def _marked(text: str) -> str:
    """A docstring's words as Markdown: what is in backticks stays, the rest loses its meaning."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*_<\[])", r"\\\1", piece) for piece in pieces
    )


def _source(model: nn.Module) -> str:
    parts = _sections(model)
    return _marked(" ".join((parts.get("Paper") or parts.get("Source") or "").split()))


def _sections(model: nn.Module) -> dict[str, str]:
    """A class docstring by its headings; "head" is what stands before the first."""
    sections = {"head": ""}
    title = "head"
    for line in inspect.getdoc(type(model)).splitlines():
        if match := re.match(_HEADING, line):
            title, line = match[1], match[2] or ""
        sections[title] = f"{sections.get(title, '')}{line}\n"
    return {title: body.strip("\n") for title, body in sections.items()}


def _first_line(model: nn.Module) -> str:
    line = _marked(inspect.getdoc(type(model)).splitlines()[0])
    return line.rstrip(".")


def _stories() -> dict[str, str]:
    text = (_DOCS / "_stories.md").read_text(encoding="utf-8")
    _, *pieces = re.split(r"^## (\w+)\n", text, flags=re.M)
    return {name: body.strip() for name, body in zip(pieces[::2], pieces[1::2], strict=True)}


def _trainable(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def _table(heads: list[str], rows: list[list[str]], right: int | None = None) -> str:
    """A Markdown table; columns from `right` on hold numbers."""
    rules = ["---:" if right is not None and i >= right else "---" for i in range(len(heads))]
    lines = [heads, rules, *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    main()
