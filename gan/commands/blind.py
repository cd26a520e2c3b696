"""`gan blind`: a blind listening test of what runs generate, and what its listeners' answers say."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gan.commands.parser import parser_of
from gan.commands.parsing import parse_with_phase
from gan.errors import InputError
from gan.evaluate.answers import KINDS, REAL, Answers, Key, Kind, report
from gan.files import atomic_write
from gan.listen.blind import make_test, possible_kinds
from gan.outputs import Outputs
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.trained import Trained, load_best, open_data

PAGE, KEY = "blind.html", "key.json"
_MOST_TRIALS = 1000


def blind(
    runs: Sequence[Path],
    real: bool = False,
    kinds: Sequence[Kind] | None = None,
    trials: int = 20,
    seed: int = 0,
    output: Path | None = None,
    overwrite: bool = False,
    phase: PhaseMethod = DeepGriffinLim,
    device: str = "cpu",
) -> int:
    """Write a listening test: a page for listeners, who answer in any browser, and the key to it, which is kept.

    Three kinds of questions are asked. "quality": how good a sound is, on the five-point scale of ITU-T P.800.
    "origin": whether it is real or generated. "abx": of which of two runs a sound is, with another of each beside it.
    Real sounds go through picture and phase like generated ones, so that it is not the processing that is recognised;
    all have one length, sample rate and loudness. The best checkpoint of a run is heard if there is one, else the
    newest. `gan blind --score` says what the answers say.

    Args:
        runs: One or two runs' folders, or checkpoints.
        real: Ask about real sounds too: crops of what the first run was trained on, held-out ones included.
        kinds: What is asked; all that can be if not given: "origin" needs `real`, "abx" two runs.
        trials: Questions of each kind.
        seed: Seed of the first generated sound, and of all that is drawn.
        output: A folder; blind in the first run's folder if not given.
        overwrite: Replace a test that is there; no answers to it can be scored then.
        phase: How the phase is found; see `gan decode --help`.
        device: Where to generate.

    Returns:
        Exit code.
    """
    if not 1 <= len(runs) <= 2:
        raise InputError(f"{len(runs)} runs are given; give one, with --real, or two, or answers with --score")
    possible = possible_kinds(len(runs), real)
    kinds = possible if kinds is None else [kind for kind in KINDS if kind in kinds]
    for kind in kinds:
        if kind not in possible:
            raise InputError(f"kinds has {kind}, which needs {'--real' if kind == 'origin' else 'two runs'}")
    if trials < 4 * len(runs):
        raise InputError(f"trials is {trials}; it must be {4 * len(runs)} or more, so that each case comes twice")
    if trials > _MOST_TRIALS:
        raise InputError(f"trials is {trials}; it must be {_MOST_TRIALS} or less, nobody answers more")
    loaded = [load_best(run, device) for run in runs]
    named = dict(zip(_names(loaded), loaded, strict=True))
    output = loaded[0].run.folder / "blind" if output is None else output
    page, key = output / PAGE, output / KEY
    inputs = [path for trained in loaded for path in (trained.checkpoint, trained.run.config)]
    outputs = Outputs(inputs, overwrite, "give another --output, or --overwrite if nobody answers it")
    for path in (page, key):
        outputs.check(path)
    data = open_data(loaded[0].run, loaded[0].checkpoint) if real else None

    test = make_test(named, data, kinds, trials, phase, seed)
    test.key.save(key)
    with atomic_write(page) as part:
        part.write_text(test.page, encoding="utf-8")
    n_questions, about = len(test.key.trials), test.key.about
    for name, n_silent in about["n_silent"].items():
        if n_silent:
            print(f"note: {n_silent} sounds of {name} were silence, which nobody can judge; others were taken")
    print(
        f"{page}: test {test.key.test}, {n_questions} questions about {len(test.key.sounds)} sounds of "
        f"{about['n_samples'] / about['sample_rate']:.2f} s at {about['loudness_lufs']:.1f} LUFS, "
        f"{page.stat().st_size / 1e6:.1f} MB"
    )
    print(f"{key}: what is what; keep it, and give listeners the page alone")
    print(f"when they have sent their answers: gan blind --score ANSWERS.json ... --key {key}")
    return 0


def score(answers: Sequence[Path], key: Path | None = None) -> int:
    """Print what listeners' answers to a test say.

    Args:
        answers: Files that its page saved, one a listener.
        key: The test's key; key.json beside the first of them if not given.

    Returns:
        Exit code.
    """
    key = answers[0].parent / KEY if key is None else key
    known = Key.load(key)
    counted: dict[str, tuple[Path, Answers]] = {}
    for path in answers:
        try:
            found = Answers.load(path, known)
            # One who answers twice has learnt from the first time, and is one person.
            name = found.listener.casefold()
            if name in counted:
                first = counted[name][0]
                raise InputError(
                    f"{path}: of {found.listener}, as {first} is, which counts; who is another needs another name"
                )
        except InputError as error:
            print(f"skipped {error}", file=sys.stderr)
        else:
            counted[name] = path, found
    n_skipped = len(answers) - len(counted)
    if n_skipped:
        print(f"{n_skipped} of {len(answers)} files were skipped", file=sys.stderr)
    if counted:
        listeners = [found for _, found in counted.values()]
        print(f"test {known.test}, answered by {', '.join(each.listener for each in listeners)}")
        for name, about in known.systems.items():
            print(f"{name}: {about}")
        print(f"\n{report(known, listeners)}")
    return 1 if n_skipped else 0


def _names(loaded: Sequence[Trained]) -> list[str]:
    """Short names of runs that differ."""
    for names in (
        [trained.run.folder.resolve().name for trained in loaded],
        [f"{trained.run.folder.resolve().name}/{trained.checkpoint.stem}" for trained in loaded],
        [str(trained.checkpoint) for trained in loaded],
    ):
        if len(set(names) | {REAL}) == len(names) + 1:
            return names
    raise InputError(f"{loaded[0].checkpoint}: given twice; there is no difference to hear")


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan blind` and run it."""
    parser = parser_of(blind)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("--real", action="store_true", help="Ask about real sounds of the first run's data, too.")
    parser.add_argument("--kinds", type=Kind, nargs="+", help="What is asked; all that can be if not given.")
    parser.add_argument("--overwrite", action="store_true", help="Replace a test that is there.")
    parser.add_argument("--score", type=Path, nargs="+", metavar="ANSWERS", help="Print what answers say, instead.")
    parser.add_argument(
        "--key", type=Path, help="With --score: the test's key; key.json beside the answers if not given."
    )
    parser.add_function_arguments(blind, skip={"runs", "real", "kinds", "overwrite"})
    given = parse_with_phase(parser, arguments)
    answers, key = given.pop("score"), given.pop("key")
    if answers is None:
        if key is not None:
            raise InputError("key is given without --score")
        return blind(**given)
    if given["runs"]:
        raise InputError("runs and --score are given; a test is made or scored")
    return score(answers, key)
