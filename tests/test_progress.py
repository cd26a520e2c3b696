"""What long work shows of itself: lines without a terminal, a bar on one, and a time left that is right."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from conftest import music

from gan.progress import Progress, each, say
from gan.run import newest_run
from gan.saved import load_checkpoint
from gan.training import run_training
from train import GANCLI

ROOT = str(Path(__file__).parent.parent)
LINE = re.compile(r"(.+): (\d+)%, (\d+) of (\d+) \w+, ([\d:]+)(?:, ([\d:]+) left)?(?:, (.*))?")


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("gan.progress.time.monotonic", lambda: self.now)
        monkeypatch.setattr("gan.progress._QUIET_SECONDS", 10.0)


@pytest.fixture
def clock(monkeypatch):
    """`clock.now += seconds`."""
    return Clock(monkeypatch)


def seconds(text: str) -> int:
    """What 1:02:03 or 02:03 says."""
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def lines(text: str) -> list[tuple[str, ...]]:
    return [LINE.fullmatch(line).groups() for line in text.splitlines()]


def test_a_line_every_tenth(clock, capsys):
    for _ in each(range(1000), "sample", "sound"):
        clock.now += 0.5
    said = lines(capsys.readouterr().err)
    assert [(name, int(share), int(done), int(n)) for name, share, done, n, *_ in said] == [
        ("sample", share, 10 * share, 1000) for share in range(10, 101, 10)
    ]
    assert said[0][4:6] == ("00:50", "07:30")
    assert said[-1][4:6] == ("08:20", "00:00")


def test_slow_work_says_something_every_minute(clock, capsys):
    for _ in each(range(100), "decode", "picture"):
        clock.now += 25.0
    said = lines(capsys.readouterr().err)
    # Every third picture at first; and at the end.
    assert [int(done) for _, _, done, *_ in said][:4] == [3, 6, 9, 12]
    assert said[-1][2] == "100"


def test_a_week_is_no_thousand_lines(clock, capsys):
    for _ in each(range(60 * 24 * 7), "encode", "recording"):
        clock.now += 60.0
    assert len(lines(capsys.readouterr().err)) < 80


def test_quick_work_is_silent(clock, capsys):
    for _ in each(range(1000), "sample", "sound"):
        clock.now += 0.009
    assert capsys.readouterr() == ("", "")
    for _ in each([], "sample", "sound"):
        pass
    assert capsys.readouterr() == ("", "")


def test_no_more_lines_than_seconds_allow(clock, capsys):
    """Of work of half a minute, not more than one in ten seconds."""
    for _ in each(range(100_000), "sample", "sound"):
        clock.now += 0.0003
    assert [int(share) for _, share, *_ in lines(capsys.readouterr().err)] == [33, 67, 100]


@pytest.mark.parametrize("seed", range(5))
def test_time_left_of_uneven_items(clock, seed):
    """Sizes over two powers of ten, in any order, and a machine that is 20 % faster or slower for each item."""
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(0, 2, 400)
    if seed == 4:
        sizes.sort()
    costs = 0.37 * sizes * rng.uniform(0.8, 1.2, len(sizes))
    total, by_count = costs.sum(), []
    progress = Progress("encode", "recording", len(sizes), sizes.sum())
    assert progress.seconds_left is None
    for number, (size, cost) in enumerate(zip(sizes, costs, strict=True), 1):
        clock.now += cost
        progress.advance(size)
        left = total - costs[:number].sum()
        if progress.share >= 0.1 and left > 0.01 * total:
            assert progress.seconds_left == pytest.approx(left, rel=0.2), number
            by_count.append(abs(costs[:number].mean() * (len(sizes) - number) / left - 1))
    assert progress.share == pytest.approx(1)
    assert progress.seconds_left == pytest.approx(0, abs=1e-6)
    # By their number it would be wrong where they are in order of size, as files of an archive may be.
    assert seed != 4 or max(by_count) > 0.5


def test_work_within_work(clock, capsys):
    """The outer is what a user waits for, unless it is a single item, of which only the inner tells."""
    for n_outer, names in ((3, {"sample"}), (1, {"phase"})):
        with Progress("sample", "sound", n_outer) as progress:
            for _ in progress.over(range(n_outer)):
                for _ in each(range(10), "phase", "stretch"):
                    clock.now += 15.0
        assert {name for name, *_ in lines(capsys.readouterr().err)} - {"sample"} == names - {"sample"}
    with pytest.raises(ZeroDivisionError), Progress("sample", "sound", 3):
        clock.now += 1 / 0
    for _ in each(range(10), "phase", "stretch"):
        clock.now += 15.0
    assert len(lines(capsys.readouterr().err)) == 10
    # Nothing is to be said of one.
    for _ in each([1], "phase", "stretch"):
        clock.now += 150.0
    assert capsys.readouterr().err == ""


def test_what_was_there_says_nothing_of_the_pace(clock):
    progress = Progress("store", "image", 100)
    progress.advance(60.0, 60, there=True)
    assert progress.seconds_left is None
    clock.now += 10.0
    progress.advance(4.0, 4)
    assert progress.seconds_left == pytest.approx(90.0)
    assert str(progress) == "64 of 100 images, 00:10, 01:30 left"
    progress.advance(note="error 0.5")
    assert str(progress).endswith(" left, error 0.5")


def test_stopped_work_does_not_say_that_it_is_done(clock, capsys):
    def work() -> None:
        for number in each(range(10), "sample", "sound"):
            clock.now += 30.0
            if number == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [int(done) for _, _, done, *_ in lines(capsys.readouterr().err)] == [1, 2, 3, 4]


def test_a_bar_on_a_terminal(monkeypatch, clock):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("invert", "step", 4) as progress:
        for _ in range(4):
            clock.now += 30.0
            progress.advance(note="error 0.25")
            progress._bar.refresh()
    drawn = terminal.getvalue().split("\r")
    assert any("invert:  50%|" in line and "2 of 4 steps, 01:00, 01:00 left, error 0.25" in line for line in drawn)
    assert "invert: 100%|" in drawn[-1]


def on_a_terminal(work: Callable[[int], None]) -> str:
    """What is shown on a real one, whose number is given to the work, in 100 columns."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown = []

    def read() -> None:
        # At its end there is an error on Linux, and nothing to read elsewhere.
        with contextlib.suppress(OSError):
            while part := os.read(main, 4096):
                shown.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        work(side)
    finally:
        os.close(side)
        reader.join()
        os.close(main)
    return b"".join(shown).decode()


