"""What the command line says when something is wrong, and with which status it ends."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from classicnets import cli, errors, fit, runs
from classicnets.cli import main

PROGRAM = [sys.executable, "-c", "import sys; from classicnets.cli import main; sys.exit(main())"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ConfigError("e"), 3),
        (errors.DeviceError("e"), 3),
        (errors.DataError("e"), 3),
        (errors.OutOfMemoryError("e"), 3),
        (errors.WeightsError("e"), 4),
        (errors.CheckpointMismatchError("e"), 4),
        (errors.CheckpointCorruptError("e"), 4),
        (errors.StorageError("e"), 5),
        (errors.RunLockedError("e"), 5),
        (errors.DownloadError("e"), 6),
        (errors.DivergedError("e"), 7),
        (errors.WorkerDiedError("e"), 8),
        (errors.RankFailedError("e"), 8),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("e"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_each_error_is_one_line_and_has_its_exit_status(
    error: BaseException,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(cli._COMMANDS, "list", (fail, []))
    assert main(["list"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    if not isinstance(error, KeyboardInterrupt):
        assert err.startswith("classicnets: error: ")
        assert err.count("\n") == 1


def test_a_message_of_many_lines_or_control_letters_is_made_one_printable_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise errors.DataError("one\n  two \x1b[31mthree")

    monkeypatch.setitem(cli._COMMANDS, "list", (fail, []))
    main(["list"])
    assert capsys.readouterr().err == "classicnets: error: one two \\x1b[31mthree\n"


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "2", "-k", "3", "--debug"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("classicnets: error: size is 2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lisst"], "No such command 'lisst'"),
        (["list", "--jsn"], "No such option"),
        (["train"], "Missing argument 'NAME' (see classicnets train --help)"),
        (["train", "lenet5", "--epochs", "many"], "'--epochs'"),
        (["plot", "run", "heatmap"], "heatmap"),
    ],
)
def test_wrong_usage_ends_with_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_without_a_word_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "Usage: classicnets" in text
    assert "Exit status:" in text


@pytest.mark.parametrize("name", list(cli._COMMANDS))
def test_the_help_of_every_command_has_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  Examples:\n    classicnets {name}" in text
    assert all(len(line) <= 90 for line in text.splitlines())


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    from classicnets import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_output_closed_early_ends_quietly() -> None:
    command = " ".join(f"'{word}'" for word in [*PROGRAM, "size", "28", "-k", "5"])
    pipe = f"set -o pipefail; {command} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_well_and_keeps_the_run(
    number: signal.Signals,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raise_it(event: object) -> None:
        signal.raise_signal(number)

    folder = str(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "fit", partial(fit, callbacks=[raise_it]))
        assert main(["train", "lenet1", "--epochs", "2", "--out", folder, "--quiet"]) == status
    said = capsys.readouterr().out
    assert f"stopped by {number.name} after 1 epoch" in said
    assert f"classicnets resume {folder}" in said
    assert main(["evaluate", folder]) == 3
    assert f"did not finish; go on: classicnets resume {folder}" in capsys.readouterr().err
    assert main(["resume", folder, "--quiet"]) == 0
    whole = runs.train("lenet1", epochs=2, out=tmp_path / "whole", progress=False)
    resumed = runs.open_run(folder)
    for name, value in whole.model.state_dict().items():
        assert value.equal(resumed.model.state_dict()[name])
    assert resumed.history.step_losses == whole.history.step_losses
