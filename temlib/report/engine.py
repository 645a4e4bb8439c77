"""Steps in their order on workers: processes of this machine, or those of a Dask cluster.

Both are executors in the sense of `concurrent.futures`. A step is given to one as soon as those before it have ended; a
worker that dies has its step run again by another, a few times at most.
"""

import multiprocessing
import os
import queue
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import connection

from temlib import provenance
from temlib.files import InputError, reason
from temlib.report import runfolder, worker

# Not on Windows.
BLOCK, UNBLOCK = (getattr(signal, name, None) for name in ("SIG_BLOCK", "SIG_UNBLOCK"))
TRIES = 3  # of a step whose worker dies


class WorkerDied(RuntimeError):
    """A worker process ended without an answer, as often as it was tried."""


class Local:
    """Processes of this machine, each with one step at a time; they end when this process does."""

    died = WorkerDied

    def __init__(self, workers):
        self.size, self._closed = workers, False
        self._threads = ThreadPoolExecutor(workers)
        self._processes, self._idle = [_Process() for _ in range(workers)], queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def submit(self, function, *arguments):
        """Have a process call a function, and return the future of its result."""
        return self._threads.submit(self._ask, function, arguments)

    def _ask(self, function, arguments):
        process = self._idle.get()
        try:
            for _ in range(TRIES):
                try:
                    return process.ask(function, arguments)
                except Died:
                    if self._closed:
                        break
            raise WorkerDied
        finally:
            self._idle.put(process)

    def close(self):
        """End all processes, at once."""
        self._closed = True
        for process in self._processes:
            process.end()
        self._threads.shutdown(cancel_futures=True)


class Died(EOFError):
    """A process ended before it answered."""


class _Process:
    """One process that answers; begun when first asked, and anew after it died."""

    def __init__(self):
        self.process, self.pipe = None, None

    def ask(self, function, arguments):
        """Return what a function returns there, or raise what it raises; `Died` where the process dies."""
        try:
            if self.process is None:
                context = multiprocessing.get_context("spawn")
                self.pipe, theirs = context.Pipe()
                self.process = context.Process(target=_answer, args=(theirs,), daemon=True)
                _hold_interrupts(BLOCK)
                try:
                    self.process.start()
                finally:
                    _hold_interrupts(UNBLOCK)
                theirs.close()
            self.pipe.send((function, arguments))
            failed, value = self.pipe.recv()
        except (EOFError, ConnectionError) as fault:
            self.end()  # it may not be dead yet
            raise Died from fault
        if failed:
            raise value
        return value

    def end(self):
        """End the process with its kernels."""
        process, self.process = self.process, None  # two threads may want it at once
        if process is not None:
            process.terminate()
            process.join(5)
            process.kill()


def _hold_interrupts(how):
    """Hold Ctrl-C back from this thread and what it starts, or no more: a process that only begins would end in a traceback."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(how, {signal.SIGINT})


def _answer(pipe):
    """Call what comes through a pipe until it is closed; where the parent process is gone, end with all kernels."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner's terminal is not ours
    _hold_interrupts(UNBLOCK)
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    threading.Thread(target=_follow, daemon=True).start()
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = False, function(*arguments)
        except Exception as error:
            answer = True, error
        pipe.send(answer)


def _follow():
    connection.wait([multiprocessing.parent_process().sentinel])
    _leave()


def _leave():
    worker.end_kernels()
    os._exit(1)


class Cluster:
    """The workers of a Dask scheduler; all see the folder of the run."""

    def __init__(self, address, work):
        try:
            import distributed
        except ImportError:
            raise InputError(
                "--scheduler needs the package distributed; pip install 'temlib[cluster]'."
            ) from None
        try:
            self.client = distributed.Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--scheduler {address}: no Dask scheduler answers there ({reason(error)}); docs/cluster.md starts one."
            ) from None
        # A worker that dies has its step run again as often as the scheduler's `allowed-failures` says.
        self._executor = self.client.get_executor(pure=False)
        self.submit, self.died, self._work = self._executor.submit, distributed.KilledWorker, work
        self._check(address)

    @property
    def size(self):
        """As many steps at once as there are threads of workers, and a few to go on with."""
        return 2 * max(1, sum(self.client.nthreads().values()))

    def _check(self, address):
        """Refuse workers that lack this temlib or do not see the run's working folder."""
        token = runfolder.give_token(self._work)
        if not self.client.nthreads():
            self.client.wait_for_workers(1, timeout=60)
        try:
            found = self.client.run(worker.sees, str(self._work), token, provenance.source_hash())
        except Exception as error:
            found = {address: f"temlib cannot be asked there ({reason(error)})"}
        for name, fault in found.items():
            if fault:
                self.close()
                raise InputError(
                    f"worker {name}: {fault}; give all workers this environment, and the reports on a disk that they share."
                )

    def close(self):
        """Take back what has not begun; what has begun ends by itself when its token is gone."""
        self._executor.shutdown(wait=False)
        self.client.close()
        (self._work / runfolder.TOKEN).unlink(missing_ok=True)


def run(steps, executor, *, begin, ended, urgent=lambda ready, at_work: ready):
    """Run steps on an executor, each when those before it have ended.

    `begin(step)` returns the function to submit and its arguments, or None where there is nothing to do; `ended(step, future)` is
    told when it is done. Of the steps that could run, and those at work, `urgent(ready, at_work)` gives those that may run, the
    most urgent first.
    """
    chosen = {id(step): step for step in steps}
    left = {key: {id(other) for other in step.before if id(other) in chosen} for key, step in chosen.items()}
    running = {}

    def over(step):
        for others in left.values():
            others.discard(id(step))

    while left or running:
        ready, ended_at_once = [chosen[key] for key, others in left.items() if not others], False
        for step in urgent(ready, list(running.values()))[: max(0, executor.size - len(running))]:
            del left[id(step)]
            if task := begin(step):
                running[executor.submit(*task)] = step
            else:
                ended_at_once = True
                over(step)
        if running and not ended_at_once:
            # Windows hears Ctrl-C only between two waits.
            for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                ended(step, future)
                over(step)


@contextmanager
def opened(workers, scheduler, work):
    """Yield the executor: workers of a scheduler, who see the folder `work`, or so many processes here."""
    executor = Cluster(scheduler, work) if scheduler else Local(workers)
    try:
        yield executor
    finally:
        executor.close()
