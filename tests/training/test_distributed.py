"""Two ranks do what one process does, and none of them outlives the other."""

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from classicnets import cli
from classicnets.data.loader import TensorLoader
from classicnets.errors import ConfigError, DataError, DivergedError, RankFailedError
from classicnets.preparation import Preparation
from classicnets.training import each_step, evaluate, fit, ranks
from classicnets.training.distributed import shard
from classicnets.training.ranks import Ranks, find_ranks

SOURCE = Path(__file__).parents[2] / "src"

pytestmark = [
    pytest.mark.filterwarnings("ignore:the loss stayed within 1 %"),
    pytest.mark.skipif(sys.platform == "win32", reason="starts its ranks by fork"),
]


def on_ranks(
    function: Callable[[int], Any], world_size: int = 2, *, ends: bool = True, seconds: float = 40
) -> list[Any]:
    """Run a function on each rank; what it returned, or the error it raised.

    Args:
        function: of the rank.
        world_size: how many ranks.
        ends: whether all of them must come to their end; else the killed are None.
        seconds: after which they are killed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(world_size)]
    processes = [
        context.Process(target=run_rank, args=(function, rank, world_size, port, pipes[rank][1]))
        for rank in range(world_size)
    ]
    for process, (_, sender) in zip(processes, pipes, strict=True):
        process.start()
        sender.close()
    deadline = time.monotonic() + seconds
    answers = []
    for receiver, _ in pipes:
        try:
            came = receiver.poll(max(0.0, deadline - time.monotonic()))
            late = TimeoutError(f"after {seconds} s")
            answers.append(pickle.loads(receiver.recv_bytes()) if came else late)  # noqa: S301
        except EOFError:
            answers.append(None)
        receiver.close()
    for process in processes:
        process.join(1)
        process.kill()
    if ends:
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
    return answers


def run_rank(function: Callable[[int], Any], rank: int, world_size: int, port: int, sender) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        GLOO_SOCKET_IFNAME="lo",
    )
    ranks.PATIENCE_SECONDS = 6.0
    torch.set_num_threads(1)
    try:
        answer = function(rank)
    except Exception as error:
        answer = error
    sender.send_bytes(pickle.dumps(answer))


def net(dropout: float = 0.0, seed: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(144, 4)
    )


def pictures(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (count,), generator=generator)
    images = torch.randint(100, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images[torch.arange(count), 0, labels] += 100
    return images, labels


def loader(count: int = 33, batch_size: int = 8, **options: Any) -> TensorLoader:
    """Four batches and one of a single picture, which leaves rank 1 without any."""
    images, labels = pictures(count)
    return TensorLoader(
        images,
        labels,
        classes=tuple("abcd"),
        preparation=Preparation(8, mean=(0.3,), std=(0.2,)),
        batch_size=batch_size,
        **{"shuffle": True, **options},
    )


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def rows(history: Any) -> list[tuple[Any, ...]]:
    """All of a history but the clock."""
    return [
        (r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy, r.lr)
        for r in history.epochs
    ]


def train(model: nn.Module | None = None, data: Any = None, **options: Any) -> tuple[Any, Any]:
    model = model or net()
    given = {"epochs": 3, "lr": 0.01, "seed": 0, "device": "cpu", "progress": False, **options}
    history = fit(model, data or loader(), **given)
    return weights(model), history


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Have all that training imports in the process that is forked."""
    train(epochs=1)


def assert_as_one_process(function: Callable[[], tuple[Any, Any]], *, atol: float = 1e-5) -> None:
    """Hold weights and metrics of two ranks against those of one process."""
    alone, history = function()
    (first, first_history), (second, second_history) = on_ranks(lambda rank: function())
    assert torch.equal(first, second)
    assert first_history == second_history
    torch.testing.assert_close(first, alone, rtol=0, atol=atol)
    torch.testing.assert_close(
        torch.tensor(first_history.step_losses), torch.tensor(history.step_losses)
    )
    assert [r[2] for r in rows(first_history)] == [r[2] for r in rows(history)]
    assert [r[4] for r in rows(first_history)] == [r[4] for r in rows(history)]


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "schedule": "onecycle"},
        {"optimizer": "sgd", "clip_norm": 0.5, "accumulate": 2},
        {"optimizer": "sgd", "accumulate": 3},
        {"optimizer": "adam", "early_stopping": 1, "lr": 0.03},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_two_ranks_train_as_one_process_though_the_last_batch_leaves_one_without(options):
    def run():
        return train(val_loader=loader(17, 5, shuffle=False), **options)

    # Adam divides by the root of what is rounded
    assert_as_one_process(run, atol=1e-3 if options["optimizer"] == "adam" else 1e-5)


