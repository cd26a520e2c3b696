"""Where work is done that is not done in this process's threads: other processes, a Dask cluster or a Ray cluster."""

import itertools
import os
import socket
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import uuid4

from gan.errors import InputError, NotNow

if TYPE_CHECKING:
    from distributed import Client
    from joblib import Parallel

Job = TypeVar("Job")
Result = TypeVar("Result")

Name = Literal["loky", "dask", "ray"]
NameOrThreads = Literal["threading", Name]

# Jobs that a cluster has been given, for each of its threads: some wait there, so that none idles.
_JOBS_PER_THREAD = 3
# How long Dask's scheduler may take to answer, and how long it may have no worker: some are started by a queue.
_DASK_SECONDS = 30
_WORKER_SECONDS = 120
# Tells this process from those that import this module elsewhere.
_PROCESS = uuid4()


class WorkerLost(NotNow):
    """All workers that a job was given to have died; the message says so, and of what that may be."""

    def __init__(self) -> None:
        super().__init__(
            "the workers that were given it died, of too little memory or because they were killed; give workers more "
            "memory or fewer threads, and see their logs"
        )


@dataclass(frozen=True)
class Backend:
    """Where work is done, by the name that joblib has for it. Files must have the same paths there as here.

    Attributes:
        name: "loky" (processes of this machine), "dask" or "ray".
        scheduler: Address of Dask's scheduler or Ray's head; if not given, what their own settings say
            (DASK_SCHEDULER_ADDRESS, RAY_ADDRESS), a Dask client of this process, or Ray's cluster of this machine.
        n_jobs: Jobs at a time; -1 for as many as there are cores.

    Raises:
        InputError: If there can be no scheduler, or n_jobs is 0.
    """

    name: Name
    scheduler: str | None = None
    n_jobs: int = -1

    def __post_init__(self) -> None:
        _refuse_none(self.n_jobs)
        if self.name == "loky" and self.scheduler is not None:
            raise InputError(f"scheduler is {self.scheduler}, but loky has none; use dask or ray for a cluster")

    @classmethod
    def named(cls, name: NameOrThreads, scheduler: str | None, n_jobs: int) -> Self | None:
        """A backend; None for "threading", work in this process.

        Raises:
            InputError: If there can be no scheduler, or n_jobs is 0.
        """
        if name != "threading":
            return cls(name, scheduler, n_jobs)
        _refuse_none(n_jobs)
        if scheduler is not None:
            raise InputError(f"scheduler is {scheduler}, but the backend is threading; give --backend dask or ray")
        return None

    def work_through(
        self, jobs: Iterable[Job], work: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | WorkerLost], None, None]:
        """Do jobs; a few more are under way than there are workers, so that neither these nor memory run out.

        Args:
            jobs: What to do; they are pickled.
            work: Does it; pickled, too. What it raises ends all work.

        Yields:
            Each job and its result, as they are completed; `WorkerLost` for a job that kills its workers. Close the
            iterator (`contextlib.closing`) to stop: loky's workers are killed, those of a cluster complete what they
            have begun.

        Raises:
            InputError: If the backend is not installed, there is no cluster or it cannot do the work.
        """
        attempt = partial(_attempt, work, _PROCESS)
        if self.name == "dask":
            with self._dask() as client:
                yield from self._by_dask(client, jobs, attempt)
        else:
            if self.name == "ray":
                self._join_ray()
            yield from self._by_joblib(iter(jobs), attempt)

    # joblib has a bridge to Dask, too, but hears nothing of a task whose workers died: it would wait for ever.

    @contextmanager
    def _dask(self) -> "Iterator[Client]":
        try:
            import dask
            from distributed import Client, default_client
            from distributed.comm import resolve_address
        except ImportError as error:
            raise _not_installed("dask", "spectrogram-gan[cluster]") from error
        address = self.scheduler or dask.config.get("scheduler-address", None)
        if address is None:
            try:
                client = default_client()
            except ValueError as error:
                raise InputError(
                    "dask: which scheduler? Run `dask scheduler` on one machine and `dask worker tcp://HOST:8786` on "
                    "those that are to work, and give --scheduler tcp://HOST:8786 (or set DASK_SCHEDULER_ADDRESS)"
                ) from error
            yield client
            return
        try:
            # A client that was given nonsense ends with a traceback a minute later.
            resolve_address(address)
            client = Client(address, timeout=_DASK_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{address}: no scheduler of dask answers ({str(error) or type(error).__name__:.100}); start it with "
                "`dask scheduler`, which says its address"
            ) from error
        with client:
            yield client

    def _by_dask(
        self, client: "Client", jobs: Iterable[Job], attempt: Callable[[Job], "Result | _Raised"]
    ) -> Generator[tuple[Job, Result | WorkerLost], None, None]:
        def n_most() -> int:
            # Workers come and go.
            n_threads = sum(client.nthreads().values())
            return max(1, _JOBS_PER_THREAD * n_threads) if self.n_jobs < 0 else self.n_jobs

        suspects: list[Job] = []
        with closing(_at_a_time(client, jobs, attempt, n_most)) as results:
            for job, result in results:
                if isinstance(result, WorkerLost):
                    suspects.append(job)
                else:
                    yield job, result
        # Dask blames a death on all jobs that the worker had been given. Alone one takes no other with it.
        yield from _at_a_time(client, suspects, attempt, lambda: 1)

    def _join_ray(self) -> None:
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError as error:
            raise _not_installed("ray", "ray") from error
        register_ray()
        if not ray.is_initialized():
            try:
                ray.init(self.scheduler or os.environ.get("RAY_ADDRESS") or "auto", log_to_driver=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"{self.scheduler or 'ray'}: no cluster answers; run `ray start --head` on one machine and "
                    "`ray start --address HOST:6379` on the others, and give --scheduler HOST:6379 (or set RAY_ADDRESS)"
                ) from error

    def _by_joblib(
        self, jobs: Iterable[Job], attempt: Callable[[Job], "Result | _Raised"]
    ) -> Generator[tuple[Job, Result | WorkerLost], None, None]:
        from joblib import Parallel

        if self.name == "loky":
            begin = partial(Parallel, self.n_jobs, "loky", batch_size=1, return_as="generator_unordered")
            yield from _round(begin, list(jobs), attempt, BrokenExecutor)
            return
        import ray

        def n_most() -> int:
            # Machines come and go. As long as there is none, joblib does one job after the other here.
            return max(1, int(ray.cluster_resources().get("CPU", 0))) if self.n_jobs < 0 else self.n_jobs

        # Ray's bridge gives all results or none: so that some can be seen, and few are lost, it is crossed often.
        waiting = iter(jobs)
        while some := list(itertools.islice(waiting, 2 * _JOBS_PER_THREAD * n_most())):
            # Told the number: what the bridge does to find it is an error where there are none.
            begin = partial(Parallel, n_most(), "ray", batch_size=1)
            yield from _round(begin, some, attempt, ray.exceptions.RayError)


