"""Who reads the files of a folder of images: threads of this process, or workers elsewhere."""

import dataclasses
import socket
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

from gan.backend import Backend, WorkerLost
from gan.data.source import Outcome, Source
from gan.data.workers import memory_budget, work_through
from gan.errors import InputError, NotNow

Outcomes = Generator[tuple[Source, Outcome], None, None]


class Readers:
    """Read files, as many at a time as there is memory for. Close what their methods give (`contextlib.closing`).

    Args:
        n_threads: Files read at a time.
        backend: Where else files are to be read; here if not given.
    """

    def __init__(self, n_threads: int, backend: Backend | None) -> None:
        self._n_threads = n_threads
        self._backend = backend
        self._budget = memory_budget()

    def read(self, sources: list[Source], read: Callable[[Source], Outcome]) -> Outcomes:
        """Read files, where that is to be done; elsewhere, `read` is pickled.

        Yields:
            Each file and what became of it, as they are completed.

        Raises:
            InputError: If workers elsewhere do not see a file that is here, or did not come to one.
        """
        if self._backend is None:
            return self.read_here(sources, read)
        return self._read_elsewhere(sources, read, self._backend)

    def read_here(self, sources: list[Source], read: Callable[[Source], Outcome]) -> Outcomes:
        """The same in this process, wherever the others are read."""
        return work_through(sources, read, _peak_bytes, self._n_threads, self._budget)

    def _read_elsewhere(self, sources: list[Source], read: Callable[[Source], Outcome], backend: Backend) -> Outcomes:
        if backend.name == "loky" and sources:
            # The memory is this machine's: the largest file must fit as often as files are read at a time.
            n_fitting = self._budget // max(1, *map(_peak_bytes, sources))
            backend = dataclasses.replace(backend, n_jobs=max(1, min(self._n_threads, n_fitting)))
        n_left = len(sources)
        with closing(backend.work_through(sources, partial(_read_if_seen, read))) as results:
            for source, outcome in results:
                n_left -= 1
                if isinstance(outcome, str) and source.path.exists():
                    raise InputError(
                        f"{source.path}: not to be seen on {outcome}; pictures must be in a folder that all machines "
                        "share, at the same path"
                    )
                if isinstance(outcome, str):
                    yield source, InputError(f"{source.path}: cannot be opened (removed a moment ago)")
                elif isinstance(outcome, WorkerLost):
                    yield source, NotNow(f"{source.path}: {outcome}; `gan ingest` tries it again")
                else:
                    yield source, outcome
        if n_left:
            # Else the store would lack them as if they were not there.
            raise InputError(f"{backend.name}: nothing came back of {n_left} of {len(sources)} images; run again")


def _peak_bytes(source: Source) -> int:
    try:
        return source.peak_bytes()
    except (InputError, OSError):
        return 0


def _read_if_seen(read: Callable[[Source], Outcome], source: Source) -> Outcome | str:
    """Read a file on a worker; its machine's name if the file is not to be seen there."""
    return read(source) if source.path.exists() else socket.gethostname()