def test_batches_of_fewer_images_than_ranks_train_as_in_one_process():
    assert_as_one_process(lambda: train(data=loader(3, 1), optimizer="sgd"))


def test_a_foreign_loader_without_a_seed_of_its_own_is_read_alike_and_cut():
    def run():
        model = net()
        images, labels = pictures(33)
        data = DataLoader(TensorDataset(images / 255, labels), batch_size=8, shuffle=True)
        torch.manual_seed(int(os.environ.get("RANK", 0)))
        return train(model, data, optimizer="sgd", seed=None)

    assert_as_one_process(run)


def test_half_precision_trains_and_leaves_equal_weights():
    first, second = on_ranks(lambda rank: train(precision="bf16"))
    assert torch.equal(first[0], second[0])
    assert first[1].epochs[-1].train_loss < first[1].epochs[0].train_loss


def test_the_model_stays_the_plain_module_and_buffers_are_those_of_rank_0():
    def run(rank):
        model = nn.Sequential(net()[:3], nn.Linear(144, 4), nn.BatchNorm1d(4))
        fit(model, loader(32), epochs=2, device="cpu", progress=False)
        gradients = model(torch.ones(2, 1, 8, 8)).sum().backward()
        return weights(model), type(model), gradients

    first, second = on_ranks(run)
    assert torch.equal(first[0], second[0])
    assert first[1] is nn.Sequential


def test_dropout_differs_between_ranks_and_repeats_from_run_to_run():
    def run(rank):
        seen = []
        model = net(0.5)
        model[3].register_forward_hook(lambda module, inputs, output: seen.append(output[0] == 0))
        train(model, loader(32), epochs=1)
        return seen[0], weights(model)

    (first, trained), (second, _) = on_ranks(run)
    assert not torch.equal(first, second)
    assert torch.equal(on_ranks(run)[1][1], trained)


@pytest.mark.parametrize("count", [33, 1])
def test_evaluate_is_exact_and_keeps_the_order_of_the_loader(count):
    def run(rank=0):
        return evaluate(net(), loader(count, 8, shuffle=False))

    alone = run()
    for result in on_ranks(run):
        assert (result.accuracy, result.interval, result.count) == (
            alone.accuracy,
            alone.interval,
            alone.count,
        )
        assert result.loss == pytest.approx(alone.loss, rel=1e-6)
        assert torch.equal(result.labels, alone.labels)
        assert torch.equal(result.predictions, alone.predictions)
        assert (result.confusion == alone.confusion).all()


def test_rank_0_alone_writes(tmp_path):
    def run(rank):
        os.chdir(tmp_path)
        written = []
        sys.addaudithook(
            lambda name, args: (
                written.append(str(args[0]))
                if name in ("os.mkdir", "os.rename", "os.truncate")
                or (name == "open" and isinstance(args[1], str) and "w" in args[1])
                else None
            )
        )
        train(checkpoint_dir=tmp_path / "run")
        return [name for name in written if str(tmp_path) in name]

    first, second = on_ranks(run)
    assert first
    assert second == []


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2), (2, 2)], ids=str)
def test_a_run_resumes_on_another_number_of_ranks(tmp_path, sizes):
    def run(stop_at: int | None, resume: bool):
        @each_step
        def stop(event):
            return event.step == stop_at

        return train(
            optimizer="sgd",
            val_loader=loader(17, 5, shuffle=False),
            checkpoint_dir=tmp_path,
            callbacks=[stop],
            resume=resume,
        )

    whole, history = train(optimizer="sgd", val_loader=loader(17, 5, shuffle=False))
    parts = [lambda rank: run(7, False), lambda rank: run(None, True)]
    for part, size in zip(parts, sizes, strict=True):
        answers = on_ranks(part, size) if size > 1 else [part(0)]
    for resumed, resumed_history in answers:
        torch.testing.assert_close(resumed, whole, rtol=0, atol=1e-5)
        assert [r[2] for r in rows(resumed_history)] == [r[2] for r in rows(history)]
        assert len(resumed_history.step_losses) == len(history.step_losses)


def test_a_resumed_run_with_dropout_equals_one_that_never_stopped_to_the_bit(tmp_path):
    def run(folder, stop_at, resume):
        @each_step
        def stop(event):
            return event.step == stop_at

        return lambda rank: train(
            net(0.5), checkpoint_dir=tmp_path / folder, callbacks=[stop], resume=resume
        )

    whole = on_ranks(run("whole", None, False))[0]
    on_ranks(run("cut", 7, False))
    resumed = on_ranks(run("cut", None, True))[0]
    assert torch.equal(resumed[0], whole[0])
    assert rows(resumed[1]) == rows(whole[1])


