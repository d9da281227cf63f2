"""The package as a whole: its names, what importing it costs, who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import classicnets

SOURCE = Path(classicnets.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# Upper layers import lower ones; parts of one layer never import each other.
LAYERS = (
    {"cli"},
    {"draw_server", "net_export", "run_report"},
    {"runs", "benchmark"},
    {"recipes", "pretrained", "run_data", "run_folder", "run_plots"},
    {"model_cards"},
    {"models", "data", "training", "plots", "layer_table", "photo", "imagenet_weights"},
    {"storage"},
    {"layers", "shapes", "preparation", "evaluation_mode"},
    {"pooling", "squashing", "pictures"},
    {"errors"},
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> Iterator[str]:
    """The parts of the package that a file imports, wherever in it the import stands."""
    package = ("classicnets", *path.relative_to(SOURCE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = list(package[: len(package) + 1 - node.level]) if node.level else []
            module = start + (node.module.split(".") if node.module else [])
            targets = [module] if len(module) > 1 else [[*module, a.name] for a in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "classicnets" and target[1:] != ["__version__"]:
                yield target[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_layers_below_its_own(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for other in set(imported_parts(path)) - {part}:
        assert LEVEL[part] < LEVEL[other], f"{part} imports {other}"


def test_every_module_belongs_to_a_layer() -> None:
    assert {part_of(path) for path in FILES} - {"__init__"} == set(LEVEL)


def test_no_net_imports_another() -> None:
    shared = {"input_check", "option_check", "__init__"}
    nets = {path.stem for path in (SOURCE / "models").glob("*.py")} - shared
    for net in nets:
        tree = ast.parse((SOURCE / "models" / f"{net}.py").read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not modules & nets, net


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_name_says_what_is_in_it(path: Path) -> None:
    assert path.stem not in {"utils", "common", "helpers", "misc", "base", "core"}


def test_every_public_name_exists_and_no_other_is_listed() -> None:
    for name in classicnets.__all__:
        assert getattr(classicnets, name) is not None, name
    assert set(dir(classicnets)) == {*classicnets.__all__, "__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_name_in_all_is_defined(path: Path) -> None:
    names = path.relative_to(SOURCE.parent).with_suffix("").parts
    module = import_module(".".join(name for name in names if name != "__init__"))
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name), name


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'classicnets' has no attribute 'LeNet7'"):
        classicnets.LeNet7  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import classicnets",
        "import classicnets.shapes",
        "import classicnets.errors",
        "import classicnets.models; classicnets.list_models()",
        "import classicnets.data",
        "import classicnets.cli",
        "from classicnets.cli import main; main(['list']); main(['size', '28', '-k', '5'])",
        "from classicnets.cli import main; main(['train', '--help'])",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    heavy = "{'torch', 'torchvision', 'numpy', 'sklearn', 'matplotlib'}"
    check = f"import sys; {code}; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_exception_is_also_a_builtin_that_a_stranger_would_catch() -> None:
    root = classicnets.ClassicNetsError
    kinds = [
        kind
        for kind in vars(classicnets.errors).values()
        if isinstance(kind, type) and issubclass(kind, root) and kind is not root
    ]
    assert kinds
    for kind in kinds:
        assert issubclass(kind, ValueError | OSError | RuntimeError), kind
