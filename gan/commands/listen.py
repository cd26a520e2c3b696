"""`gan listen`: what runs sounded like, epoch by epoch, on one page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gan.commands.parser import parser_of
from gan.errors import InputError

_MB = 1e6
# Four bytes of text for three of a file.
_BASE64 = 4 / 3


def listen(
    runs: Sequence[Path],
    output: Path | None = None,
    link: bool = False,
    max_mb: float = 50.0,
    overwrite: bool = False,
) -> int:
    """Write a page on which runs are judged: sounds, pictures and numbers of every epoch that was listened to.

    It opens from disk in any browser and needs nothing else; the keys that it knows are on it. With several runs,
    sounds of the same number are side by side.

    Args:
        runs: Folders of runs.
        output: The page; RUN/listen/index.html if not given, listen.html beside the runs if there are several.
        link: Keep sounds in a folder beside the page, and pictures where they are, rather than all in one file. The
            page is small and has every epoch, but is silent without that folder.
        max_mb: Size of the page above which epochs are left out, evenly, in MB. Nothing is left out with --link.
        overwrite: Replace files that `gan listen` did not make.

    Returns:
        Exit code.
    """
    if not max_mb > 0:
        raise InputError(f"max_mb is {max_mb:g}; it must be above 0, 50 is usual")
    from gan.listen.history import History, thin_to
    from gan.listen.history_page import write_history_page
    from gan.listen.page import INDEX
    from gan.run import Run

    histories = [History.of(Run(folder)) for folder in runs]
    if output is None:
        first = histories[0].run.folder
        output = first / "listen" / INDEX if len(runs) == 1 else first.resolve().parent / "listen.html"
    if not link:
        histories = thin_to(histories, max_mb * _MB / _BASE64)
    skipped = write_history_page(histories, output, link, overwrite)
    for text in skipped:
        print(f"skipped {text}", file=sys.stderr)
    for history in histories:
        if n_left_out := history.n_moments - len(history.moments):
            left_out = f"{n_left_out} of {history.n_moments} epochs are left out"
            print(f"{history.name}: {left_out}; a larger --max_mb keeps more, --link all")
    size = output.stat().st_size / _MB
    if size > max_mb:
        print(f"note: that is more than {max_mb:g} MB with one epoch of each run already; --link makes it small")
    print(f"to listen, open {output} ({size:.1f} MB)")
    return 1 if skipped else 0


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan listen` and run it."""
    parser = parser_of(listen)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="A run's folder.")
    parser.add_argument("--link", action="store_true", help="Keep sounds beside the page rather than in it.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that `gan listen` did not make.")
    parser.add_function_arguments(listen, skip={"runs", "link", "overwrite"})
    return listen(**parser.parse_args(list(arguments)).as_dict())
