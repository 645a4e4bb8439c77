"""Ctrl-C and the stop button while compiled code is at work: raised inside it, they would come out as other faults, so they wait."""

import signal
import threading
import time
from contextlib import contextmanager

# Two within this many seconds end all training.
TWICE = 2.0


class Interruptions:
    """The interruptions of a training: when they came, and whether two came in a row.

    A first press may be dealt with long after a second one, so what counts is when they came.
    """

    def __init__(self):
        self.stopped, self._last, self._waits, self._held = False, -float("inf"), False, False

    def twice(self, now=None):
        """Note an interruption, and return whether it or an earlier one followed upon another."""
        now = time.monotonic() if now is None else now
        self.stopped |= now - self._last < TWICE
        self._last = now
        return self.stopped

    def _press(self, *_):
        self.twice()
        self._waits = self._held
        if not self._held:
            raise KeyboardInterrupt

    @contextmanager
    def heard(self):
        """Hear them within the block, where that is possible: in the main thread, unless someone else hears them."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextmanager
    def held(self):
        """Let them wait until the end of the block."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waits:
            self._waits = False
            raise KeyboardInterrupt
