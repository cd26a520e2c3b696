"""A blind listening test's key, listeners' answers to it, and what they say together."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gan.errors import InputError, one_line
from gan.evaluate.opinion import difference, discrimination, opinion, share
from gan.files import atomic_write, refuse_pipes
from gan.plain import made_of, shown

Kind = Literal["quality", "origin", "abx"]
# In the order that listeners meet them: they judge sounds before they are told that some are real.
KINDS: tuple[Kind, ...] = ("quality", "origin", "abx")
# What can be answered.
ANSWERS: dict[Kind, tuple[str | int, ...]] = {
    "quality": (1, 2, 3, 4, 5),
    "origin": ("real", "generated"),
    "abx": ("A", "B"),
}
# Name of the system that is none.
REAL = "real recordings"

_FORMAT = "blind key 1"
# Of a key of three thousand trials there is half a megabyte.
_MOST_BYTES = 1 << 23
# P-values below which a difference counts as one.
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Trial:
    """A question.

    Attributes:
        kind: What is asked: how good, real or generated, of which of two systems.
        sounds: Their numbers; of "abx" A, B and X.
        systems: Where each of them comes from.
        right: The right answer; None where there is none.
    """

    kind: Kind
    sounds: tuple[int, ...]
    systems: tuple[str, ...]
    right: str | None = None

    def __post_init__(self) -> None:
        n_sounds = 3 if self.kind == "abx" else 1
        if len(self.sounds) != n_sounds or len(self.systems) != n_sounds:
            raise InputError(f"a question of kind {self.kind} is about {n_sounds} sounds of as many systems")


@dataclass(frozen=True)
class Key:
    """What the experimenter knows of a test and its listeners do not.

    Attributes:
        test: The test's id.
        systems: What is compared, and where it comes from, by name; a name is `REAL`'s or a run's.
        trials: In the order of the page, which asks them in another for each listener.
        sounds: Where each sound comes from, for people.
        about: How the sounds were made, for people.
    """

    test: str
    systems: dict[str, str]
    trials: tuple[Trial, ...]
    sounds: tuple[str, ...]
    about: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        with atomic_write(path) as part:
            part.write_text(json.dumps({"format": _FORMAT} | asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Key":
        """Read what `save` wrote.

        Raises:
            InputError: If it is missing or something else.
        """
        content = _read(path)
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise InputError(f"{path}: no key of `gan blind`, which is the key.json that it wrote beside its page")
        try:
            key: Key = made_of(cls, content, "key")
        except InputError as error:
            raise InputError(f"{path}: a damaged key ({error})") from error
        return key


@dataclass(frozen=True)
class Answers:
    """All answers of one listener.

    Attributes:
        listener: The name that was typed in.
        given: An answer for each trial, in the key's order.
    """

    listener: str
    given: tuple[str | int, ...]

    @classmethod
    def load(cls, path: Path, key: Key) -> "Answers":
        """Read what a page saved.

        Raises:
            InputError: If it is something else, of another test, incomplete, or holds what cannot have been answered.
        """
        content = _read(path)
        if not isinstance(content, dict) or not {"test", "listener", "answers"} <= content.keys():
            raise InputError(
                f"{path}: no answers of a listening test, which its page saves as blind_TEST_LISTENER.json"
            )
        if content["test"] != key.test:
            test = shown(content["test"])
            raise InputError(f"{path}: of test {test}, but the key is of {key.test}; give its own --key")
        given: dict[int, str | int] = {}
        entries = content["answers"] if isinstance(content["answers"], list) else []
        for entry in entries:
            number, answer = (entry.get(name) if isinstance(entry, dict) else None for name in ("trial", "answer"))
            if type(number) is not int or not 0 <= number < len(key.trials):
                raise InputError(
                    f"{path}: answers trial {number!r:.60}, but the test has trials 0 to {len(key.trials) - 1}"
                )
            if number in given:
                raise InputError(f"{path}: answers trial {number} twice")
            if answer is None:
                continue
            possible = ANSWERS[key.trials[number].kind]
            # By type too: True is 1, and so is 1.0.
            if type(answer) not in {int, str} or answer not in possible:
                raise InputError(
                    f"{path}: answer {answer!r:.60} to trial {number}; possible are {', '.join(map(str, possible))}"
                )
            given[number] = answer
        if missing := len(key.trials) - len(given):
            raise InputError(f"{path}: {missing} of {len(key.trials)} questions are not answered")
        listener = shown(one_line(made_of(str, content["listener"], f"{path}: listener")).strip())
        return cls(listener, tuple(given[number] for number in range(len(key.trials))))


def report(key: Key, listeners: Sequence[Answers]) -> str:
    """What listeners have found, a table and plain words for each kind of question, as Markdown.

    Args:
        key: The key.
        listeners: Their answers, one or more.
    """
    given = np.array([listener.given for listener in listeners], dtype=object).T
    parts = []
    for kind, describe in (("quality", _quality), ("origin", _origin), ("abx", _abx)):
        numbers = [number for number, trial in enumerate(key.trials) if trial.kind == kind]
        if numbers:
            parts.append("\n".join(describe([key.trials[number] for number in numbers], given[numbers])))
    parts.append(
        f"p below {_SIGNIFICANCE:g} counts as a difference, in each comparison by itself. Intervals and p are about\n"
        "these listeners and further sounds. What was not found may still be there, and show in more trials."
    )
    return "\n\n".join(parts)


def _quality(trials: list[Trial], given: NDArray[Any]) -> Iterator[str]:
    yield "How good, from 1 (bad) to 5 (excellent):"
    groups = {name: given[rows].astype(float) for name, rows in _systems(trials, 0).items()}
    yield from _table(
        ["", "mean opinion", "95 %", "answers", "sounds"],
        [
            [name, f"{found.value:.2f}", f"{found.low:.2f} to {found.high:.2f}", str(found.n), str(len(scores))]
            for name, scores in groups.items()
            for found in [opinion(scores)]
        ],
    )
    for (first, scores), (second, others) in combinations(groups.items(), 2):
        lead, p = float(scores.mean() - others.mean()), difference(scores, others)
        better, worse = (first, second) if lead > 0 else (second, first)
        yield (
            f"{better} sound{_s(better)} better than {worse}, by {abs(lead):.2f}, {_p(p)}"
            if p < _SIGNIFICANCE
            else f"no difference in quality was found between {first} and {second}: {abs(lead):.2f}, {_p(p)}"
        )


def _origin(trials: list[Trial], given: NDArray[Any]) -> Iterator[str]:
    yield "Real or generated:"
    taken = given == "real"
    groups = {name: taken[rows] for name, rows in _systems(trials, 0).items()}
    yield from _table(
        ["", "taken for real", "95 %", "answers", "sounds"],
        [[name, *_share(answers), str(len(answers))] for name, answers in groups.items()],
    )
    yield _told("real from generated", taken, np.array([trial.right == "real" for trial in trials]))
    for (first, answers), (second, others) in combinations(groups.items(), 2):
        p, shares = difference(answers, others), (answers.mean(), others.mean())
        if p < _SIGNIFICANCE:
            more, less = (first, second) if shares[0] > shares[1] else (second, first)
            yield (
                f"{more} {_are(more)} taken for real more often than {less}: {_percent(max(shares))} and "
                f"{_percent(min(shares))}, {_p(p)}"
            )
        else:
            yield (
                f"no difference was found in how often {first} and {second} are taken for real: {_percent(shares[0])} "
                f"and {_percent(shares[1])}, {_p(p)}"
            )


def _abx(trials: list[Trial], given: NDArray[Any]) -> Iterator[str]:
    yield "Is X like A or like B:"
    right = given == np.array([[trial.right] for trial in trials])
    groups = {f"X is of {name}": right[rows] for name, rows in _systems(trials, 2).items()}
    yield from _table(
        ["", "right", "95 %", "answers", "trials"],
        [[name, *_share(answers), str(len(answers))] for name, answers in groups.items()],
    )
    is_a = np.array([trial.right == "A" for trial in trials])
    yield _told(" from ".join(sorted(trials[0].systems[:2])), given == "A", is_a)


def _told(what: str, said: NDArray[np.bool_], true: NDArray[np.bool_]) -> str:
    """Whether listeners told one from another, in plain words."""
    found = discrimination(said, true)
    words = f"listeners could not tell {what}"
    if found.p < _SIGNIFICANCE:
        better = found.value > found.expected
        words = f"listeners told {what}" if better else f"listeners heard {what} differ, but the wrong way round"
    interval = f"[{100 * found.low:.0f}, {100 * found.high:.0f}]"
    # An odd trial and listeners who prefer an answer have another expectation than one half.
    guessing = "" if _percent(found.expected) == _percent(0.5) else f", where guessing has {_percent(found.expected)}"
    return f"{words}: {_percent(found.value)} of {found.n} answers right {interval}{guessing}, {_p(found.p)}"


def _share(answers: NDArray[np.bool_]) -> list[str]:
    found = share(answers)
    return [_percent(found.value), f"{100 * found.low:.0f} to {100 * found.high:.0f}", str(found.n)]


def _systems(trials: list[Trial], place: int) -> dict[str, list[int]]:
    """Which trials have each system's sound at a place."""
    names = sorted({trial.systems[place] for trial in trials}, key=lambda name: (name == REAL, name))
    return {name: [row for row, trial in enumerate(trials) if trial.systems[place] == name] for name in names}


def _s(name: str) -> str:
    return "" if name == REAL else "s"


def _are(name: str) -> str:
    return "are" if name == REAL else "is"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for line in (head, ["-" * width for width in widths], *rows):
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        yield f"| {' | '.join([line[0].ljust(widths[0]), *cells])} |"


def _read(path: Path) -> Any:
    try:
        refuse_pipes(path)
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"{path}: {size} bytes, where keys and answers have at most {_MOST_BYTES}")
        return json.loads(path.read_text(encoding="utf-8"))
    except InputError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error})") from error
