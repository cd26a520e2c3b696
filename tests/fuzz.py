"""Thousands of damaged files through their readers: each is read, or refused in one line.

`python tests/fuzz.py --n 10000 --seed 0` prints a table by kind of file, and what must not be: other errors, warnings,
messages of several lines, crashes, hangs, much memory. `--only png sound` damages those kinds alone, `--case 17` one.
Every case follows from the seed, its kind and its number.
"""

import argparse
import contextlib
import json
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# How many of a thousand cases are of a kind.
_SHARES = {
    "png": 150, "figure": 200, "sound": 150, "checkpoint": 80, "safetensors": 120, "store": 100, "clips": 30,
    "stranger": 20, "answers": 100, "config": 50,
}  # fmt: skip
# Of one case.
SECONDS = 60.0
MEGABYTES = 500.0
# Of address space, above what Python, torch and numba have mapped at the start.
_MORE_BYTES = 3_000_000_000
# What commands print of their own on stderr.
_OWN = re.compile(r"(skipped |note: |\d+ of \d+ files were skipped|(\w+\.py|gan [a-z-]+): ).*")


@dataclass
class Row:
    """What became of the cases of a kind."""

    accepted: int = 0
    refused: int = 0
    seconds: tuple[float, int] = (0.0, 0)
    megabytes: tuple[float, int] = (0.0, 0)
    wrong: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        return self.accepted + self.refused + len(self.wrong)


def fuzz(kind: str, cases: Sequence[int], seed: int) -> Row:
    """Run cases of a kind in processes of their own, a new one behind each that was killed."""
    row, left = Row(), list(cases)
    while left:
        with _worker(kind, left, seed) as results:
            for result in results:
                case = left.pop(0)
                row.seconds = max(row.seconds, (result["seconds"], case))
                row.megabytes = max(row.megabytes, (result["megabytes"], case))
                if result["seconds"] > SECONDS or result["megabytes"] > MEGABYTES:
                    result["wrong"] = f"{result['seconds']:.0f} s, {result['megabytes']:.0f} MB"
                if result["wrong"]:
                    row.wrong.append(f"{kind} {case}: {result['wrong']}")
                elif result["refused"]:
                    row.refused += 1
                else:
                    row.accepted += 1
    return row


@contextlib.contextmanager
def _worker(kind: str, cases: list[int], seed: int) -> Iterator[Iterator[dict[str, Any]]]:
    command = [sys.executable, __file__, "--seed", str(seed), "--only", kind, "--worker", *map(str, cases)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    # Of Lightning's use of it, which no user is shown.
    environment["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield _results(process, len(cases))
        finally:
            process.kill()


def _results(process: "subprocess.Popen[str]", n: int) -> Iterator[dict[str, Any]]:
    """A result for each case; where the process dies or hangs the last one says so."""
    assert process.stdout is not None
    nothing = {"seconds": 0.0, "megabytes": 0.0, "refused": False}
    # Good files are made first, for which a run is trained.
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the good files could not be made")
    for _ in range(n):
        ready, _, _ = select.select([process.stdout], [], [], 2 * SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            if not ready:
                yield nothing | {"wrong": f"hung for {2 * SECONDS:.0f} s"}
            else:
                yield nothing | {"wrong": f"the process died, {process.wait()}"}
            return
        yield json.loads(line)


def work(kind: str, cases: Sequence[int], seed: int) -> None:
    """Run cases in this process, and print a line of JSON for each."""
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # All of stderr, also what libraries in C print.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as heard:
        from fuzzed import KINDS

        os.chdir(folder)
        warnings.simplefilter("always")
        made = KINDS[kind](Path(folder))
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _MORE_BYTES,) * 2)
        results.write("ready\n")
        os.dup2(heard.fileno(), 2)
        for case in cases:
            draw = random.Random(f"{seed} {kind} {case}")
            heard.seek(0)
            heard.truncate()
            steps = made.damage(draw)
            before, started = _resident(peak=False), time.perf_counter()
            wrong, refused = _judge(steps)
            seconds = time.perf_counter() - started
            sys.stderr.flush()
            heard.seek(0)
            strange = [line for line in heard.read().splitlines() if not _OWN.fullmatch(line)]
            if strange and not wrong:
                wrong = f"on stderr: {strange[:4]}"
            megabytes = _resident(peak=True) - before
            line = {"wrong": wrong, "refused": refused, "seconds": seconds, "megabytes": megabytes}
            results.write(json.dumps(line) + "\n")


def _judge(steps: Sequence[Any]) -> tuple[str, bool]:
    """What is wrong with how files are read, and whether they were refused."""
    from fuzzed import Refused

    from gan.commands.quiet import quiet
    from gan.errors import InputError

    refused = False
    for step in steps:
        try:
            with quiet():
                step()
        except Refused:
            refused = True
        except InputError as error:
            refused = True
            if not str(error) or not str(error).isprintable():
                return f"no line: {str(error)!r}", refused
        except SystemExit as error:
            refused = True
            if error.code != 2:
                return f"exit code {error.code}", refused
        except BaseException as error:
            places = traceback.extract_tb(error.__traceback__)
            ours = [f"{Path(place.filename).name}:{place.lineno}" for place in places if str(ROOT) in place.filename]
            return f"{type(error).__name__}: {str(error)[:200]!r} at {', '.join(ours[-3:])}", refused
    return "", refused


def _resident(peak: bool) -> float:
    """Resident memory in MB, or the most since the last time that it was asked for without `peak`."""
    status = Path("/proc/self/status").read_text()
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+)", status)[1]) / 1000


def table(rows: dict[str, Row]) -> str:
    """The rows for people, as Markdown."""
    lines = [
        "| kind | cases | accepted | refused | wrong | slowest, s (case) | most memory, MB (case) |",
        "|" + " --- |" * 7,
    ]
    for kind, row in rows.items():
        slowest, most = (
            f"{value:.{digits}f} ({case})" for (value, case), digits in ((row.seconds, 2), (row.megabytes, 0))
        )
        lines.append(f"| {kind} | {row.n} | {row.accepted} | {row.refused} | {len(row.wrong)} | {slowest} | {most} |")
    return "\n".join(lines)


def shares(n: int, only: Sequence[str]) -> dict[str, int]:
    """How many cases each kind gets."""
    kinds = {name: share for name, share in _SHARES.items() if not only or name in only}
    return {name: max(1, round(n * share / sum(kinds.values()))) for name, share in kinds.items()}


def main() -> int:
    """Parse the command line; returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--case", type=int)
    parser.add_argument("--worker", type=int, nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.only[0], given.worker, given.seed)
        return 0
    rows = {}
    for kind, n in shares(given.n, given.only).items():
        row = rows[kind] = fuzz(kind, range(n) if given.case is None else [given.case], given.seed)
        for line in row.wrong:
            print(line, flush=True)
    print(table(rows))
    return int(any(row.wrong for row in rows.values()))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