SLOW = """
import sys
import time
from gan.progress import each, say

for n in each(range(6), 'count', 'number'):
    time.sleep(float(sys.argv[1]))
    say(f'here is {n}')
"""


def test_a_real_terminal_and_a_real_file(tmp_path):
    environment = {**os.environ, "PYTHONPATH": ROOT}
    program = [sys.executable, "-c", SLOW, "0.4"]
    shown = on_a_terminal(
        lambda terminal: subprocess.run(program, stdout=terminal, stderr=terminal, env=environment, check=True)
    )
    assert re.search(r"count: +\d+%\|.*\| \d of 6 numbers, \d\d:\d\d, \d\d:\d\d left", shown)
    assert [line for line in re.split(r"[\r\n]+", shown) if line.startswith("here is")] == [
        f"here is {n}" for n in range(6)
    ]
    finished = subprocess.run(
        [sys.executable, "-c", SLOW, "0"], capture_output=True, text=True, check=True, env={"PYTHONPATH": ROOT}
    )
    assert finished.stdout == "".join(f"here is {n}\n" for n in range(6))
    assert finished.stderr == ""


def test_the_losses_beside_a_trainings_bar(tmp_path, write_image, monkeypatch):
    for index in range(12):
        write_image(tmp_path / "images" / f"{index:02d}.png", n_frames=64, seed=index)
    options = ["--data.n_frames=64", "--data.batch_size=4", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    options += ["--listen.n_samples=1", "--listen.n_references=1"]
    options += [f"--model.{network}.init_args.base_channels=4" for network in ("generator", "discriminator")]
    options += [f"--data.images={tmp_path}/images", f"--trainer.default_root_dir={tmp_path}"]
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

    def training(terminal: int) -> None:
        with open(terminal, "w", closefd=False) as file, redirect_stdout(file), redirect_stderr(file):
            assert run_training(GANCLI, options) == 0

    shown = on_a_terminal(training)
    # In 100 columns.
    found = re.findall(r"Epoch 0: 100%.* 2/2 .*, discriminator=(.+), generator=(.+), penalty=(.+)\]", shown)
    latest = load_checkpoint(newest_run(tmp_path).newest_checkpoint())["latest"]
    expected = [float(latest[f"loss/{name}"]) for name in ("discriminator", "generator", "penalty")]
    assert [float(each) for each in found[-1]] == pytest.approx(expected, rel=0.01)


def test_say(capsys):
    say("a line")
    say("an error", file=sys.stderr)
    assert capsys.readouterr() == ("a line\n", "an error\n")


def test_encoding_reports_seconds_of_sound(tmp_path, monkeypatch):
    """Window by window; what cannot be read is nothing, what is there already is reported as that."""
    from gan.sound import encoder
    from gan.sound.settings import SpectrogramSettings

    reports = []

    class Spy(Progress):
        def advance(self, work=1.0, n_items=1, there=False, note=""):
            reports.append((work, n_items, there))
            super().advance(work, n_items, there, note)

    made = []

    def watched(*arguments):
        made.append(Spy(*arguments))
        return made[-1]

    monkeypatch.setattr(encoder, "Progress", watched)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    soundfile.write(recordings / "a.wav", music(8000 * 25), 8000)
    soundfile.write(recordings / "b.wav", music(8000 * 4), 8000)
    (recordings / "c.wav").write_text("no sound")
    settings = SpectrogramSettings(8000, 128, 32, 128)
    encoder.encode_recordings(recordings, tmp_path / "images", settings, window_seconds=10, n_jobs=1)
    assert made[-1].work == pytest.approx(29.0)
    assert reports == [
        *((pytest.approx(work), 0, False) for work in (10.0, 10.0, 5.0)),
        (pytest.approx(0.0), 1, True),
        (pytest.approx(4.0), 0, False),
        (pytest.approx(0.0), 1, True),
        (0.0, 1, True),
    ]
    assert made[-1].share == pytest.approx(1.0)
    reports.clear()
    encoder.encode_recordings(recordings, tmp_path / "images", settings, window_seconds=10, n_jobs=1)
    assert reports == [(pytest.approx(work), 1, True) for work in (25.0, 4.0, 0.0)]


class Logger:
    """Stands for TensorBoard's."""

    def __init__(self):
        self.curve = {}

    def log_metrics(self, values, step):
        self.curve[step] = pytest.approx(values["time/epoch"])


def test_the_time_left_of_a_run(monkeypatch, capsys):
    """Epochs of 10 s, every fifth of 14, a classifier once, a machine that becomes busy; kept in a checkpoint."""
    from gan.pace import Pace

    now, spent = 0.0, 7.0
    monkeypatch.setattr("gan.pace.time.monotonic", lambda: now)
    lengths = [10.0 + 4.0 * (epoch % 5 == 4) for epoch in range(50)] + [20.0] * 50
    lengths[4] = 80.0
    pace, logged = Pace(lines=True), Logger()
    latest = {"loss/fake": torch.tensor(0.5), "logits/fake": torch.tensor(3.0)}
    pace.on_train_start(None, None)
    for epoch, length in enumerate(lengths):
        if epoch in (60, 70):
            # Stopped, and resumed an hour later; once within an epoch.
            now += spent if epoch == 70 else 0.0
            kept, pace = pace.state_dict(), Pace(lines=True)
            now += 3600
            pace.load_state_dict(kept)
            pace.on_train_start(None, None)
        trainer = SimpleNamespace(current_epoch=epoch, max_epochs=100, max_steps=-1)
        trainer.callbacks, trainer.loggers, trainer.is_global_zero = [], [logged], True
        now += length - (spent if epoch == 70 else 0.0)
        pace.on_train_epoch_end(trainer, SimpleNamespace(batches_seen=5 * epoch, latest=latest))
    assert logged.curve == {5 * epoch: length for epoch, length in enumerate(lengths)}
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "epoch 2 of 100: 10.0 s, 16:20 left, loss/fake 0.500"
    assert said[99] == "epoch 100 of 100: 20.0 s, loss/fake 0.500"
    left = [seconds(line.split(", ")[1].removesuffix(" left")) for line in said[:99]]
    for epoch in range(4, 20):
        # Of the pace up to then, which is all that can be known.
        assert left[epoch] == pytest.approx(10.8 * (99 - epoch), rel=0.2)
    for epoch in range(60, 99):
        assert left[epoch] == pytest.approx(20.0 * (99 - epoch), rel=0.01)
    trainer.max_epochs = -1
    pace.on_train_epoch_end(trainer, SimpleNamespace(batches_seen=500, latest={}))
    assert "left" not in capsys.readouterr().out
