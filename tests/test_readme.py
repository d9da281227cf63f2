"""The README's snippets run, and its tables and tree are true."""

import functools
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import classicnets
from classicnets import cli, create_model, list_models
from classicnets.models import model_class

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
SNIPPETS = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [text for language, text in BLOCKS if not language]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_snippet(text: str) -> None:
    """Run a snippet as it stands, but for a single epoch."""
    exec(compile(text.replace("epochs=10", "epochs=1"), "README.md", "exec"), {})  # noqa: S102


def test_the_first_snippet_trains_lenet5_on_mnist(
    mnist_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLASSICNETS_DATA", str(mnist_root))
    (snippet,) = (text for text in SNIPPETS if "data.mnist()" in text)
    run_snippet(snippet)
    accuracy = re.search(r"accuracy (\d+\.\d+) %", capsys.readouterr().out)
    assert accuracy
    assert float(accuracy[1]) > 90


def test_the_snippet_for_your_own_pictures_takes_a_folder(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name, brightness in (("cat", 60), ("dog", 200)):
        folder = in_folder / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(1, 21):
            pixels = random.integers(brightness - 50, brightness + 50, (40, 50, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")
    (snippet,) = (text for text in SNIPPETS if "image_folder" in text)
    run_snippet(snippet)
    assert capsys.readouterr().out.split()[0] in ("cat", "dog")


def test_every_snippet_is_run_here() -> None:
    assert len(SNIPPETS) == 2


def test_the_table_of_nets_is_true() -> None:
    rows = {row[0]: row for row in table_rows("name")}
    assert set(rows) == {model_class(name).__name__ for name in list_models()}
    for name in list_models():
        model = create_model(name)
        row = rows[type(model).__name__]
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert row[2] == "x".join(map(str, model.input_shape))
        assert row[3].split()[0] == f"{trainable:,}"


def table_rows(head: str) -> list[list[str]]:
    """The rows of the table whose first column has this head; code is stripped of its marks."""
    _, table = TEXT.split(f"| {head} |", 1)
    lines = table.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_table_of_speeds_is_that_of_the_results(
    load_result: Callable[[str], Any], name: str
) -> None:
    parts = load_result("peers")
    rows = {**parts["epochs"]["rows"], **parts["close"]["rows"]}
    ratio = {peer: f"{row['ratio']['median']:.1f}" for peer, row in rows.items()}
    frameworks = ("Lightning", "skorch", "ignite", "Accelerate", "fastai", "Keras on torch")
    expected = [
        [ratio[f"{peer} ({group})"] for peer in ("tutorial's loop", *frameworks)]
        for group in ("DataLoader, transforms", "in memory")
    ]
    expected[0] += ["", ""]
    expected[1][-1] += ", " + ratio["Keras on JAX (in memory)"]
    expected[1] += [
        ratio["Equinox and optax, jitted (in memory)"],
        ratio["PyTorch tuned by hand"],
    ]
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|") and "Equinox" in line]
    _, table = text.split(lines[0], 1)
    written = [line.strip("|").split("|")[1:] for line in table.splitlines()[2:4]]
    assert [[cell.strip() for cell in row] for row in written] == expected


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_figures_of_the_gpu_are_those_of_the_results(
    load_result: Callable[[str], Any], name: str
) -> None:
    asked = load_result("gpu")
    times = asked["epoch"]["fit: times as fast as"]
    text = (ROOT / name).read_text(encoding="utf-8")
    table = text[text.index("H200") :].split("|---|---|---|\n", 1)[1]
    written = [line.strip("|").split("|")[1:] for line in table.splitlines()[:2]]
    assert [[float(cell) for cell in row] for row in written] == [
        [round(times[f"{peer}, {group}"]["median"]) for peer in ("tutorial's loop", "Lightning")]
        for group in ("transforms", "data in memory")
    ]
    fast = asked["accuracy"]["recipes"]["the fast recipe"]
    assert (fast["seeds at 99.0 % of test"], fast["seeds"]) == (10, 10)
    assert round(fast["test"]["median"], 3) == 0.991
    assert 0.45 < fast["seconds of epochs"]["median"] < 0.55
    ahead = asked["alexnet"]["AlexNet under fit: times as fast as"][
        "torchvision's AlexNet, loop by hand"
    ]
    assert f"{ahead['median']:.2f}" in text


def test_the_table_of_commands_names_each_and_all_are_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [shlex.split(row[0]) for row in table_rows("command")]
    assert [word[1] for word in words] == list(cli._COMMANDS)
    for program, name, *rest in words:
        assert program == "classicnets"
        function, examples = cli._COMMANDS[name]
        monkeypatch.setitem(cli._COMMANDS, name, (doing_nothing(function), examples))
        assert cli.main([name, *rest]) == 0


def doing_nothing(function: Callable[..., object]) -> Callable[..., object]:
    """Something that takes the same words and runs nothing."""
    return functools.wraps(function)(lambda **arguments: None)


def test_the_tree_has_a_phrase_for_each_file_and_no_other() -> None:
    tree = next(text for text in COMMANDS if text.startswith("src/classicnets/"))
    listed, folder = set(), ""
    for line in tree.splitlines()[1:]:
        name, phrase = line.split(maxsplit=1)
        assert phrase
        if name.endswith("/"):
            folder = name
        else:
            listed.add((folder if line.startswith("    ") else "") + name)
    source = ROOT / "src" / "classicnets"
    assert listed == {str(path.relative_to(source)) for path in source.rglob("*.py")}


def test_the_server_runs_the_test_command_of_the_readme() -> None:
    (command,) = [line for line in TEXT.splitlines() if line.endswith("&& pytest")]
    assert [command] == [text.strip() for text in COMMANDS if "pytest" in text]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (found,) = re.findall(r"grep -xE '([^']*)' README\.md", script)
    done = subprocess.run(
        ["grep", "-xE", found, ROOT / "README.md"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{command}\n"


def test_the_version_of_the_citation_is_the_package_s() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {classicnets.__version__}\n" in citation
