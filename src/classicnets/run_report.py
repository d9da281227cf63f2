"""A report of runs: one HTML file that opens from disk and asks nothing of any network."""

import base64
import io
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import plots
from .errors import ConfigError
from .layer_table import summary
from .run_plots import draw_grid
from .runs import Run
from .storage.safe_files import replace_file, storage_error
from .training import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report"]

_STYLE = Path(__file__).with_name("page") / "report.css"
_MOST_COMPARED = 7  # curves that can be told apart


def write_report(
    runs: Sequence[Run],
    path: str | Path,
    *,
    root: str | Path | None = None,
    download: bool = True,
) -> None:
    """Write the report of one run, or of several and their comparison.

    Of each run: the result with its interval, the command that repeats it, settings, curves,
    confusion, worst mistakes, and the net layer by layer. The test part is looked at anew.

    Args:
        runs: as `open_run` gives them.
        path: where to, ending in .html.
        root: where the data lie; None for where they lay.
        download: whether to fetch data that are not there.

    Raises:
        ConfigError: there is no run, or one of them twice, or `path` ends otherwise.
        DataError, DownloadError: the data are damaged or not to be had.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        raise ConfigError(f"path is {str(path)!r}, and must end in .html; rename it")
    if not runs:
        raise ConfigError("runs is empty; give at least one run")
    places = [(run.path.resolve(), run.metrics["net"]["name"]) for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise ConfigError(f"runs has {str(place[0])!r} twice; give each run once")
    title = " and ".join(map(_name, runs)) if len(runs) < 3 else f"{len(runs)} runs"
    parts = [_of_run(run, root=root, download=download) for run in runs]
    if len(runs) > 1:
        parts.insert(0, _comparison(runs))
    content = _page(title, parts).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, [content])
    except OSError as error:
        raise storage_error(path, len(content), error) from error


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n"
        f"</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        '<p class="soft">A report by classicnets.</p>\n' + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _of_run(run: Run, *, root: str | Path | None, download: bool) -> str:
    test = run.data(root=root, download=download).test
    evaluation = evaluate(run.model, test, loss=run.loss)
    figures: dict[str, Figure] = {
        "Which class is taken for which": plots.confusion(evaluation.confusion, run.classes),
        "The worst mistakes": draw_grid("mistakes", run.model, test, run.classes),
    }
    if run.history.step_losses:
        figures = {"The training": plots.curves(run.history), **figures}
    pictures = "\n".join(_picture(figure, words) for words, figure in figures.items())
    return f"""<section>
<h2>{escape(_name(run))}</h2>
<p class="figure">{escape(_in_words(run))}</p>
<p class="soft">On the {run.metrics["result"]["test"]["count"]:,} test pictures of
{escape(run.metrics["data"]["name"])}. Of a hundred such intervals, about 95 hold the accuracy that
the net has on all pictures of this kind.</p>
<h3>The same again</h3>
<pre>{escape(_command(run.metrics))}</pre>
<h3>What it looks like</h3>
<div class="pictures">
{pictures}
</div>
<h3>Settings</h3>
<table class="settings">
{_settings(run)}
</table>
<h3>The net, layer by layer</h3>
<div class="wide">{summary(run.model)._repr_html_()}</div>
</section>"""


def _comparison(runs: Sequence[Run]) -> str:
    low = min(_test(run)["interval"][0] for run in runs)
    high = max(_test(run)["interval"][1] for run in runs)
    losses = {run.metrics["fit"]["loss"] for run in runs}
    rows = "\n".join(
        f'<tr><td>{escape(_name(run))}</td><td class="number">{_percent(_test(run)["accuracy"])}'
        f'</td><td class="number">{" to ".join(map(_percent, _test(run)["interval"]))}</td>'
        f'<td class="number">{_test(run)["loss"]:.4f}{_of(run, losses)}</td>'
        f'<td class="number">{_test(run)["count"]:,}</td>'
        f'<td class="bars">{_bar(_test(run), low, high)}</td></tr>'
        for run in runs
    )
    trained = {_name(run): run.history for run in runs if run.history.step_losses}
    picture = ""
    if 1 < len(trained) <= _MOST_COMPARED:
        picture = f'<div class="pictures">{_picture(plots.curves(trained), "The trainings")}</div>'
    data = sorted({run.metrics["data"]["name"] for run in runs})
    apart = f" They were tested on different data: {', '.join(data)}." if len(data) > 1 else ""
    return f"""<section>
