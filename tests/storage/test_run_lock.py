import os
import platform
import signal
import threading
import time
from pathlib import Path

import pytest

from classicnets.errors import RunLockedError, StorageError
from classicnets.storage.run_lock import RunLock, is_alive

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the tests need fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def in_child(function):
    """Start a process that runs a function and ends with what it returns as its status."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(function() or 0)
        except BaseException:
            os._exit(99)
    return pid


def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def try_lock(folder):
    try:
        RunLock(folder).acquire()
    except RunLockedError:
        return 1
    return 0


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def holder_in_child(folder, meanwhile=lambda: None):
    """Start a process that locks a folder and stays; returns when it has."""
    ready, done = os.pipe()

    def hold():
        RunLock(folder).acquire()
        meanwhile()
        os.write(done, b"1")
        time.sleep(30)

    pid = in_child(hold)
    os.read(ready, 1)
    os.close(ready)
    os.close(done)
    return pid


def test_a_lock_keeps_other_processes_out_until_it_is_released(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    assert lock.held
    assert status(in_child(lambda: try_lock(tmp_path))) == 1
    lock.release()
    assert not lock.held
    assert status(in_child(lambda: try_lock(tmp_path))) == 0


def test_the_one_kept_out_learns_who_holds_it_and_since_when(tmp_path):
    pid = holder_in_child(tmp_path)
    try:
        who = rf"in use by process {pid} on {platform.node()} since \d{{4}}-\d\d-\d\d "
        with pytest.raises(RunLockedError, match=f"{who}.*wait until it ends, or choose") as caught:
            RunLock(tmp_path).acquire()
        assert str(tmp_path) in str(caught.value)
        assert isinstance(caught.value, StorageError)
    finally:
        os.kill(pid, signal.SIGKILL)
        status(pid)


def test_a_second_lock_in_the_same_process_or_thread_is_kept_out(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    with pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
        RunLock(tmp_path).acquire()
    results = []
    thread = threading.Thread(target=lambda: results.append(try_lock(tmp_path)))
    thread.start()
    thread.join()
    assert results == [1]
    lock.release()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    pid = holder_in_child(tmp_path)
    os.kill(pid, signal.SIGKILL)
    status(pid)
    lock = RunLock(tmp_path)
    lock.acquire()
    assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    lock.release()


def test_the_lock_of_a_killed_process_is_taken_over_while_its_children_live(tmp_path):
    grandchild = tmp_path / "grandchild"

    def start_child():
        pid = in_child(lambda: time.sleep(30))
        grandchild.write_text(str(pid))

    pid = holder_in_child(tmp_path, start_child)
    os.kill(pid, signal.SIGKILL)
    status(pid)
    try:
        lock = RunLock(tmp_path)
        lock.acquire()
        lock.release()
    finally:
        os.kill(int(grandchild.read_text()), signal.SIGKILL)


def test_a_child_does_not_hold_its_parents_lock_and_cannot_release_it(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()

    def child():
        if lock.held:
            return 2
        lock.release()
        return try_lock(tmp_path)

    assert status(in_child(child)) == 1
    assert lock.held
    assert (tmp_path / ".lock").read_text()
    lock.release()


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"pid": "x"}'])
def test_a_lock_without_a_holders_name_is_waited_for_a_moment(tmp_path, monkeypatch, text):
    monkeypatch.setattr("classicnets.storage.run_lock._PATIENCE_SECONDS", 0.1)
    lock = RunLock(tmp_path)
    lock.acquire()
    (tmp_path / ".lock").write_text(text)
    with pytest.raises(RunLockedError, match="in use by process .* on \\? since \\?"):
        RunLock(tmp_path).acquire()
    threading.Timer(0.05, lock.release).start()
    monkeypatch.setattr("classicnets.storage.run_lock._PATIENCE_SECONDS", 10)
    other = RunLock(tmp_path)
    other.acquire()
    other.release()


def test_a_holder_on_another_machine_counts_as_alive(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    (tmp_path / ".lock").write_text('{"pid": 1, "host": "elsewhere", "since": "noon"}')
    with pytest.raises(RunLockedError, match="process 1 on elsewhere since noon"):
        RunLock(tmp_path).acquire()
    lock.release()


def test_a_link_planted_as_the_lock_leaves_its_target_alone(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        RunLock(tmp_path / "run").acquire()
    assert (tmp_path / "target").read_text() == "precious"


def test_releasing_twice_or_unheld_does_nothing(tmp_path):
    lock = RunLock(tmp_path)
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()


def test_no_descriptor_is_left(tmp_path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("no /proc/self/fd here")
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        lock = RunLock(tmp_path)
        lock.acquire()
        with pytest.raises(RunLockedError):
            RunLock(tmp_path).acquire()
        lock.release()
    assert len(list(descriptors.iterdir())) == before


def test_processes_are_told_alive_from_dead():
    pid = in_child(lambda: 0)
    status(pid)
    assert is_alive(os.getpid())
    assert is_alive(1)
    assert not is_alive(pid)
    assert not is_alive(10**30)
