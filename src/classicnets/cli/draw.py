"""The command draw."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer


def draw(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="[RUN|NAME]",
            help="The folder of a run, or a net whose weights come with the library.",
        ),
    ] = Path("lenet5"),
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="The page's port; 0 for any free one."),
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only say where the page is.")
    ] = False,
) -> None:
    """Draw a digit in the browser and see every layer of a net light up.

    The page is for this machine alone; Ctrl-C stops it. The drawing is prepared as `predict`
    prepares pictures, and the page shows how.
    """
    from ..draw_server import DrawServer
    from ..runs import open_run

    with DrawServer(open_run(run), port) as server:
        try:
            typer.echo(f"draw at {server.url} (Ctrl-C stops it)")
            if not no_browser:
                webbrowser.open(server.url)
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")
