"""Every snippet and command of the documentation runs, and its pages agree with the code."""

import ast
import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import classicnets
from classicnets import cli, create_model, list_models

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.parent.name not in ("nets", "_generated", "ko") and path.name[0] != "_"
)
NET_PAGES = [f"nets/{name}.md" for name in list_models()]
TRANSLATED = [("README.md", "README.ko.md"), ("docs/start.md", "docs/ko/start.md")]
# what needs a fresh environment or several processes: not run here
ELSEWHERE = ("pip install", "torchrun ", "make ", "python benchmarks/")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LONGEST = 94  # characters of a line of code that need no scrolling on a desktop


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The module that writes the pages of the nets."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module("_build_pages")
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, brightness in (("cat", 60), ("dog", 200)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(1, 21):
            pixels = random.integers(brightness - 50, brightness + 50, (40, 50, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")
    return tmp_path


def blocks(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run_page(path: Path) -> None:
    """Run the blocks of a page in order, in one namespace, ten epochs cut down to one."""
    names: dict[str, Any] = {}
    for language, text in blocks(path):
        if language == "python":
            text = re.sub(r"\bepochs( ?= ?)10\b", r"epochs\g<1>1", text)
            exec(compile(text, path.name, "exec"), names)  # noqa: S102
        elif language == "pycon":
            run_session(text, path.name, names)
        elif language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                run_command(line)


def run_session(text: str, name: str, names: dict[str, Any]) -> None:
    session = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    output: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(
        session, out=output.append, clear_globs=False
    )
    names.update(session.globs)
    assert not result.failed, "".join(output)


def run_command(line: str) -> None:
    if line.startswith(ELSEWHERE):
        return
    program, *words = shlex.split(line)
    assert program == "classicnets"
    if words[0] == "train":
        words += ["--quiet", *([] if "--epochs" in words else ["--epochs", "1"])]
    assert cli.main(words) == 0, line


@pytest.mark.filterwarnings("ignore:the loss stayed within")  # one epoch may be too few
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_snippet_and_command_of_a_page_runs(path: Path, in_folder: Path) -> None:
    run_page(path)


@pytest.mark.filterwarnings("ignore:the loss stayed within")  # one epoch may be too few
@pytest.mark.parametrize("name", list_models())
def test_the_snippets_of_a_net_s_page_run(
    name: str, in_folder: Path, generator: ModuleType
) -> None:
    page = in_folder / f"{name}.md"
    page.write_text(generator.net_page(name, create_model(name), in_folder), encoding="utf-8")
    run_page(page)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_no_line_of_code_has_to_be_scrolled_on_a_desktop(path: Path) -> None:
    lines = [line for _, text in blocks(path) for line in text.splitlines()]
    assert [line for line in lines if len(line) > LONGEST] == []


@pytest.mark.parametrize("path", [*PAGES, *DOCS.glob("_*.md")], ids=lambda path: path.name)
def test_no_asterisk_of_a_product_is_taken_for_emphasis(path: Path) -> None:
    text = re.sub(r"`[^`\n]+`", "", prose_of(path))
    assert re.findall(r"\d ?\* ?[\d(]", text) == []


@pytest.mark.parametrize("name", list_models())
def test_a_net_s_page_has_its_story_its_drawing_and_the_size_of_each_layer(
    name: str, tmp_path: Path, generator: ModuleType
) -> None:
    model = create_model(name)
    page = generator.net_page(name, model, tmp_path)
    summary = classicnets.summary(model)
    assert len(generator._stories()[name].splitlines()) in range(3, 8)
    assert page.count("<svg") == 1
    assert f"{summary.parameters:,} parameters" in page
    for row in summary.rows:
        if row.formula:
            assert f"`{row.formula}`" in page
    sides = re.findall(r'class="size"[^>]*>(\d+)', page)
    assert [int(sides[0]), int(sides[-1])] == [
        model.input_shape[0],
        summary.rows[-1].output_shape[0],
    ]


def test_results_that_nobody_has_made_yet_are_left_out_of_the_contents(
    tmp_path: Path, generator: ModuleType
) -> None:
    (tmp_path / "benchmarks.md").touch()
    assert "reproduction" not in generator.measured(tmp_path)
    for page in ("reproduction", "cats_and_dogs", "reliability"):
        (tmp_path / f"{page}.md").touch()
    text = generator.measured(tmp_path)
    assert "[](reproduction.md), [](cats_and_dogs.md), [](reliability.md)." in text
    assert text.endswith("\n\nbenchmarks\nreproduction\ncats_and_dogs\nreliability\n```\n")


def test_each_net_has_a_story(generator: ModuleType) -> None:
    assert set(generator._stories()) == set(list_models())


def test_a_drawing_keeps_the_proportions_of_the_maps(generator: ModuleType) -> None:
    widths = re.findall(r'class="map"[^>]*width="([\d.]+)"', generator.draw(create_model("lenet5")))
    sizes = sorted({float(width) for width in widths}, reverse=True)
    assert sizes == pytest.approx([128 * side / 32 for side in (32, 28, 14, 10, 5)])


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^\.\. auto\w+:: (?:classicnets\.)?(\w+)$", text, flags=re.MULTILINE))
    for name in set(classicnets.__all__) - {"models", "training"}:  # their names are shown
        home = getattr(getattr(classicnets, name), "__module__", "").rpartition(".")[-1]
        assert {name, home} & shown, name


def test_no_property_says_before_a_colon_what_the_reference_takes_for_its_type() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if decorators & {"property", "cached_property"}:
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                assert ":" not in first, f"{path.name}: {node.name}"


@pytest.mark.parametrize(("english", "korean"), TRANSLATED)
def test_the_korean_page_has_the_code_and_commands_of_the_english(
    english: str, korean: str
) -> None:
    assert code_of(ROOT / korean) == code_of(ROOT / english)
    assert commands_of(ROOT / korean) == commands_of(ROOT / english)


@pytest.mark.parametrize(("english", "korean"), TRANSLATED)
def test_the_korean_page_names_what_the_english_names_and_the_same_numbers(
    english: str, korean: str
) -> None:
    for pattern in (r"`([^`\n]+)`", r"\d[\d,.]*\d"):
        named = [set(re.findall(pattern, prose_of(ROOT / page))) for page in (english, korean)]
        assert named[0] == named[1]


def prose_of(path: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def code_of(path: Path) -> list[tuple[str, str]]:
    """The blocks but for the tree of files; comments, and what is printed, may be translated."""
    return [
        (language, re.sub(r"\s*#.*", "", text))
        for language, text in blocks(path)
        if language != "text" and not text.startswith("src/")
    ]


def commands_of(path: Path) -> list[str]:
    return sorted(re.findall(r"`(classicnets [^`\n]+)`", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.ko.md"], ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    text = prose_of(path)
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        target = path.parent / link
        relative = os.path.relpath(target, DOCS)
        assert target.is_file() or relative in [*NET_PAGES, "nets/index.md"], link


def test_the_site_builds_without_a_warning_a_dead_link_or_a_load_from_another_host(
    tmp_path: Path,
) -> None:
    pytest.importorskip("furo", reason="the extra docs is not installed")
    pytest.importorskip("myst_parser", reason="the extra docs is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for words in (
        ["docs/_build_pages.py"],
        ["benchmarks/tables.py"],
        [
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-q",
            "-d",
            tmp_path / "trees",
            "docs",
            tmp_path / "site",
        ],
        ["docs/_check_site.py", tmp_path / "site"],
    ):
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_of_the_gpu_has_the_figures_of_the_results(
    load_result: Callable[[str], Any],
) -> None:
    asked = load_result("gpu")
    lenet, alexnet = (asked[name]["images per second"] for name in ("epoch", "alexnet"))
    peers = ("tutorial's loop", "Lightning")
    measured = [
        lenet["fit"],
        *(lenet[f"{name}, {data}"] for name in peers for data in ("data in memory", "transforms")),
        *(alexnet[name] for name in ("AlexNet under fit", "torchvision's AlexNet, loop by hand")),
    ]
    page = (DOCS / "gpu.md").read_text(encoding="utf-8")
    written = re.findall(r"^\|.*\| ([\d,]+) \|$", page, flags=re.MULTILINE)
    assert [int(figure.replace(",", "")) for figure in written] == [
        round(float(f"{each['median']:.3g}")) for each in measured
    ]
    seeds = asked["accuracy"]["recipes"]["the fast recipe"]["test"]
    assert f"{100 * seeds['lowest']:.2f} to {100 * seeds['highest']:.2f}" in page
