"""What is imported before anything is done: counted, because seconds depend on the machine."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from gan.commands.main import VERBS

ROOT = Path(__file__).parent.parent
# Needed by some of what is done, and by no help.
HEAVY = {
    "IPython", "joblib", "librosa", "lightning", "matplotlib", "numba", "onnx", "onnxruntime", "pyloudnorm", "scipy",
    "sklearn", "tensorboard", "torchmetrics",
}  # fmt: skip
NOTHING, PARSER, TORCH = "sys", "jsonargparse", "jsonargparse, torch"
LIGHTNING = "jsonargparse, torch, lightning.pytorch.cli"
# What each brings along beyond what it is built on: the most modules there may be, a few percent above what there are.
BUDGETS = {
    "gan --help": (NOTHING, 45),
    "gan encode --help": (PARSER, 50),
    "gan decode --help": (TORCH, 144),
    "gan ingest --help": (PARSER, 50),
    "gan sample --help": (TORCH, 107),
    "gan interpolate --help": (TORCH, 107),
    "gan directions --help": (TORCH, 108),
    "gan invert --help": (TORCH, 108),
    "gan export --help": (PARSER, 32),
    "gan listen --help": (PARSER, 41),
    "gan evaluate --help": (PARSER, 42),
    "gan blind --help": (TORCH, 143),
    "gan info --help": (NOTHING, 46),
    "gan train-phase --help": (LIGHTNING, 77),
    "python train.py --help": (LIGHTNING, 187),
}


def program(base: str) -> str:
    """One that imports what commands are built on, and does each command of its input in a process that is forked.

    Of each it prints a line: the modules that came with it.
    """
    return f"""
import io, json, os, sys
import {base}

def modules_of(name, *words):
    if name == "gan":
        from gan.commands.main import main
        main(list(words))
    else:
        sys.argv = list(words)
        import train
        train.main()

for line in sys.stdin:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        before, shown = set(sys.modules), sys.stdout
        sys.stdout = io.StringIO()
        try:
            modules_of(*line.split())
        except SystemExit as stop:
            if stop.code:
                os._exit(1)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        print(json.dumps(sorted(set(sys.modules) - before)), file=shown, flush=True)
        os._exit(0)
    assert not os.waitpid(pid, 0)[1], line
"""


def ran(base: str, commands: Iterable[str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program(base)],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JSONARGPARSE_DEPRECATION_WARNINGS": "off"},
    )


@cache
def brought_by(base: str) -> dict[str, list[str]]:
    """The modules that each of the commands that are built on the same brings along."""
    commands = [command for command, (built_on, _) in BUDGETS.items() if built_on == base]
    lines = ran(base, commands).stdout.splitlines()
    return {command: json.loads(line) for command, line in zip(commands, lines, strict=True)}


def heaviest(command: str, base: str) -> str:
    """The packages that take longest to import, of what a command brings along, for people."""
    finished = ran(base, [command], "-X", "importtime")
    brought = set(json.loads(finished.stdout))
    milliseconds: Counter[str] = Counter()
    n_modules: Counter[str] = Counter()
    for took, name in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", finished.stderr):
        if name in brought:
            milliseconds[name.split(".")[0]] += int(took) / 1000
            n_modules[name.split(".")[0]] += 1
    return "\n".join(f"{name}: {n_modules[name]} modules, {each:.0f} ms" for name, each in milliseconds.most_common(12))


def test_every_verb_has_a_budget():
    assert {f"gan {verb} --help" for verb in VERBS} <= BUDGETS.keys()


@pytest.mark.parametrize("command", BUDGETS)
def test_little_is_imported(command):
    base, budget = BUDGETS[command]
    brought = brought_by(base)[command]
    unwanted = {name.split(".")[0] for name in brought} & (HEAVY if "torch" in base else HEAVY | {"numpy", "torch"})
    assert not unwanted, f"{command} imports {', '.join(sorted(unwanted))}; the heaviest are\n{heaviest(command, base)}"
    assert len(brought) <= budget, (
        f"{command} imports {len(brought)} modules beside {base}, {budget} are allowed; import what is heavy where it "
        f"is used. The heaviest are\n{heaviest(command, base)}"
    )
