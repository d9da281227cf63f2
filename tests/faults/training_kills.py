"""K1, K4: `fit` killed again and again, and resumed each time, to the same bits."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from classicnets.training import loop

from .kills import PHASES, aim
from .processes import Child, Notes
from .rows import counted, row
from .training_run import (
    BATCHES,
    EPOCHS,
    Plan,
    assert_little_lost,
    assert_same,
    kill_myself,
    reference,
    train,
)

_KILLS = 8  # at most, of one run: it must come to its end too
_PLANS = (Plan(), Plan(chance="dropout"), Plan(net="sequential_cnn", optimizer="sgd"))


def killed_on_and_on(
    plan: Plan, folder: Path, start: Callable[[int], Child], kill: Callable[[Child], None]
) -> list[Notes]:
    """Kill a run, resume it, kill it; return the notes of those processes that died of it."""
    died: list[Notes] = []
    newest, every = 0, plan.every or BATCHES
    for life in range(_KILLS):
        child = start(life)
        kill(child)
        answer = child.result()
        if answer is not None:  # it had ended
            break
        died.append(child.notes)
        done = child.notes["done"]
        newest = assert_little_lost(folder, before=newest, done=done, every=every)
    else:
        answer = Child(lambda notes: train(plan, folder, notes)).result()
    assert_same(answer, plan)
    return died


@row("K1", "fit killed at random moments, resumed, killed again", counted(2, 34), fires=0.9)
def killed_at_random(case: int, rng: random.Random, folder: Path) -> tuple[int, int]:
    plan = _PLANS[case % len(_PLANS)]
    interval = reference(plan).seconds / (EPOCHS * BATCHES / (plan.every or BATCHES))

    def kill(child: Child) -> None:
        child.notes.wait_for("ready" if rng.random() < 0.25 else "done")
        time.sleep(3 * interval * rng.random())
        child.kill()

    died = killed_on_and_on(
        plan, folder, lambda life: Child(lambda notes: train(plan, folder, notes)), kill
    )
    return min(_KILLS, len(died) + 1), len(died)


@row("K1 aimed", "fit killed inside the writing of a checkpoint", counted(2, 28), fires=0.75)
def killed_inside_a_write(case: int, rng: random.Random, folder: Path) -> tuple[int, int]:
    plan = _PLANS[case % len(_PLANS)]

    def start(life: int) -> Child:
        phase = PHASES[(life + case) % len(PHASES)]
        batches = rng.randrange(1, 5)

        def run(notes: Notes) -> object:
            lived = 0

            def at(moment: str, number: int) -> None:
                nonlocal lived
                lived += moment == "step"
                notes["begun"] = int(lived >= batches)

            with aim(notes, phase, rng):
                return train(plan, folder, notes, at)

        return Child(run)

    def kill(child: Child) -> None:
        child.notes.wait_for("inside")
        time.sleep(rng.random() / 300)
        child.kill()

    died = killed_on_and_on(plan, folder, start, kill)
    return min(_KILLS, len(died) + 1), sum(notes["inside"] > 0 for notes in died)


@row("K4 random", "control: random state not restored, killed in an epoch", counted(2, 20))
def random_state_not_restored(case: int, rng: random.Random, folder: Path) -> bool:
    plan = Plan(chance="dropout")
    last = rng.randrange(3, EPOCHS * BATCHES - 1)

    def killed(notes: Notes) -> None:
        train(
            plan, folder, notes, lambda moment, n: (moment, n) == ("step", last) and kill_myself()
        )

    def careless(notes: Notes) -> object:
        loop.set_random_state = lambda state, device: None
        return train(plan, folder, notes)

    assert Child(killed).result() is None, "the run was not killed"
    answer = Child(careless).result()
    try:
        assert_same(answer, plan)
    except AssertionError as error:
        assert "model" in str(error), error  # noqa: PT017
        return True
    raise AssertionError("a random state that was not restored was not caught")
