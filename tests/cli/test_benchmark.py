"""The command bench: its table and its JSON."""

import json

import pytest

from classicnets import benchmark
from classicnets.benchmark import Measurement, Spread
from classicnets.cli import main

QUICK = ["--batch-size", "2", "--batch-size", "4", "--seconds", "0.001", "--device", "cpu"]


def test_bench_prints_a_table_for_each_net(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "lenet1989", "lenet1", *QUICK]) == 0
    first, *tables = capsys.readouterr().out.split("\n\n")
    assert "torch" in first
    assert [table.split(",")[0] for table in tables] == ["lenet1989", "lenet1"]
    for table in tables:
        _, head, *rows = table.splitlines()
        assert head.split() == ["batch", "device", "training", "inference", "data", "memory"]
        assert [row.split()[:2] for row in rows] == [["2", "cpu"], ["4", "cpu"]]


def test_bench_gives_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "lenet1989", *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"machine", "versions", "nets"}
    rows = found["nets"]["lenet1989"]["cpu"]
    assert [row["batch_size"] for row in rows] == [2, 4]
    assert rows[0]["training"]["n"] == 3


def test_bench_tells_from_which_batch_size_the_gpu_is_faster_and_what_was_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(model: object, *, device: str, **options: object) -> list[Measurement]:
        speeds = [10, 10] if device == "cpu" else [5, 20]
        both = [Spread(n=3, median=s, lowest=0.9 * s, highest=s) for s in speeds]
        return [
            *(
                Measurement(
                    batch_size=size, training=each, inference=each, data=each, peak_bytes=2 * 10**6
                )
                for size, each in zip([1, 16], both, strict=True)
            ),
            Measurement(batch_size=256, skipped="256 do not fit in memory"),
        ]

    monkeypatch.setattr(benchmark, "measure", measure)
    assert main(["bench", "lenet5", "--device", "cpu", "--device", "cuda"]) == 0
    text = capsys.readouterr().out
    assert "16 cuda 20 ±10 % 20 ±10 % 100 % 2 MB" in " ".join(text.split())
    assert "batch 256 on cuda skipped: 256 do not fit in memory" in text
    assert "training: below batch 16 use the CPU\ninference: below batch 16 use the CPU\n" in text


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["lenet7"], 3, "name is 'lenet7', did you mean"),
        (["lenet1", "--device", "gpu0"], 3, "device is 'gpu0', which does not exist here"),
        (["lenet1", "--batch-size", "0"], 2, "Invalid value for '--batch-size'"),
    ],
)
def test_a_wrong_word_is_told_before_anything_is_measured(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == status
    assert message in capsys.readouterr().err
