"""Commands about the nets themselves: list, info, summary, size."""

import inspect
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

import typer

from .. import shapes
from ..errors import ConfigError
from .arguments import Json, NetName, NetOptions, parse_options, parse_shape, parse_size
from .output import columns, print_json


class Card(NamedTuple):
    """What `list` shows of a net."""

    input_shape: tuple[int, int, int]
    parameters: int  # trainable
    what: str


# Written out, so that `list` needs no torch; a test holds it against the nets.
CARDS = {
    "lenet1989": Card((1, 16, 16), 9_760, "the net for zip codes, Neural Computation 1989"),
    "lenet1": Card((1, 28, 28), 2_578, "LeNet-1, NIPS 1989"),
    "lenet5": Card((1, 32, 32), 61_706, "LeNet-5 as written today"),
    "lenet5_paper": Card((1, 32, 32), 60_000, "LeNet-5 exactly as printed in 1998"),
    "sequential_cnn": Card((1, 28, 28), 123_222, "three 5x5 convolutions, two linear layers"),
    "lecture_cnn": Card((1, 28, 28), 896_522, "two 3x3 convolutions, two linear layers"),
    "lenet_catdog": Card((3, 224, 224), 46_038_242, "LeNet for colour pictures, cat or dog"),
    "alexnet": Card((3, 224, 224), 61_100_840, "AlexNet of 2014, keys as torchvision's"),
    "alexnet_paper": Card((3, 227, 227), 60_965_224, "AlexNet exactly as printed in 2012"),
}


def list_nets(as_json: Json = False) -> None:
    """List the nets.

    Each with the shape of its input, its trainable parameters and one phrase.
    """
    if as_json:
        print_json([{"name": name, **card._asdict()} for name, card in CARDS.items()])
        return
    rows = [
        (name, _by(card.input_shape), f"{card.parameters:,}", card.what)
        for name, card in CARDS.items()
    ]
    typer.echo(columns([("name", "input", "parameters", ""), *rows], right=(2,)))


def info(name: NetName, as_json: Json = False) -> None:
    """Tell about one net.

    Its paper, where it departs from it, its options, the recipes that train it, and the card of
    the weights that come with the library.
    """
    from ..model_cards import list_pretrained, model_card
    from ..models import model_class
    from ..recipes import list_recipes

    kind = model_class(name)
    text = inspect.getdoc(kind) or ""
    options = {
        parameter.name: parameter.default
        for parameter in inspect.signature(kind).parameters.values()
    }
    recipes = list_recipes(name)
    weights = model_card(name) if name in list_pretrained() else None
    if as_json:
        print_json(
            {
                "name": name,
                "class": kind.__name__,
                "input_shape": CARDS[name].input_shape,
                "parameters": CARDS[name].parameters,
                "options": options,
                "recipes": [asdict(recipe) for recipe in recipes],
                "weights": weights and weights.to_dict(),
                "text": text,
            }
        )
        return
    card = CARDS[name]
    typer.echo(
        f"{name}: {kind.__name__}, input {_by(card.input_shape)}, {card.parameters:,} parameters\n"
    )
    typer.echo(text + "\n")
    if options:
        listed = ", ".join(f"{option}={default!r}" for option, default in options.items())
        typer.echo(f"Options: {listed}")
    for recipe in recipes:
        which = "" if recipe.name == "quick" else f" --recipe {recipe.name}"
        expected = f", expect {recipe.expected}" if recipe.expected else ""
        typer.echo(
            f"classicnets train {name}{which} --data {recipe.data}: "
            f"{recipe.epochs} epochs{expected}"
        )
    if weights:
        typer.echo(f"\n{weights}")


def summary(
    name: NetName,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="CxHxW", help="Another input than the net's own, such as 3x256x256."),
    ] = None,
    option: NetOptions = None,
    as_json: Json = False,
) -> None:
    """Show a net layer by layer.

    The formula with its numbers, shapes, parameters, connections and receptive field; a layer
    that leaves pixels of its input unread is marked.
    """
    from ..layer_table import summary as summarize
    from ..pretrained import create_model

    shape = parse_shape(input_shape) if input_shape else None
    model = create_model(name, **parse_options(option))
    try:
        table = summarize(model, shape)
    except ConfigError as error:
        message, _, layers = str(error).partition("\n")
        if not as_json:
            typer.echo(layers.strip("\n"))  # as far as it went
        raise ConfigError(message) from error
    if as_json:
        print_json(table.to_dict())
    else:
        typer.echo(str(table))


def size(
    size: Annotated[
        str,
        typer.Argument(metavar="SIZE", help="Input size: 224, or 224x320 for height and width."),
    ],
    kernel: Annotated[str, typer.Option("--kernel", "-k", metavar="F", help="Size of the window.")],
    stride: Annotated[
        str | None,
        typer.Option(
            "--stride",
            "-s",
            metavar="S",
            help="Step of the window; 1, or the kernel's size with --pool.",
        ),
    ] = None,
    padding: Annotated[
        str, typer.Option("--padding", "-p", metavar="P", help="Pixels added at each end.")
    ] = "0",
    dilation: Annotated[
        str,
        typer.Option("--dilation", "-d", metavar="D", help="Distance between the window's pixels."),
    ] = "1",
    pool: Annotated[
        bool, typer.Option("--pool", help="A pool: the stride is the kernel's size unless given.")
    ] = False,
    ceil: Annotated[
        bool, typer.Option("--ceil", help="Round up, as ceil_mode of PyTorch's pools does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Work out the size of a map.

    A window of F pixels that moves by S over W pixels with P more at each end stands in
    floor((W - F + 2P)/S) + 1 places: the size after a convolution or a pool.
    """
    pool = pool or ceil
    numbers: dict[str, Any] = {
        "size": parse_size(size),
        "kernel_size": parse_size(kernel),
        "stride": parse_size(stride) if stride else (None if pool else 1),
        "padding": parse_size(padding),
        "dilation": parse_size(dilation),
    }
    if pool:
        numbers["ceil_mode"] = ceil
    output = (shapes.pool_output_size if pool else shapes.conv_output_size)(**numbers)
    dropped = shapes.dropped_pixels(**numbers)
    if as_json:
        print_json({**numbers, "output_size": output, "dropped_pixels": dropped})
        return
    typer.echo(shapes.formula(**numbers))
    if dropped not in (0, (0, 0)):
        left = f"{dropped[0]} rows, {dropped[1]} columns" if isinstance(dropped, tuple) else dropped
        typer.echo(f"pixels that no window reads: {left}")


def _by(shape: int | tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if isinstance(shape, tuple) else str(shape)
