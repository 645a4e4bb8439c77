"""Ctrl-C and the stop button: a first press ends a fold, two in a row end all training.

A press may be dealt with long after the next one came, so what counts is when they came. While compiled code is at work they
wait: raised inside it, they would come out as other faults.
"""

import signal
import threading
import time
from contextlib import contextmanager

TWICE = 2.0  # seconds within which two end all training


class Interruptions:
    """The interruptions of a training, in the main thread; `stopped` once two came in a row."""

    def __init__(self):
        self.stopped, self._last, self._waits, self._held = False, -float("inf"), False, False

    def _press(self, *_):
        before, self._last = self._last, time.monotonic()
        self.stopped |= self._last - before < TWICE
        self._waits = self._held
        if not self._held:
            raise KeyboardInterrupt

    @contextmanager
    def heard(self):
        """Hear them within the block, unless they end in another thread, or someone else hears them."""
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
