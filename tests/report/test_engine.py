"""Workers: processes here and those of Dask; what happens when one dies, hangs, or the runner is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from temlib import report
from temlib.files import InputError
from temlib.report import engine
from tests.report.test_runner import kernels

DIE_ONCE = """
import os, psutil
from pathlib import Path
mark = Path(os.environ['TEMLIB_REPORTS']).parents[1] / 'died'
if not mark.exists():
    mark.touch()
    psutil.Process(os.getppid()).kill()
    import time; time.sleep(30)
"""


class Plain:
    """A step that says nothing but what is before it."""

    def __init__(self, *before):
        self.before = before


def die(path):
    """End this process the first time."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die_always():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_has_its_task_run_again_and_not_for_ever(tmp_path):
    """A few times at most; the next task has a new process."""
    executor = engine.Local(1)
    try:
        assert executor.submit(die, str(tmp_path / "died")).result() == "alive"
        with pytest.raises(engine.WorkerDied):
            executor.submit(die_always).result()
        assert executor.submit(abs, -3).result() == 3
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
    finally:
        executor.close()


def test_steps_run_after_those_before_them_and_no_more_at_once_than_workers():
    """In the order of urgency."""
    a, b = Plain(), Plain()
    c = Plain(a, b)
    log, at_once = [], []
    executor = engine.Local(2)

    def begin(step):
        log.append(step)
        at_once.append(len(log))
        return time.sleep, 0.05

    try:
        engine.run([c, a, b], executor, begin=begin, ended=lambda step, future: log.remove(step))
        order = []
        engine.run([c, a, b], executor, begin=order.append, ended=None)  # all of them end at once
    finally:
        executor.close()
    assert order == [a, b, c] and max(at_once) == 2


def test_a_worker_killed_during_a_step_has_it_run_again(tiny):
    """And the run ends as if nothing had been."""
    (step,) = report.execute(tiny({"2_augment": DIE_ONCE}))
    assert (step.status, step.error) == ("done", "")
    time.sleep(2)
    assert not kernels()


def test_a_step_that_hangs_is_stopped_at_the_limit_and_the_others_go_on(tiny):
    """The page says in which cell."""
    hangs, lives = report.execute(
        tiny({"1_explore": "import time; time.sleep(60)", "2_augment": ""}), limit_s=4
    )
    assert (hangs.status, lives.status) == ("failed", "done")
    assert hangs.error == "it was stopped in cell 2/2 after the limit of 0:04" and not kernels()


def test_no_process_outlives_a_runner_that_is_killed(tmp_path):
    """Neither worker nor kernel, a few seconds after a kill that nobody hears."""
    (tmp_path / "mine.yaml").write_text("notebooks: [7_software]\n")
    command = [sys.executable, "-m", "temlib", "run", "mine.yaml", "--output", "out"]
    runner = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end, children = time.monotonic() + 60, []
    while not any("ipykernel_launcher" in " ".join(p.cmdline()) for p in children if p.is_running()):
        assert time.monotonic() < end and runner.poll() is None
        time.sleep(0.1)
        children = [p for p in psutil.Process(runner.pid).children(recursive=True) if p.status() != "zombie"]
    runner.kill()
    runner.wait()
    _, left = psutil.wait_procs([p for p in children if p.is_running()], timeout=10)
    assert not [p for p in left if p.status() != "zombie"]


def test_a_run_goes_through_a_dask_scheduler_and_survives_a_worker(tiny, tmp_path):
    """Two workers of their own processes, one of which is killed by its step."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        settings = tiny({"2_augment": DIE_ONCE, "7_software": ""}, task=["a", "b"])
        steps = report.execute(settings, scheduler=cluster.scheduler_address)
    assert len(steps) == 4 and {(step.status, step.error) for step in steps} == {("done", "")}


def test_a_scheduler_that_is_not_there_is_one_sentence(tiny):
    """With the address and where to read on."""
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match=r"no Dask scheduler answers there .*cluster\.md"):
        report.execute(tiny({"2_augment": ""}), scheduler="tcp://127.0.0.1:9")
