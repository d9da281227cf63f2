"""F10: saving, failing, being killed, damage, resuming and moving, in any order."""

import contextlib
import io
import random
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from classicnets.errors import StorageError
from classicnets.storage.checkpoints import CheckpointStore

from .processes import Child
from .rows import counted, row
from .system_calls import SystemCalls, fault_at


class Store(RuleBasedStateMachine):
    """A folder of checkpoints beside a list of what must be in it."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "run"
        self.store = None
        self.step = 0
        self.serial = 0

    def teardown(self):
        if self.store:
            self.store.close()
        shutil.rmtree(self.root)

    @initialize()
    def begin(self):
        self.whole = []  # (path, content, best), oldest first, of those that must be readable
        self.best = None  # content of the checkpoint that must be the best, while it is whole
        self.open()

    def open(self):
        self.store = CheckpointStore(self.folder).open()

    def content(self):
        self.serial += 1
        return self.serial

    def write(self, content, best):
        tensors = {"w": torch.full((20,), float(content))}
        return self.store.save(self.step, tensors, {"content": content}, best=best)

    def note(self, path, content, best):
        """Note what a save has committed, and what it has therefore removed."""
        self.whole.append((path, content, best))
        if best:
            self.best = content
        self.whole = [entry for entry in self.whole if entry[0].exists() or self.must_stay(entry)]

    def must_stay(self, entry):
        steps = {path.name.split("-")[0]: content for path, content, _ in self.whole}
        return entry[1] in [*list(steps.values())[-2:], self.best]

    @rule(best=st.booleans(), advance=st.integers(0, 3))
    def save(self, best, advance):
        self.step += advance
        content = self.content()
        self.note(self.write(content, best), content, best)

    @rule(best=st.booleans(), call=st.integers(1, 60), kind=st.sampled_from(["EIO", "ENOSPC"]))
    def save_in_vain(self, best, call, kind):
        content = self.content()
        self.step += 1
        before = set(self.folder.glob("step_*"))
        with warnings.catch_warnings(), contextlib.suppress(StorageError):
            warnings.simplefilter("ignore")
            with SystemCalls(fault_at(f"{kind} for good", call)):
                self.write(content, best)
        committed = set(self.folder.glob("step_*")) - before
        assert len(committed) <= 1
        for path in committed:
            self.note(path, content, best)
        self.reopen()

    @rule(best=st.booleans(), call=st.integers(1, 60))
    def kill_in_a_save(self, best, call):
        self.store.close()
        content = self.content()
        self.step += 1
        before = set(self.folder.glob("step_*"))

        def run(notes):
            self.open()
            with SystemCalls(fault_at("killed before", call)):
                self.write(content, best)

        Child(run).result()
        for path in set(self.folder.glob("step_*")) - before:
            self.note(path, content, best)
        self.open()

    @rule()
    def reopen(self):
        self.store.close()
        self.open()

    @precondition(lambda self: len(self.whole) > 1)
    @rule(
        data=st.data(),
        name=st.sampled_from(["state.safetensors", "state.json", "SHA256SUMS"]),
        cut=st.booleans(),
    )
    def damage(self, data, name, cut):
        """Damage one that is not the last whole one, as a run stops then, and resume."""
        number = data.draw(st.integers(0, len(self.whole) - 1))
        path, content, _ = self.whole.pop(number)
        whole = bytearray((path / name).read_bytes())
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] ^= 1
        (path / name).write_bytes(whole[:place] if cut else whole)
        if content == self.best:
            self.best = None
        self.reopen()
        newest, skipped = self.store.newest()
        assert path in [item.path for item in skipped] or newest.path > path
        self.step = newest.step

    @rule()
    def move(self):
        """Copy the folder elsewhere and go on there, as after a move to another disk."""
        self.store.close()
        target = self.root / f"run{self.content()}"
        shutil.copytree(self.folder, target)
        shutil.rmtree(self.folder)
        self.whole = [(target / path.name, *rest) for path, *rest in self.whole]
        self.folder = target
        self.open()

    @invariant()
    def the_newest_whole_checkpoint_loads(self):
        newest, _ = CheckpointStore(self.folder).newest()
        if not self.whole:
            assert newest is None
            return
        path, content, _ = self.whole[-1]
        assert (newest.path, newest.state["content"]) == (path, content)
        assert newest.tensors["w"].equal(torch.full((20,), float(content)))

    @invariant()
    def the_best_is_not_lost(self):
        if self.best is not None:
            assert CheckpointStore(self.folder).best().state["content"] == self.best

    @invariant()
    def two_are_kept(self):
        steps = {path.name.split("-")[0]: path for path, _, _ in self.whole}
        assert all(path.exists() for path in list(steps.values())[-2:])


@row(
    "F10", "saving, failing, killed, damaged, moved in any order, five runs of 30", counted(4, 200)
)
def any_order(case: int, rng: random.Random, folder: Path) -> bool:
    limits = settings(
        max_examples=5,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failure's seed is printed; shrinking it takes minutes
        suppress_health_check=list(HealthCheck),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        run_state_machine_as_test(seed(rng.getrandbits(64))(Store), settings=limits)
    return True
