"""The one call that trains a net."""

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, OutOfMemoryError, RankFailedError
from ..storage.checkpoints import CheckpointStore
from .batches import Batches
from .captured_step import reason_not_to_capture, warn_eager
from .devices import compiled, dtype_of
from .distributed import (
    RankNet,
    align_random,
    mean_over_ranks,
    net_of_step,
    one_callback,
    save_together,
    share_buffers,
    unwrapped,
)
from .evaluate import check_classes
from .events import Callback
from .history import History
from .interruption import Interruption
from .layout import Layout, fastest_layout
from .levenberg_marquardt import DiagonalLM
from .loop import Loop
from .losses import Loss, resolve_loss
from .memory import freed_memory_kept
from .optimizers import OptimizerChoice, be_eager, build_optimizer, settings_of
from .progress import Progress
from .random_state import random_state_kept
from .ranks import Ranks, find_ranks, on_every_rank
from .resume import refuse_used, restore, run_identity, save
from .schedules import EpochRates, RateCurve, ScheduleChoice, build_schedule
from .step import Step
from .tally import Tally


@on_every_rank
@freed_memory_kept()  # outside, so that what fit itself held goes back as well
def fit(
    model: torch.nn.Module,
    loader: Iterable[Any],
    *,
    epochs: int = 10,
    val_loader: Iterable[Any] | None = None,
    optimizer: OptimizerChoice = "adam",
    lr: float | None = None,
    loss: str | Loss | None = None,
    schedule: ScheduleChoice | None = None,
    device: str | torch.device = "auto",
    precision: str = "float32",
    seed: int | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    online: bool = False,
    average: float | None = None,
    compile: bool = False,  # noqa: A002 (torch's word)
    monitor: str = "accuracy",
    early_stopping: int | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
) -> History:
    """Train a net and return what happened.

    With a validation loader the model ends with the weights of its best epoch (see `monitor`). A
    loss that is not finite ends the run before it spoils the weights. The first Ctrl-C or SIGTERM
    ends it well, after the batch; the second at once. All modules are put in training mode for it
    and get back the mode they had; the model stays on its device.

    Args:
        model: any module that gives outputs (N, num_classes) for images (N, C, H, W).
        loader: any iterable of (images, labels) batches.
        epochs: passes over the loader, at least 1.
        val_loader: measured after each epoch, in the mode and without the randomness of training.
        optimizer: "adam", "adamw", "sgd" (momentum 0.9), "rmsprop", "diagonal_lm" (the optimizer
            of 1998, whose curvatures are estimated anew from the first 500 pictures of each
            epoch, as far as its first batch has them), a torch optimizer, or a callable of the
            parameters.
        lr: learning rate for an optimizer given by name; None for 0.001, for "sgd" 0.01, for
            "diagonal_lm" 0.0005.
        loss: "cross_entropy", "mse" (to targets of -1 and +1), "squared_error" (the same summed
            over the outputs), "distance" (to the code of the own class, for `LeNet5Paper`),
            "map_distance" (that with the other codes pushed away), or a callable of (outputs,
            labels) that returns a mean over the batch; None for cross-entropy.
        schedule: "onecycle", "cosine", "step" or a callable of (optimizer, total_steps), stepped
            after each update; or a list with the rate of each epoch, or a torch scheduler, stepped
            after each epoch.
        device: "auto" (cuda, then mps, then cpu) or the name of a device.
        precision: "float32", "bf16" or "fp16".
        seed: for what is random inside the net, such as dropout; None leaves torch's random state
            to go on as it is. The order of the data has its own seed, in the loader.
        clip_norm: the largest norm of all gradients together.
        accumulate: batches whose gradients make one update.
        online: whether each picture makes an update of its own, as in the papers of 1989 and 1998,
            whatever the size of the batches; for chains of layers that `PatternStep` knows, on the
            CPU, where it is many times faster than batches of one.
        average: decay, 0..1, of a moving average of the weights, one of 0.999 spanning about the
            last thousand updates. The average is what is validated and what the model ends with;
            None for the weights themselves.
        compile: whether to train through `torch.compile`. It takes a C++ compiler and some ten
            seconds, and on a CPU makes these nets no faster. On a GPU steps are captured as well.
        monitor: what makes an epoch the best on the validation loader: "accuracy", the highest,
            ties by the lower loss; or "loss", the lowest, ties by the higher accuracy, which chance
            moves less where the net is wrong on few pictures.
        early_stopping: epochs without a better validation after which to stop.
        callbacks: callables of an `Event`, at each epoch's end, and at each step for those marked
            with `training.each_step`; one that returns True ends the run.
        progress: whether to show a bar in a terminal or notebook.
        checkpoint_dir: folder for checkpoints, one at each epoch's end; None for none.
        checkpoint_every: also one every so many batches.
        resume: go on from the newest whole checkpoint in `checkpoint_dir`, or begin if there is
            none.

    Raises:
        ConfigError: an argument that cannot work.
        DataError: the loader is empty, a batch is malformed or a label lies outside the classes.
        DivergedError: the loss became NaN or infinite; `.history` has what happened before.
        DeviceError: the device does not exist.
        OutOfMemoryError: a batch does not fit into memory.
        StorageError: the checkpoints cannot be written.
        CheckpointMismatchError: the checkpoints to resume from belong to another run.

    Example:
        >>> from classicnets import LeNet5, fit
        >>> batch = torch.rand(8, 1, 32, 32), torch.arange(8)
        >>> history = fit(LeNet5(), [batch], epochs=2, seed=0, progress=False)
        >>> len(history.epochs), len(history.step_losses)
        (2, 2)
    """
    _check_numbers(epochs, seed, clip_norm, accumulate, early_stopping, checkpoint_every)
    if average is not None and not 0 < average < 1:
        raise ConfigError(f"average is {average!r}; the decay must be a number between 0 and 1")
    if monitor not in ("accuracy", "loss"):
        raise ConfigError(f"monitor is {monitor!r}; allowed are 'accuracy' and 'loss'")
    asked = {"early_stopping": early_stopping is not None, "monitor": monitor != "accuracy"}
    for name in asked:
        if asked[name] and val_loader is None:
            raise ConfigError(f"{name} needs a val_loader; give one, or leave it out")
    if checkpoint_dir is None and (resume or checkpoint_every is not None):
        raise ConfigError("resume and checkpoint_every need a checkpoint_dir; name the folder")
    _check_sizes(model)
    ranks = find_ranks()
    place = ranks.device("cpu" if online and device == "auto" else device)
    if online:
        _check_online(place, ranks)
    if online and (precision != "float32" or accumulate > 1 or clip_norm or average or compile):
        raise ConfigError(
            "online=True makes an update of each picture's gradients as they are; leave out "
            "precision, clip_norm, accumulate, average and compile"
        )
    loss_function = resolve_loss(loss)
    train = Batches(loader, place, dtype_of(model), ranks)
    val = None if val_loader is None else Batches(val_loader, place, dtype_of(model), ranks)
    model.to(place)
    if isinstance(loss_function, torch.nn.Module):
        loss_function.to(place)
    bare = unwrapped(model)
    inner = getattr(bare, "_orig_mod", bare)  # what torch.compile wraps
    with ExitStack() as stack:
        layout = Layout(inner, is_usual=True)
        if not isinstance(optimizer, torch.optim.Optimizer):  # its state may be in another order
            layout = stack.enter_context(fastest_layout(inner, place, precision))
        if lr is not None and isinstance(schedule, list | tuple):
            raise ConfigError(
                f"lr is {lr}, and schedule has a rate for each epoch; leave one of them out"
            )
        chosen = build_optimizer(optimizer, model, lr)
        _check_optimizer(chosen, ranks)
        updates = None if train.count is None else epochs * math.ceil(train.count / accumulate)
        stepped, by_batch = build_schedule(schedule, chosen, updates)
        if isinstance(stepped, RateCurve | EpochRates):
            stack.callback(stepped.restore)
        identity = run_identity(
            inner,
            train,
            {
                "seed": seed,
                "optimizer": type(chosen).__name__,
                "optimizer settings": settings_of(chosen),
                "schedule": schedule,
                "loss": loss,
                "precision": precision,
                "clip_norm": clip_norm,
                "accumulate": accumulate,
                "online": online,
                "average": average,
                "compile": compile,
                "validation": val is not None,
                "monitor": monitor,
            },
        )
        layout.optimizer = chosen
        if place.type == "cpu" and not layout.is_usual:  # no graph knows the place of the weights
            callbacks = [*map(layout.shown_as_usual, callbacks)]
        net = net_of_step(ranks, compiled(model, place) if compile else model, accumulate)
        step = Step(
            net,
            mean_over_ranks(ranks, loss_function),
            chosen,
            device=place,
            precision=precision,
            clip_norm=clip_norm,
            accumulate=accumulate,
            check=lambda outputs, labels: check_classes(train, outputs, labels, loss_function),
            share=net.average_gradients if isinstance(net, RankNet) else None,
            order_as_usual=None if layout.is_usual else layout.order_as_usual,
        )
        stack.callback(step.end)
        if online:
            step.go_online()
        if place.type == "cuda":
            reason = reason_not_to_capture(
                inner,
                chosen,
                precision=precision,
                accumulate=accumulate,
                compiled_before=bare is not inner,
            )
            if not ranks.alone:
                reason = "it shares each of them with other processes"
            if reason is None:
                step.capture()
            else:
                warn_eager(reason)
                if isinstance(optimizer, str):
                    be_eager(chosen)
        store = CheckpointStore(checkpoint_dir) if checkpoint_dir is not None else None
        if store is not None:
            ranks.first(lambda: stack.enter_context(store) and None)
        if seed is not None:
            stack.enter_context(random_state_kept(place))
            torch.manual_seed(seed)
        align_random(ranks, place)
        loop = Loop(
            inner,
            step,
            chosen,
            train,
            val,
            loss=loss_function,
            schedule=stepped,
            schedule_by_batch=by_batch,
            average=average,
            monitor=monitor,
            early_stopping=early_stopping,
            callbacks=one_callback(ranks, callbacks),
            save_every=checkpoint_every,
            interruption=ranks.listen(stack.enter_context(Interruption())),
            bar=stack.enter_context(Progress(progress and ranks.rank == 0)),
        )
        if loop.average is not None:
            layout.nets.append(loop.average)
        if store is not None:
            if resume:
                restore(ranks.first(store.newest), loop, identity)
                if ranks.rank:
                    loop.tally = Tally()
            else:
                ranks.first(lambda: refuse_used(store))
            loop.save = lambda loop, best: save_together(
                ranks, loop.tally, lambda: save(store, loop, identity, best)
            )
        try:
            history = loop.run(epochs)
            share_buffers(ranks, inner)
            return history
        except RankFailedError:
            raise
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"a batch{_size_of(loader)} does not fit into the memory of {place}: {error}; "
                "take a smaller batch_size (accumulate= keeps its effect) or another device"
            ) from error


