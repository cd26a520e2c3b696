"""Being asked to stop: what a training does with Ctrl-C and with SIGTERM, which schedulers and shutdowns send."""

import os
import signal
import threading
import time
from types import FrameType

# Some programs pass on a Ctrl-C that the terminal has sent to all of them already.
_SAME_CTRL_C_SECONDS = 0.5


class Stopping:
    """Notes that a signal asked for an end, so that a batch can be completed and saved; a second Ctrl-C ends at once.

    A context: signals are caught in it, and what they did before is restored after it.

    Attributes:
        signal: The first one that came; None for none.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Stopping":
        self.catch()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def catch(self) -> None:
        """Take the signals from whoever has them; nothing in a thread, which cannot."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, self._note)
            self._before.setdefault(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), time.monotonic()
            again = "; Ctrl-C again ends at once" if number == signal.SIGINT else ""
            # print() may be what was interrupted.
            os.write(2, f"\n{self.signal.name}: stopping after this batch{again}\n".encode())
        elif number == signal.SIGINT and time.monotonic() - self._since > _SAME_CTRL_C_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def leave_signals_to_parent(worker: int) -> None:
    """For processes that prepare batches: a Ctrl-C, and many a SIGTERM, go to them too, and the last batch needs them.

    Args:
        worker: Its number, as `DataLoader` gives it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