def _refuse_none(n_jobs: int) -> None:
    if n_jobs == 0:
        raise InputError("n_jobs is 0; it must be 1 or more, or -1 for one per core")


def _round(
    begin: "Callable[[], Parallel]",
    jobs: list[Job],
    attempt: Callable[[Job], "Result | _Raised"],
    lost: type[Exception],
) -> Generator[tuple[Job, Result | WorkerLost], None, None]:
    """Do jobs with joblib, whose work ends when a worker dies: it does not say of which job."""
    left = dict(enumerate(jobs))
    while left:
        # Joblib may still take some when it has ended, so each beginning has a list of its own.
        given: list[int] = []
        results: Iterable[tuple[int, Result | _Raised]] = []
        try:
            results = begin()(_calls(dict(left), attempt, given))
            for number, result in results:
                yield left.pop(number), _unwrapped(result)
        except lost:
            if len(jobs) == 1:
                yield jobs[0], WorkerLost()
                return
        finally:
            if isinstance(results, Generator):
                # What is lost by stopping is known.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    results.close()
        # One of these did it. Alone it takes no other with it.
        for suspect in [number for number in given.copy() if number in left]:
            yield from _round(begin, [left.pop(suspect)], attempt, lost)


def _calls(jobs: dict[int, Job], attempt: Callable[[Job], "Result | _Raised"], given: list[int]) -> Iterator[Any]:
    """Jobs as joblib wants them; notes which it has taken."""
    from joblib import delayed

    for number, job in jobs.items():
        given.append(number)
        yield delayed(_numbered)(attempt, number, job)


def _at_a_time(
    client: "Client", jobs: Iterable[Job], attempt: Callable[[Job], "Result | _Raised"], n_most: Callable[[], int]
) -> Generator[tuple[Job, Result | WorkerLost], None, None]:
    """Do jobs with Dask, not more than n_most at a time, which is asked when that many are under way."""
    executor: Executor = client.get_executor(pure=False)
    running: dict[Future[Result | _Raised], Job] = {}
    limit = 0
    try:
        for job in jobs:
            while len(running) >= limit:
                limit = n_most()
                if len(running) >= limit:
                    yield from _completed(running, client)
            running[executor.submit(attempt, job)] = job
        while running:
            yield from _completed(running, client)
    finally:
        for future in running:
            future.cancel()


def _completed(
    running: "dict[Future[Result | _Raised], Job]", client: "Client"
) -> Iterator[tuple[Job, Result | WorkerLost]]:
    """Some of Dask's jobs that are done, after a while even if none is."""
    from distributed import KilledWorker

    done, _ = wait(running, _WORKER_SECONDS, FIRST_COMPLETED)
    if not done and not client.nthreads():
        address = client.scheduler.address
        raise InputError(
            f"{address}: it has had no worker for {_WORKER_SECONDS} s; what is complete is kept: start some with "
            f"`dask worker {address}` and run again"
        )
    for future in done:
        job = running.pop(future)
        try:
            result = future.result()
        except KilledWorker:
            yield job, WorkerLost()
            continue
        except CancelledError as error:
            raise InputError("dask's scheduler is gone; what is complete is kept: start it and run again") from error
        except Exception as error:
            raise InputError(
                f"dask's workers cannot do this ({type(error).__name__}: {error}); they need the same versions of "
                "Python and spectrogram-gan as are installed here"
            ) from error
        yield job, _unwrapped(result)


@dataclass(frozen=True)
class _Raised:
    """What a job raised: it comes back as a result, since what comes back as an error is the cluster's."""

    error: Exception


def _attempt(work: Callable[[Job], Result], process: object, job: Job) -> Result | _Raised:
    """Do a job, where it is to be done."""
    if process != _PROCESS:
        import torch

        # As many jobs run at a time as there are cores for.
        torch.set_num_threads(1)
    try:
        return work(job)
    except Exception as error:
        if not isinstance(error, InputError):
            error.add_note(f"On {socket.gethostname()}:\n{traceback.format_exc()}")
        return _Raised(error)


def _numbered(attempt: Callable[[Job], Result], number: int, job: Job) -> tuple[int, Result]:
    return number, attempt(job)


def _unwrapped(result: Result | _Raised) -> Result:
    if isinstance(result, _Raised):
        raise result.error
    return result


def _not_installed(name: str, package: str) -> InputError:
    return InputError(f"{name} is not installed; pip install '{package}', here and on all workers")
