"""The report of runs: complete, self-contained, escaped."""

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from classicnets.cli import main
from classicnets.errors import ConfigError, StorageError
from classicnets.run_report import write_report
from classicnets.runs import Run


class Reading(HTMLParser):
    """The text of a page, its tags, and that each is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.open, self.loads = "", [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "img", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_report([digits_run], path)
    return path.read_text(encoding="utf-8")


def test_a_report_has_the_result_the_command_the_pictures_and_the_net(
    page: str, digits_run: Run
) -> None:
    test = digits_run.metrics["result"]["test"]
    text = Reading(page).text
    assert f"test accuracy {100 * test['accuracy']:.2f} % (95 % interval" in text
    assert "classicnets train lenet5" in text
    assert "61,706" in text
    assert "adam" in text
    for words in ("The training", "Which class is taken for which", "The worst mistakes"):
        assert f'alt="{words}"' in page


def test_a_report_is_well_formed_and_loads_nothing(page: str) -> None:
    reading = Reading(page)
    assert reading.open == []
    assert all(url.startswith("data:") for url in reading.loads)
    assert not re.search(r"@import|url\(|<script", page)


def test_a_report_of_several_runs_compares_their_intervals(digits_run: Run, tmp_path: Path) -> None:
    other = dataclasses.replace(digits_run, path=tmp_path / "other")
    write_report([digits_run, other], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<circle") == 2
    assert 'alt="The trainings"' in page
    assert "Runs whose intervals overlap widely have not been told apart." in Reading(page).text


def test_a_loss_is_named_where_not_all_are_of_one(digits_run: Run, tmp_path: Path) -> None:
    metrics = {**digits_run.metrics, "fit": {**digits_run.metrics["fit"], "loss": "mse"}}
    other = dataclasses.replace(digits_run, path=tmp_path / "other", metrics=metrics)
    write_report([digits_run, other], tmp_path / "report.html")
    text = Reading((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert re.search(r"0\.\d{4} \(cross_entropy\)", text)
    assert re.search(r"\d\.\d{4} \(mse\)", text)


def test_names_are_text_and_never_markup(digits_run: Run, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    command = ["classicnets", "train", "lenet5", "--out", hostile]
    run = dataclasses.replace(
        digits_run,
        path=tmp_path / "<b>&",
        metrics={**digits_run.metrics, "command": command, "recipe": hostile},
    )
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert Reading(page).text.count(hostile) == 2


def test_without_a_recorded_command_there_is_one_that_asks_for_the_same(
    digits_run: Run, tmp_path: Path
) -> None:
    run = dataclasses.replace(digits_run, metrics={**digits_run.metrics, "command": None})
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "classicnets train lenet5 --recipe quick --data digits --epochs 3 --lr" in page


def test_a_report_is_refused_where_it_cannot_be(digits_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.html; rename it"):
        write_report([digits_run], tmp_path / "report.pdf")
    with pytest.raises(ConfigError, match="runs is empty; give at least one run"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(ConfigError, match=r"runs has '.*' twice; give each run once"):
        write_report([digits_run, digits_run], tmp_path / "report.html")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="choose a folder that takes files"):
        write_report([digits_run], tmp_path / "file" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(StorageError, match=r"folder.html': it is a folder; give the name of a fil"):
        write_report([digits_run], tmp_path / "folder.html")


def test_the_command_writes_the_report(
    digits_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.html"
    assert main(["report", str(digits_run.path), "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert output.stat().st_size > 100_000
