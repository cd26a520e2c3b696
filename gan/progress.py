"""How far long work has come, and how long it still takes."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# Without a terminal, a line comes when a tenth of the work is done since the last one, or after a minute (of hours: a
# tenth of the time up to then), but none within so few seconds: quick work has nothing to say.
_LINE_SHARE = 0.1
_LINE_SECONDS = 60.0
_QUIET_SECONDS = 10.0
# A bar of less time would only flicker.
_BAR_SECONDS = 1.0


_running: "list[Progress]" = []


class Progress:
    """Shows what has been done of long work, and the time left: a bar on a terminal, else a line now and then.

    Items may be of different sizes: the time left follows from the work in them, such as seconds of sound or bytes,
    and not from their number. What was there already says nothing of the pace. Of work within other work the outer is
    shown, unless that is a single item. Use it in a `with` statement; several threads may report.

    Args:
        name: What is done, e.g. "encode".
        unit: What an item is, e.g. "recording".
        n_items: Number of items.
        work: Work in all of them, in any unit; n_items if not given.
    """

    def __init__(self, name: str, unit: str, n_items: int, work: float | None = None) -> None:
        self.name = name
        self.unit = unit
        self.n_items = n_items
        self.work = float(n_items) if work is None else work
        self._n_done = 0
        self._done = self._new = 0.0
        self._note = ""
        self._lock = Lock()
        self._start = self._said = time.monotonic()
        self._share_said = 0.0
        self._has_spoken = False
        self._hidden = any(outer.n_items > 1 for outer in _running)
        self._bar = _Bar(self) if sys.stderr.isatty() and not self._hidden else None

    def advance(self, work: float = 1.0, n_items: int = 1, there: bool = False, note: str = "") -> None:
        """Report what has been done.

        Args:
            work: How much.
            n_items: Items that are complete by that.
            there: Whether it was there already, from an earlier run, and took no time.
            note: What else is to be seen.
        """
        with self._lock:
            self._n_done += n_items
            self._done += work
            self._new += 0.0 if there else work
            self._note = note
            if self._bar is not None:
                self._bar.show(self.share)
            elif not self._hidden:
                self._speak()

    @property
    def share(self) -> float:
        """Share of the work that is done, in [0, 1]."""
        return min(1.0, self._done / self.work) if self.work > 0 else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Time that the rest takes at the pace up to now; None as long as that is not known."""
        if self._new <= 0:
            return None
        return max(0.0, self.work - self._done) * (time.monotonic() - self._start) / self._new

    def __str__(self) -> str:
        """Items, share, time since the start and time left."""
        elapsed = tqdm.format_interval(time.monotonic() - self._start)
        units = self.unit if self.n_items == 1 else f"{self.unit}s"
        left = "" if self.seconds_left is None else f", {tqdm.format_interval(self.seconds_left)} left"
        note = f", {self._note}" if self._note else ""
        return f"{self._n_done} of {self.n_items} {units}, {elapsed}{left}{note}"

    def _speak(self) -> None:
        now = time.monotonic()
        silent = now - self._said
        late = silent >= max(_LINE_SECONDS, _LINE_SHARE * (now - self._start))
        enough = late or self.share - self._share_said >= _LINE_SHARE - 1e-9
        if silent >= _QUIET_SECONDS and enough:
            self._line(now)

    def _line(self, now: float) -> None:
        print(f"{self.name}: {self.share:.0%}, {self}", file=sys.stderr, flush=True)
        self._said, self._share_said, self._has_spoken = now, self.share, True

    def over(self, items: Iterable[Item], work: Callable[[Item], float] = lambda item: 1.0) -> Iterator[Item]:
        """Go through items; each is done when the next one is asked for.

        Args:
            items: What is gone through.
            work: How much work is in an item.
        """
        for item in items:
            yield item
            self.advance(work(item))

    def close(self, complete: bool = True) -> None:
        """Show the end, and nothing any more.

        Args:
            complete: Whether all has been done that was to be done.
        """
        if self._bar is not None:
            self._bar.close()
        elif complete and self._has_spoken and self._share_said < self.share:
            # Whoever saw it begin wants to see it end.
            self._line(time.monotonic())

    def __enter__(self) -> Self:
        _running.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _running.remove(self)
        self.close(kind is None)


def each(
    items: Sequence[Item], name: str, unit: str, work: Callable[[Item], float] = lambda item: 1.0
) -> Iterator[Item]:
    """Go through several items, and show how far that has come; for work that has no other long work in it.

    Args:
        items: What is gone through; each is done when the next one is asked for.
        name: What is done.
        unit: What an item is.
        work: How much work is in an item.
    """
    if len(items) < 2:
        yield from items
        return
    progress = Progress(name, unit, len(items), sum(map(work, items)))
    complete = False
    try:
        yield from progress.over(items, work)
        complete = True
    finally:
        progress.close(complete)


def say(line: str, file: TextIO | None = None) -> None:
    """Print a line, on stdout if nothing else is given, without spoiling a bar."""
    tqdm.write(line, file=file)


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar of the share of the work, with the progress's own words behind it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        super().__init__(
            total=1.0,
            desc=progress.name,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {words}",
            delay=_BAR_SECONDS,
            dynamic_ncols=True,
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the format may name."""
        return {**super().format_dict, "words": str(self._progress)}

    def show(self, share: float) -> None:
        """Draw, if it is time."""
        self.update(share - self.n)
