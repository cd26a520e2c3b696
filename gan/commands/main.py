"""`gan VERB`: finds the verb's module, and nothing else is imported for `gan --help`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from gan.commands.quiet import quiet
from gan.errors import InputError, one_line

VERBS = {
    "encode": "recordings to spectrogram images",
    "decode": "pictures of spectrograms to recordings",
    "ingest": "figures of spectrograms to what a GAN trains on",
    "sample": "new sounds of a run, of any length",
    "interpolate": "what lies between sounds of a run",
    "directions": "what a run's latents hold, an axis at a time",
    "invert": "the latent of a run that is nearest to a recording",
    "export": "the generator of a run in one file",
    "listen": "a page on which runs are judged by ear and eye",
    "evaluate": "what a run generates against what it was trained on",
    "blind": "a blind listening test of runs, and its score",
    "info": "what a file or a folder is, and what to do with it",
    "train-phase": "recordings to a network that knows more of the phase",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        arguments: The command line without the program's name; None for the process's own.

    Returns:
        Exit code: 0, 1 if something was skipped, 2 if what was given cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="gan",
        description="Recordings to pictures and back, and what a trained GAN can do. Training is `python train.py`.",
        epilog="`gan VERB --help` explains a verb.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, text in VERBS.items():
        verbs.add_parser(name, help=text, add_help=False)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    given, rest = parser.parse_known_args(arguments)
    module = import_module(f"gan.commands.{given.verb.replace('-', '_')}")
    try:
        with quiet():
            exit_code: int = module.main(rest)
    except InputError as error:
        print(f"gan {given.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # What the system refuses is no fault of this program's; what has no number is a library's word for a fault.
        if error.errno is None:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"gan {given.verb}: {one_line(f'{where}{error.strerror}')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gan {given.verb}: stopped; what is complete is kept, the same command goes on", file=sys.stderr)
        return 130
    return exit_code