<h2>Comparison</h2>
<div class="wide">
<table>
<tr><th>run</th><th class="number">accuracy</th><th class="number">95 % interval</th>
<th class="number">loss</th><th class="number">pictures</th>
<th class="bars">{_percent(low)} to {_percent(high)}</th></tr>
{rows}
</table>
</div>
<p class="soft">Runs whose intervals overlap widely have not been told apart.{escape(apart)}</p>
{picture}
</section>"""


def _of(run: Run, losses: set[str]) -> str:
    """Which loss a figure is of, where not all are of one."""
    return f" ({escape(run.metrics['fit']['loss'])})" if len(losses) > 1 else ""


def _bar(test: Mapping[str, Any], low: float, high: float) -> str:
    left, right, middle = (
        f"{100 * (share - low) / ((high - low) or 1):.2f}%"
        for share in (*test["interval"], test["accuracy"])
    )
    return (
        f'<svg role="img" aria-label="{_percent(test["accuracy"])}">'
        f'<line x1="{left}" x2="{right}" y1="50%" y2="50%"/>'
        f'<circle cx="{middle}" cy="50%" r="5"/></svg>'
    )


def _picture(figure: "Figure", words: str) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    text = base64.b64encode(file.getvalue()).decode()
    return (
        f"<figure><figcaption>{escape(words)}</figcaption>"
        f'<img src="data:image/png;base64,{text}" alt="{escape(words)}"></figure>'
    )


def _settings(run: Run) -> str:
    metrics = run.metrics
    machine = metrics.get("machine", {})
    result = metrics["result"]
    values = {
        "folder": str(run.path),
        "net": f"{metrics['net']['name']}{_listed(metrics['net']['options'], ' with ')}",
        "data": f"{metrics['data']['name']}{_listed(metrics['data']['options'], ' with ')}",
        "recipe": metrics["recipe"],
        "training": _listed(metrics["fit"]),
        "seed": metrics["seed"],
        "epochs trained": result.get("epochs"),
        "best epoch": result.get("best_epoch"),
        "seconds": result.get("seconds"),
        "preparation": _listed(metrics["preparation"]),
        "machine": _listed(machine),
        "versions": _listed({"classicnets": metrics["classicnets"], **metrics.get("versions", {})}),
    }
    return "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in values.items()
        if value not in (None, "")
    )


def _listed(values: Mapping[str, Any], before: str = "") -> str:
    text = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    return before + text if text else ""


def _command(metrics: Mapping[str, Any]) -> str:
    """The command line that asked for the run, or one that asks for the same."""
    if metrics.get("command"):
        return shlex.join(metrics["command"])
    words = ["classicnets", "train", metrics["net"]["name"], "--recipe", metrics["recipe"]]
    given = {
        "data": metrics["data"]["name"],
        "epochs": metrics["fit"].get("epochs"),
        "lr": metrics["fit"].get("lr"),
        "batch-size": metrics["data"]["options"].get("batch_size"),
        "seed": metrics["seed"],
    }
    for name, value in given.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(words)


def _in_words(run: Run) -> str:
    low, high = map(_percent, _test(run)["interval"])
    return f"test accuracy {_percent(_test(run)['accuracy'])} (95 % interval {low} to {high})"


def _test(run: Run) -> dict[str, Any]:
    test: dict[str, Any] = run.metrics["result"]["test"]
    return test


def _name(run: Run) -> str:
    """What the run is called: by its folder, or by the net whose weights come with the library."""
    return run.path.resolve().name if run.history.epochs else str(run.metrics["net"]["name"])


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