def _check_numbers(
    epochs: int,
    seed: int | None,
    clip_norm: float | None,
    accumulate: int,
    early_stopping: int | None,
    checkpoint_every: int | None,
) -> None:
    whole = {
        "epochs": epochs,
        "accumulate": accumulate,
        "early_stopping": early_stopping,
        "checkpoint_every": checkpoint_every,
    }
    for name, value in whole.items():
        if value is not None and (not _is_whole(value) or value < 1):
            raise ConfigError(f"{name} is {value!r}; it must be a whole number from 1 up")
    if seed is not None and (not _is_whole(seed) or not 0 <= seed < 2**63):
        raise ConfigError(f"seed is {seed!r}; it must be a whole number from 0 to 2**63 - 1")
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise ConfigError(f"clip_norm is {clip_norm!r}; it must be a number above 0")


def _check_sizes(model: torch.nn.Module) -> None:
    """Raise if a layer waits for its first batch to know its size."""
    lazy = [name for name, p in model.named_parameters() if torch.nn.parameter.is_lazy(p)]
    if lazy:
        raise ConfigError(
            f"{lazy[0]!r} of the net has no size yet, as of a lazy layer; call the net once on "
            "a batch, as in model(images), and then fit"
        )


def _check_online(place: torch.device, ranks: Ranks) -> None:
    """Raise unless an update can follow each picture: on the CPU, in one process."""
    if place.type != "cpu" or not ranks.alone:
        raise ConfigError(
            f"device is {str(place)!r}, processes: {ranks.world_size}; online=True trains on "
            "'cpu' in 1 process: leave out device and torchrun"
        )


def _check_optimizer(optimizer: torch.optim.Optimizer, ranks: Ranks) -> None:
    """Raise if each process would come to its own idea of the loss."""
    if isinstance(optimizer, DiagonalLM) and not ranks.alone:
        raise ConfigError(
            f"processes: {ranks.world_size}; DiagonalLM estimates its curvatures from the pictures "
            "of 1 process: leave out torchrun"
        )


def _is_whole(value: object) -> bool:
    """Return whether a value is a whole number of Python or numpy."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "not enough memory" in str(error) or "can't allocate memory" in str(error)
    )


def _size_of(loader: Any) -> str:
    size = getattr(loader, "batch_size", None)
    return "" if size is None else f" of {size} images"