def test_a_callback_of_one_rank_stops_all_after_the_same_batch():
    def run(rank):
        @each_step
        def stop(event):
            return rank == 1 and event.step == 7

        return train(callbacks=[stop] if rank == 1 else [])[1]

    for history in on_ranks(run):
        assert (history.stopped, len(history.step_losses)) == ("callback", 7)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_one_rank_stops_all_after_the_same_batch_and_it_is_saved(tmp_path, name):
    def run(rank):
        @each_step
        def interrupt(event):
            if rank == 1 and event.step == 7:
                signal.raise_signal(signal.Signals[name])

        history = train(callbacks=[interrupt], checkpoint_dir=tmp_path)[1]
        return history.stopped, history.interrupted, len(history.step_losses)

    first, second = on_ranks(run)
    assert first == second
    assert first[:2] == (name, True)
    assert first[2] in (7, 8)
    assert (tmp_path / f"step_{first[2]:08d}").is_dir()


def errors(answers: list[Any]) -> list[str]:
    return [f"{type(answer).__name__}: {answer}" for answer in answers]


def test_a_loss_that_is_not_finite_on_one_rank_ends_all_as_diverged():
    def run(rank):
        images, labels = pictures(16)
        images = images / 255
        images[13] = torch.nan  # of the second batch, the part of rank 1
        data = list(zip(images.split(8), labels.split(8), strict=True))
        return train(data=data)

    for answer in on_ranks(run, ends=False):
        assert isinstance(answer, DivergedError)
        assert "the loss is nan at step 2" in str(answer)
        assert len(answer.history.step_losses) == 1


class Spoilt(nn.Module):
    """Raises at the third batch of one rank, in the place named."""

    def __init__(self, rank: int, where: str) -> None:
        super().__init__()
        self.inner, self.rank, self.where, self.seen = net(), rank, where, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        x = self.inner(x)
        if self.rank == 1 and self.seen == 3:
            if self.where == "forward":
                raise ValueError("spoilt forward")
            x.register_hook(self.spoil)
        return x

    def spoil(self, gradient: Tensor) -> None:
        raise ValueError("spoilt backward")


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_error_of_one_rank_ends_the_other_which_says_it(where):
    first, second = on_ranks(lambda rank: train(Spoilt(rank, where)), ends=False)
    assert isinstance(second, ValueError)
    assert isinstance(first, RankFailedError)
    assert f"rank 1 failed: ValueError: spoilt {where}" in str(first)


def test_an_error_of_one_loader_is_told_to_the_other_rank():
    def run(rank):
        def batches():
            images, labels = pictures(8)
            yield images / 255, labels
            if rank == 1:
                raise OSError("the disk is gone")
            yield images / 255, labels

        return train(data=Endless(batches))

    first, second = on_ranks(run, ends=False)
    assert isinstance(first, RankFailedError)
    assert str(first) == "rank 1 failed: OSError: the disk is gone"
    assert isinstance(second, OSError)


