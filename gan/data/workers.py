"""Work in threads, bounded by cores and by memory."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import psutil

Job = TypeVar("Job")
Result = TypeVar("Result")


def memory_budget() -> int:
    """Bytes that work may take: half of what is free, so that the rest of the computer goes on working."""
    return int(psutil.virtual_memory().available) // 2


def work_through(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    peak_bytes: Callable[[Job], int],
    n_threads: int,
    budget: int,
) -> Generator[tuple[Job, Result], None, None]:
    """Do jobs in threads, as many at a time as there are threads and memory for.

    Jobs start in their order. One that needs more than the whole budget waits until it is alone.

    Args:
        jobs: What to do.
        work: Does it. Must not raise anything but what is to end all work.
        peak_bytes: How much memory a job needs.
        n_threads: Jobs done at a time.
        budget: How much memory all jobs may need at a time, in bytes.

    Yields:
        Each job and its result, as they are completed. Close the iterator (`contextlib.closing`) to stop: jobs that
        run are waited for.
    """
    running: dict[Future[Result], tuple[Job, int]] = {}
    pool = ThreadPoolExecutor(n_threads)
    try:
        for job in jobs:
            needed = peak_bytes(job)
            # A few wait for a thread, so that none idles while their results are taken care of.
            while running and (len(running) >= 2 * n_threads or _taken(running) + needed > budget):
                yield from _completed(running)
            running[pool.submit(work, job)] = job, needed
        while running:
            yield from _completed(running)
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(running: dict[Future[Result], tuple[Job, int]]) -> int:
    return sum(needed for _, needed in running.values())


def _completed(running: dict[Future[Result], tuple[Job, int]]) -> Iterator[tuple[Job, Result]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    # What failed comes last: it ends the work, and no result is to be lost by that.
    for future in sorted(done, key=lambda future: future.exception() is not None):
        job, _ = running.pop(future)
        yield job, future.result()
