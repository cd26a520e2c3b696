"""`gan info`: what a file or a folder is."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gan.errors import InputError


def info(paths: Sequence[Path]) -> int:
    """Say in a few lines what files and folders are: kind, settings, sizes, and the command to go on with.

    Known are pictures of spectrograms (those of `gan encode` and those that others drew), folders of them and their
    stores, recordings and folders of them, runs and folders of runs, checkpoints, and the .safetensors files of `gan
    export`, `gan invert` and `gan train-phase`. Nothing is trained, built or written.

    Args:
        paths: What to look at.

    Returns:
        Exit code: 2 if none of them could be described, 1 if some could not.
    """
    from gan.info.place import describe

    n_failed = 0
    for number, path in enumerate(paths):
        try:
            described = describe(path)
        except InputError as error:
            n_failed += 1
            print(f"gan info: {error}", file=sys.stderr)
            continue
        if number > n_failed:
            print()
        print(described)
    return 0 if not n_failed else 1 if n_failed < len(paths) else 2


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan info` and run it."""
    parser = argparse.ArgumentParser(prog="gan info", description=(info.__doc__ or "").split("Args:")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="A file or a folder.")
    return info(parser.parse_args(list(arguments)).paths)