class Endless:
    """An iterable of what a function gives."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __iter__(self):
        return iter(self.function())


def test_loaders_of_unequal_length_are_found():
    def run(rank):
        images, labels = pictures(8)
        return train(data=[(images / 255, labels)] * (2 + rank), schedule=None)

    for answer in on_ranks(run, ends=False):
        assert isinstance(answer, DataError)
        assert "the loader of rank 0 has ended, that of rank 1 has not" in str(answer)


def test_loaders_that_give_each_rank_other_batches_are_found():
    def run(rank):
        images, labels = pictures(32)
        data = DataLoader(
            TensorDataset(images / 255, labels),
            batch_size=8,
            shuffle=True,
            generator=torch.Generator().manual_seed(rank),
        )
        return train(data=data)

    for answer in on_ranks(run, ends=False):
        assert isinstance(answer, DataError)
        assert "rank 1 reads other batches than rank 0" in str(answer)


def test_a_distributed_sampler_is_refused():
    data = TensorDataset(*pictures(8))
    sampled = DataLoader(data, sampler=DistributedSampler(data, num_replicas=2, rank=0))
    with pytest.raises(ConfigError, match="loader has a DistributedSampler; give it a plain"):
        shard(two_ranks(), sampled)


def two_ranks() -> Ranks:
    ranks = Ranks()
    ranks.alone = False
    return ranks


def test_an_error_of_rank_0_while_it_writes_is_that_of_all(tmp_path):
    (tmp_path / "file").touch()
    answers = on_ranks(lambda rank: train(checkpoint_dir=tmp_path / "file"), ends=False)
    assert errors(answers)[0] == errors(answers)[1]
    assert errors(answers)[0].startswith("StorageError: ")


@pytest.mark.parametrize("dies", [0, 1])
def test_when_a_rank_is_killed_the_other_ends_and_names_it(dies, tmp_path):
    def run(rank):
        @each_step
        def die(event):
            if rank == dies and event.step == 7:
                os.kill(os.getpid(), signal.SIGKILL)

        return train(callbacks=[die], checkpoint_dir=tmp_path)

    begun = time.monotonic()
    answers = on_ranks(run, ends=False)
    assert answers[dies] is None
    assert isinstance(answers[1 - dies], RankFailedError)
    assert f"rank {dies} (process " in str(answers[1 - dies])
    assert "died" in str(answers[1 - dies])
    assert time.monotonic() - begun < 15


def test_when_a_rank_hangs_the_other_ends_in_time():
    def run(rank):
        ranks.PATIENCE_SECONDS = 2.0

        @each_step
        def hang(event):
            if rank == 1 and event.step == 7:
                os.kill(os.getpid(), signal.SIGSTOP)

        return train(callbacks=[hang])

    answer = on_ranks(run, ends=False, seconds=6)[0]
    assert isinstance(answer, RankFailedError)
    assert "a rank died or gave no answer for 2 s" in str(answer)


def test_a_rank_that_never_comes_is_an_error(monkeypatch):
    def run(rank):
        ranks.PATIENCE_SECONDS = 2.0
        if rank == 0:
            find_ranks()

    answer = on_ranks(run, ends=False)[0]
    assert isinstance(answer, RankFailedError)
    assert "the 2 ranks did not all come to 127.0.0.1:" in str(answer)


@pytest.mark.parametrize("environment", [{}, {"RANK": "0"}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_without_torchrun_no_process_group_is_made(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_ranks().alone
    assert not torch.distributed.is_initialized()


def test_the_command_trains_and_resumes_and_rank_0_alone_speaks(tmp_path):
    folder = str(tmp_path / "run")

    def run(rank):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            statuses = [
                cli.main(["train", "lenet5", "--epochs", "1", "--out", folder, "--quiet"]),
                cli.main(["resume", folder, "--epochs", "2", "--quiet"]),
                cli.main(["evaluate", folder]),
                cli.main(["train", "lenet5", "--out", folder]),
            ]
        return statuses, text.getvalue()

    (statuses, text), (others, silence) = on_ranks(run)
    assert statuses == others == [0, 0, 0, 5]
    assert silence == ""
    assert text.count("test accuracy") == 2
    assert text.count("holds a run already; choose another folder") == 1
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["result"]["epochs"], metrics["result"]["test"]["count"]) == (2, 360)


def test_data_are_made_ready_by_one_rank_of_a_machine_before_the_others():
    def run(rank):
        return find_ranks().in_turn(lambda: time.sleep(0.2 - 0.2 * rank) or time.monotonic())

    first, second = on_ranks(run)
    assert first < second


@pytest.mark.parametrize("fails", [0, 1])
def test_an_error_of_one_rank_with_its_data_is_told_to_the_other(fails):
    def run(rank):
        def load():
            if rank == fails:
                raise DataError("no data")

        return find_ranks().in_turn(load)

    answers = on_ranks(run, ends=False)
    assert isinstance(answers[fails], DataError)
    assert errors(answers)[1 - fails] == f"RankFailedError: rank {fails} failed: DataError: no data"


def test_torchrun_starts_the_ranks_and_the_death_of_one_ends_all(tmp_path):
    script = tmp_path / "die.py"
    script.write_text(
        "import os, torch\n"
        "from classicnets.training import each_step, fit\n"
        "@each_step\n"
        "def die(event):\n"
        "    if os.environ['RANK'] == '1' and event.step == 5:\n"
        "        os.kill(os.getpid(), 9)\n"
        "torch.manual_seed(0)\n"
        "net = torch.nn.Linear(4, 2)\n"
        "data = [(torch.rand(8, 4), torch.arange(8) % 2)] * 4\n"
        "fit(net, data, epochs=100, callbacks=[die], device='cpu', checkpoint_dir='run')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.run(
        [*command, str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert process.returncode != 0
    assert "exitcode  : -9" in process.stderr
    assert list((tmp_path / "run").glob("step_*"))
