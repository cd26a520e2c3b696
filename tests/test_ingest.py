"""Folders of figures become stores: through kills, bad files, other kinds and little memory.

Most tests use figures in name only, JSON that says what a reader would find, and count what is read; the last ones
draw figures with matplotlib.
"""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import gan.data.building as building_module
import gan.data.readers as readers_module
import gan.data.source as source_module
from gan.backend import Backend
from gan.commands.main import main
from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.data.opening import Opening, open_store
from gan.data.store import ImageStore
from gan.data.workers import work_through
from gan.errors import InputError, NotNow
from gan.sound.figure.figure import Figure, Finding
from gan.sound.figure.options import FigureOptions
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import db_from_magnitude, magnitude_from_waveform

RATE = 8000
MINUTE = 101  # frames of the tests' windows, 100 hops of 32 samples: 0.4 s


class FakeFigure(Figure):
    """A figure whose findings are all that its options need."""

    def as_options(self, options: FigureOptions) -> FigureOptions:
        return dataclasses.replace(options, n_fft=self.settings.n_fft, colormap=self.findings[2].value)


def fake_read(path: Path, options: FigureOptions) -> Figure:
    """Read what `draw` wrote."""
    try:
        shown = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not a picture") from error
    if "error" in shown:
        raise {"ZeroDivisionError": ZeroDivisionError, "MemoryError": MemoryError}[shown["error"]]("oh")
    if shown["n_fft"] is None and options.n_fft is None:
        raise InputError(f"{path}: no grid is visible; give --n_fft")
    n_fft = options.n_fft or shown["n_fft"]
    if shown["n_fft"] not in (None, n_fft) and shown["confidence"] > 0.5:
        raise InputError(f"{path}: shows another n_fft than {n_fft}")
    settings = SpectrogramSettings(options.sample_rate, n_fft, n_fft // 4, n_fft, floor_db=-80.0, bits=8)
    codes = np.random.default_rng(shown["seed"]).integers(0, 256, (settings.n_freqs, shown["n_frames"]))
    relative_db = (codes / 255 * 80 - 80).astype(np.float32)
    findings = (
        Finding("n_fft", str(n_fft), shown["confidence"], f"{settings.n_freqs} rows"),
        Finding("sample_rate", str(options.sample_rate), None, "as given"),
        Finding("colormap", options.colormap or shown["colormap"], shown["confidence"], "its colours"),
    )
    return FakeFigure(path, settings, relative_db, None, findings, tuple(shown["warnings"]))


def codes_of(path: Path) -> np.ndarray:
    """What the store must hold of a file that `draw` wrote."""
    shown = json.loads(path.read_text())
    n_freqs = (shown["n_fft"] or 128) // 2 + 1
    return np.random.default_rng(shown["seed"]).integers(0, 256, (n_freqs, shown["n_frames"])).T


def draw(path: Path, seed: int = 0, **shown) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = {
        "n_fft": 128, "n_frames": MINUTE, "size": [200, 200], "colormap": "gray", "confidence": 0.9, "warnings": [],
    } | shown  # fmt: skip
    path.write_text(json.dumps(shown | {"seed": seed}))
    return path


def fake_size(path: Path) -> tuple[int, int] | None:
    try:
        return tuple(json.loads(path.read_text())["size"])
    except ValueError:
        return None


def fake_reader(monkeypatch, read: Callable[[Path, FigureOptions], Figure] = fake_read) -> list[str]:
    """Put `read` in the reader's place; returns the names of the files that it will be asked for."""
    asked = []

    def counting(path: Path, options: FigureOptions) -> Figure:
        asked.append(path.name)
        return read(path, options)

    monkeypatch.setattr(source_module, "read_figure", counting)
    monkeypatch.setattr(source_module, "peak_bytes", lambda path: 1)
    monkeypatch.setattr(source_module, "picture_size", fake_size)
    return asked


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    return fake_reader(monkeypatch)


@pytest.fixture
def figures(tmp_path) -> Path:
    """Four recordings in two folders, of three windows and one that overlaps the third by half: 16 figures."""
    folder = tmp_path / "figures"
    for recording in range(4):
        for number, end in enumerate((0.4, 0.8, 1.2, 1.4)):
            draw(folder / f"{recording % 2}" / f"{recording}.wav{end}.jpg", seed=10 * recording + number)
    return folder


def build(figures: Path, **options) -> ImageStore:
    return open_store(figures, figures.parent / "store", n_threads=2, options=FigureOptions(RATE, **options))


def assert_holds(store: ImageStore, figures: Path, files: list[str]) -> None:
    """The store holds these files and nothing else, frame by frame."""
    assert [image.file for image in store.images] == sorted(files)
    for index, image in enumerate(store.images):
        np.testing.assert_array_equal(store.codes(index, 0, image.n_frames), codes_of(figures / image.file))
    rows = sorted((image.shard, image.first_row, image.first_row + image.n_frames) for image in store.images)
    assert all(end <= start or shard < other for (shard, _, end), (other, start, _) in pairwise(rows))


def files_of(figures: Path) -> list[str]:
    return [path.relative_to(figures).as_posix() for path in figures.rglob("*.jpg")]


def test_figures_and_where_their_sound_was(figures, asked):
    store = build(figures)
    assert_holds(store, figures, files_of(figures))
    assert store.settings == SpectrogramSettings(RATE, 128, 32, 128, floor_db=-80.0, bits=8)
    assert [(image.recording, round(image.start_second, 6)) for image in list(store.images)[:5]] == [
        ("0/0.wav", 0.0), ("0/0.wav", 0.4), ("0/0.wav", 0.8), ("0/0.wav", 1.0), ("0/2.wav", 0.0),
    ]  # fmt: skip
    assert store.skipped == store.odd == []
    assert sorted(asked) == sorted(Path(file).name for file in files_of(figures))
    assert [finding.value for finding in store.kind.findings] == ["128", "8000", "gray"]


def test_a_second_look_reads_nothing_and_other_options_everything(figures, asked):
    first = build(figures)
    asked.clear()
    assert build(figures).fingerprint == first.fingerprint
    assert asked == []
    draw(figures / "0" / "new.wav0.4.jpg", seed=99)
    grown = build(figures)
    assert asked == ["new.wav0.4.jpg"]
    assert_holds(grown, figures, files_of(figures))
    asked.clear()
    anew = build(figures, n_fft=128)
    assert len(asked) == 17
    # In two files of frames or in one, it is the same.
    assert (len(grown.shards.names), len(anew.shards.names)) == (2, 1)
    assert anew.fingerprint == grown.fingerprint
    places = [[dataclasses.replace(image, shard=0, first_row=0) for image in store.images] for store in (grown, anew)]
    assert places[0] == places[1]


def test_settings_without_the_store_read_one_figure_and_with_it_none(figures, asked):
    expected = SpectrogramSettings(RATE, 128, 32, 128, floor_db=-80.0, bits=8)
    assert Opening(figures, figures.parent / "store", FigureOptions(RATE)).settings() == expected
    assert len(asked) == 1
    build(figures)
    asked.clear()
    assert Opening(figures, figures.parent / "store", FigureOptions(RATE)).settings() == expected
    assert asked == []


def slowly(path: Path, options: FigureOptions) -> Figure:
    """Take a while, and note down that it was done; stop at the 30th, so that a kill cannot be too late."""
    figure = fake_read(path, options)
    time.sleep(0.05)
    log = path.parents[2] / "done.txt"
    while n_done(log) >= 30:
        time.sleep(1)
    with log.open("a") as file:
        file.write(f"{path.name}\n")
    return figure


def n_done(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def build_slowly(figures: str) -> None:
    """What the process does that is killed: see `test_kill_and_go_on`."""
    source_module.read_figure, source_module.peak_bytes, source_module.picture_size = slowly, lambda path: 1, fake_size
    # Of a clock that goes on by 0.05 s with each image.
    building_module._SYNC_SECONDS = 0.2
    log = Path(figures).parent / "done.txt"
    building_module.time = SimpleNamespace(monotonic=lambda: 0.05 * n_done(log))
    build(Path(figures))


def test_kill_and_go_on(figures, monkeypatch):
    for number in range(24):
        draw(figures / "2" / f"{number}.jpg", seed=100 + number)
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_ingest as it; it.build_slowly"
    )
    process = subprocess.Popen([sys.executable, "-c", f"{program}({str(figures)!r})"])
    journal = figures.parent / "store" / "building.jsonl"
    while not journal.exists() or journal.read_bytes().count(b'{"image"') < 10:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = set((figures.parent / "done.txt").read_text().split())
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    kept = {Path(line["image"]["file"]).name for line in lines if "image" in line}
    assert 10 <= len(kept) < 40
    assert kept <= killed
    # At most what 0.2 s were enough for, and what was being read.
    assert len(killed - kept) <= 0.2 / 0.05 * 2 + 4
    asked = fake_reader(monkeypatch)
    store = build(figures)
    assert set(asked).isdisjoint(kept)
    assert len(asked) == 40 - len(kept)
    assert_holds(store, figures, files_of(figures))


def test_ctrl_c_keeps_what_is_complete(figures, monkeypatch, capsys):
    def stopped(path: Path, options: FigureOptions) -> Figure:
        if len(asked) > 9:
            raise KeyboardInterrupt
        return fake_read(path, options)

    asked = fake_reader(monkeypatch, stopped)
    command = ["ingest", str(figures), str(figures.parent / "store"), f"--sample_rate={RATE}", "--n_jobs=1"]
    assert main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    asked = fake_reader(monkeypatch)
    assert main(command) == 0
    assert len(asked) == 16 - 9
    assert_holds(ImageStore(figures.parent / "store"), figures, files_of(figures))


def test_bad_files_are_left_out_and_named(figures, asked):
    (figures / "0" / "broken.jpg").write_text("{")
    (figures / "0" / "text.png").write_text("Dear diary")
    draw(figures / "1" / "bug.jpg", error="ZeroDivisionError")
    draw(figures / "1" / "huge.jpg", error="MemoryError", size=[300, 300])
    good = [file for file in files_of(figures) if "/" in file and ".wav" in file]
    store = build(figures)
    assert_holds(store, figures, good)
    broken, text, bug, huge = store.skipped
    assert broken == f"{figures / '0' / 'broken.jpg'}: not a picture"
    assert text == f"{figures / '0' / 'text.png'}: not a picture"
    assert "bug.jpg: cannot be read (ZeroDivisionError: oh), which is an error of `gan`; report it" in bug
    assert "huge.jpg: too little memory" in huge
    # What could not be read is not read again as long as nothing changes.
    asked.clear()
    assert build(figures).skipped == store.skipped
    assert asked == []


def test_what_memory_was_lacking_for_is_tried_again(figures, monkeypatch, capsys):
    (figures / "0" / "broken.jpg").write_text("{")
    draw(figures / "1" / "huge.jpg", seed=70)
    store = figures.parent / "store"
    command = ["ingest", str(figures), str(store), f"--sample_rate={RATE}", "--n_jobs=1"]
    good = [file for file in files_of(figures) if "broken" not in file]

    def lacking(path: Path, options: FigureOptions) -> Figure:
        if path.name == "huge.jpg":
            raise MemoryError
        return fake_read(path, options)

    fake_reader(monkeypatch, lacking)
    shards = set()
    for _ in range(3):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"left out {figures / '1' / 'huge.jpg'}: too little memory to read it; close other programs" in said
        assert said.splitlines()[-1] == "2 of 18 were left out"
        assert_holds(ImageStore(store), figures, [file for file in good if "huge" not in file])
        shards |= set(store.glob("*.frames"))
    assert len(shards) == 1
    # A training takes the store as it is.
    asked = fake_reader(monkeypatch)
    assert len(build(figures).images) == 16
    assert len(ImageData(figures, store=store, figures=FigureOptions(RATE)).store.images) == 16
    assert asked == []
    assert main(command) == 1
    assert set(asked) == {"broken.jpg", "huge.jpg"}
    assert capsys.readouterr().err.splitlines()[-1] == "1 of 18 were left out"
    assert_holds(ImageStore(store), figures, good)
    # What is wrong for good is not tried again.
    asked.clear()
    assert main(command) == 1
    assert asked == []


def test_a_stopped_build_tries_again_what_memory_was_lacking_for(figures, monkeypatch):
    def stopped(path: Path, options: FigureOptions) -> Figure:
        if len(asked) > 12:
            raise KeyboardInterrupt
        if path.name.startswith("1."):
            raise MemoryError
        return fake_read(path, options)

    asked = fake_reader(monkeypatch, stopped)
    command = ["ingest", str(figures), str(figures.parent / "store"), f"--sample_rate={RATE}", "--n_jobs=1"]
    assert main(command) == 130
    read = set(asked[:12])
    assert any(name.startswith("1.") for name in read)
    asked = fake_reader(monkeypatch)
    assert main(command) == 0
    names = {Path(file).name for file in files_of(figures)}
    assert set(asked) == names - {name for name in read if not name.startswith("1.")}
    assert_holds(ImageStore(figures.parent / "store"), figures, files_of(figures))


def test_figures_that_the_disk_did_not_give_are_tried_again(figures, monkeypatch):
    quiet = draw(figures / "0" / "quiet.jpg", seed=80, n_fft=None)
    names = ["0.wav0.4.jpg", "broken.jpg", "quiet.jpg"]
    draw(figures / "0" / "broken.jpg")

    def failing(path: Path, options: FigureOptions) -> Figure:
        if path.name == "0.wav0.4.jpg":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if path.name == "broken.jpg":
            # What Pillow calls a picture that ends too early, if nobody else does.
            raise OSError("image file is truncated")
        return fake_read(path, options)

    def failing_size(path: Path) -> tuple[int, int] | None:
        if path == quiet:
            raise NotNow(f"{path}: cannot be opened (Stale file handle)")
        return fake_size(path)

    fake_reader(monkeypatch, failing)
    monkeypatch.setattr(source_module, "picture_size", failing_size)
    store = build(figures)
    assert len(store.images) == 15
    assert store.unfinished
    assert [line.partition(": ")[2] for line in store.skipped] == [
        "cannot be opened (Too many open files)",
        "cannot be read (OSError: image file is truncated), which is an error of `gan`; report it",
        "cannot be opened (Stale file handle)",
    ]
    asked = fake_reader(monkeypatch)
    # A training takes the store as it is.
    assert build(figures).skipped == store.skipped
    assert asked == []
    store = Opening(figures, figures.parent / "store", FigureOptions(RATE)).store(again=True)
    assert set(asked) == set(names)
    assert store.skipped == []
    assert_holds(store, figures, files_of(figures))


def test_only_bad_files(tmp_path, asked):
    (tmp_path / "figures").mkdir()
    for number in range(7):
        (tmp_path / "figures" / f"{number}.jpg").write_text("{")
    for _ in range(2):
        with pytest.raises(InputError, match=r"none of its 7 images can be used; .*0\.jpg: not a picture"):
            build(tmp_path / "figures")
    with pytest.raises(InputError, match="none of its 7 images can be used"):
        Opening(tmp_path / "figures", tmp_path / "store").settings()


def test_what_cannot_be_read_at_all_is_said_early(tmp_path, asked):
    for number in range(200):
        draw(tmp_path / "figures" / f"{number}.jpg", n_fft=None)
    with pytest.raises(InputError, match=r"of 200 figures 50 were tried, and none can be read; .* give --n_fft$"):
        build(tmp_path / "figures")
    assert len(asked) == 50
    assert len(build(tmp_path / "figures", n_fft=128).images) == 200


def test_the_settings_of_most_are_the_stores(figures, asked):
    for number in range(3):
        draw(figures / "0" / f"other{number}.jpg", n_fft=256, size=[200, 200 + number])
    store = build(figures)
    assert_holds(store, figures, [file for file in files_of(figures) if "other" not in file])
    assert len(store.skipped) == 3
    for line in store.skipped:
        assert "n_fft is 256, hop_length is 64, win_length is 256, but most images of its folder have n_fft 128" in line
    assert len(asked) == 19 + 1  # the one with the others' size once more, which was refused


def test_what_shows_little_is_read_like_the_others(figures, asked):
    draw(figures / "1" / "negative.jpg", colormap="gray_r", confidence=0.2, seed=52)
    draw(figures / "1" / "quiet.jpg", n_fft=None, seed=50)
    draw(figures / "1" / "quiet_and_small.jpg", n_fft=None, size=[100, 200])
    draw(figures / "1" / "small.jpg", colormap="gray_r", confidence=0.2, size=[100, 200])
    draw(figures / "1" / "unsure.jpg", n_fft=256, confidence=0.2, seed=51)
    store = build(figures)
    held = {image.file: image for image in store.images}
    assert len(store.images) == 16 + 4
    assert held["1/quiet.jpg"].n_frames == held["1/unsure.jpg"].n_frames == MINUTE
    assert store.skipped == [f"{figures / '1' / 'quiet_and_small.jpg'}: no grid is visible; give --n_fft"]
    alike = "read with what the others show, because alone:"
    assert store.odd == [
        f"1/negative.jpg: {alike} colormap gray_r is a guess",
        f"1/quiet.jpg: {alike} no grid is visible",
        "1/small.jpg: picture 100 x 200 (most: 200 x 200), colormap gray_r (most: gray; a guess)",
        f"1/unsure.jpg: {alike} n_fft is 256, hop_length is 64, win_length is 256, but most images of its folder have "
        "n_fft 128, hop_length 32, win_length 128",
    ]
    # Once more for each of the three that have the others' size.
    assert len(asked) == 16 + 5 + 3


def test_odd_ones(figures, asked):
    for path in figures.rglob("*.jpg"):
        draw(path, **json.loads(path.read_text()) | {"warnings": ["all say this"]})
    draw(figures / "0" / "a.jpg", n_frames=60, size=[150, 200], warnings=["all say this"])
    draw(figures / "0" / "b.jpg", colormap="viridis", warnings=["all say this", "too dark"])
    # A guess that is what the others show is none any more.
    draw(figures / "0" / "c.jpg", confidence=0.3, warnings=["all say this"])
    assert build(figures).odd == [
        f"0/a.jpg: frames 60 (most: {MINUTE}), picture 150 x 200 (most: 200 x 200)",
        "0/b.jpg: colormap viridis (most: gray), too dark",
    ]
    for number in range(40):
        draw(figures / "2" / f"{number}.jpg", warnings=["all say this", f"too dark by {number} dB"])
    odd = build(figures).odd
    assert len(odd) == 21
    assert odd[-1] == "and 22 more"


def test_figures_and_images_in_one_folder(tmp_path, figures, write_image, asked):
    for number in range(3):
        write_image(figures / "own" / f"{number}.png")
    store = build(figures)
    assert_holds(store, figures, files_of(figures))
    assert len(store.skipped) == 3
    assert (
        "floor_db is -120.0, bits is 16, but most images of its folder have floor_db -80.0, bits 8" in store.skipped[0]
    )
    for number in range(3, 40):
        write_image(figures / "own" / f"{number}.png", seed=number)
    store = build(figures)
    assert [image.file for image in store.images] == sorted(f"own/{number}.png" for number in range(40))
    assert len(store.skipped) == 16
    assert "bits is 8, but most images of its folder have floor_db -120.0, bits 16" in store.skipped[0]
    assert store.odd == []


def test_a_stopped_build_does_not_keep_the_settings_of_what_is_gone(figures, monkeypatch, write_image):
    def stopped(*arguments):
        raise KeyboardInterrupt

    asked = fake_reader(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(building_module.Building, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            build(figures)
    assert len(asked) == 16
    for number in range(17):
        write_image(figures / "own" / f"{number}.png", seed=number)
    assert build(figures).settings.bits == 16


def test_a_stopped_build_does_not_keep_the_kind_of_figures_that_are_gone(figures, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    fake_reader(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(building_module.Building, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            build(figures)
    first, *others = sorted(files_of(figures))
    for seed, file in enumerate(others):
        draw(figures / file, seed=seed, n_fft=256, size=[300, 300])
    store = build(figures)
    assert store.settings.n_fft == 256
    assert_holds(store, figures, others)
    assert len(store.skipped) == 1
    assert f"{figures / first}: n_fft is 128" in store.skipped[0]


@pytest.mark.parametrize("n_done", [0, 3, 5, 12])
def test_what_a_cluster_did_not_come_to_is_not_taken_for_done(figures, monkeypatch, asked, n_done):
    left = [n_done]

    def work_some(backend, jobs, work):
        for job in jobs:
            if left[0] == 0:
                return
            left[0] -= 1
            yield job, work(job)

    monkeypatch.setattr(Backend, "work_through", work_some)
    options = {"n_threads": 1, "options": FigureOptions(RATE), "backend": Backend("ray")}
    with pytest.raises(InputError, match=r"ray: nothing came back of \d+ of \d+ images; run again"):
        open_store(figures, figures.parent / "store", **options)
    assert not (figures.parent / "store" / "index.json").exists()
    left[0] = 16
    assert_holds(open_store(figures, figures.parent / "store", **options), figures, files_of(figures))


def test_memory_bounds_what_is_read_at_a_time(figures, monkeypatch):
    changed, reading, most = threading.Condition(), 0, 0

    def heavy(path: Path, options: FigureOptions) -> Figure:
        nonlocal reading, most
        with changed:
            reading += 1
            most = max(most, reading)
            changed.notify_all()
            # The others come when their threads get a core. A figure that is looked at before all waits in vain.
            changed.wait_for(lambda: most >= expected, timeout=0.1)
        time.sleep(0.005)
        with changed:
            reading -= 1
        return fake_read(path, options)

    fake_reader(monkeypatch, heavy)
    for needed, expected in ((10, 4), (34, 2), (51, 1), (1000, 1)):
        monkeypatch.setattr(source_module, "peak_bytes", lambda path, needed=needed: needed)
        monkeypatch.setattr(readers_module, "memory_budget", lambda: 100)
        most = 0
        store = figures.parent / f"store{needed}"
        assert len(open_store(figures, store, 4, FigureOptions(RATE)).images) == 16
        assert most == expected, needed


def test_work_is_done_in_order_and_within_the_budget():
    lock, taken, most, started = threading.Lock(), 0, 0, []
    sizes = np.random.default_rng(0).integers(1, 60, 60).tolist()

    def work(job: int) -> int:
        nonlocal taken, most
        with lock:
            started.append(job)
            taken += sizes[job]
            most = max(most, taken)
        time.sleep(0.002)
        with lock:
            taken -= sizes[job]
        return job * job

    for n_threads in (8, 1):
        started.clear()
        results = list(work_through(range(60), work, lambda job: sizes[job], n_threads, 100))
        assert sorted(results) == [(job, job * job) for job in range(60)]
        assert most <= 100
    # Of several threads the one that starts first may be late to say so.
    assert started == list(range(60))


def test_command(figures, asked, capsys, monkeypatch):
    draw(figures / "1" / "odd.wav0.4.jpg", colormap="magma", seed=70)
    store = figures.parent / "my store"
    arguments = ["ingest", str(figures), str(store), "--sample_rate", str(RATE), "--box", "[0, 0, 200, 200]"]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.err == ""
    # 17 times 101 frames of 4 ms; four times half of a window is heard twice.
    n_frames, n_fresh = 17 * MINUTE, 17 * MINUTE - 4 * 50
    assert output.out.splitlines() == [
        f"17 images of 5 recordings, {n_frames * 0.004 / 60:.1f} minutes, {n_fresh * 0.004 / 60:.1f} of them without "
        f"what overlaps, are {n_frames * 65 / 1e9:.3g} GB in {store}",
        "  found        value  confidence  how",
        "  n_fft        128    0.90        65 rows",
        "  sample_rate  8000               as given",
        "  colormap     gray   0.90        its colours",
        "odd: 1/odd.wav0.4.jpg: colormap magma (most: gray)",
        "train on it with",
        f"  python train.py --data.images {figures} --data.store '{store}' --data.figures.sample_rate 8000 "
        "--data.figures.box '[0, 0, 200, 200]'",
    ]
    (figures / "0" / "bad.jpg").write_text("{")
    asked.clear()
    assert main(arguments) == 1
    assert asked == ["bad.jpg"]
    output = capsys.readouterr()
    assert output.err == f"left out {figures / '0' / 'bad.jpg'}: not a picture\n1 of 18 were left out\n"


def test_paths_that_no_file_has_are_said(tmp_path, write_image, capsys):
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "loop").symlink_to("loop")
    images, loop, long = str(tmp_path / "images"), str(tmp_path / "loop"), "x" * 300
    for paths, message in (
        ([images, loop], f"{loop}: cannot be written, {loop} is a link to nothing; name another folder"),
        ([images, long], f"{long}/index.json: cannot be written (File name too long): a name of 300 bytes, 255 is"),
        ([long], f"{long}: cannot be listed (File name too long); run again when it can be"),
        ([loop], f"{loop}: cannot be listed (Too many levels of symbolic links); "),
        ([f"{images}/a.png"], f"{images}/a.png: no such folder"),
    ):
        assert main(["ingest", *paths]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"gan ingest: {message}")
        assert said.err.count("\n") == 1


def test_command_refuses_what_it_cannot_do(tmp_path, asked, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("{")
    for folder, options, message in (
        ("gone", [], "gone: no such folder"),
        ("bad", [], "none of its 1 images can be used"),
        ("bad", ["--range_db=0"], "range_db is 0.0; it must lie in [1, 300]"),
    ):
        assert main(["ingest", str(tmp_path / folder), str(tmp_path / "store"), *options]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.count("\n") == 1
        assert message in output.err


def plot(path: Path, waveform: np.ndarray) -> None:
    """The question's recipe, at 1000 x 1000 px and 8 kHz."""
    import librosa
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    level_db = librosa.amplitude_to_db(np.abs(librosa.stft(waveform, n_fft=256)))
    figure = Canvas(figsize=(5, 5), dpi=200, frameon=False)
    FigureCanvasAgg(figure)
    axes = figure.add_axes([0, 0, 1, 1], frameon=False)
    axes.axis("off")
    librosa.display.specshow(level_db, sr=RATE, hop_length=64, cmap="gray", x_axis="time", y_axis="hz", ax=axes)
    figure.savefig(path, pil_kwargs={"quality": 100})


def test_figures_of_matplotlib(tmp_path, sound, capsys):
    """Three recordings of 2.1 s in windows of 0.8 s, the last of which overlaps, and half a file."""
    figures, store = tmp_path / "figures", tmp_path / "store"
    figures.mkdir()
    length = round(0.8 * RATE)
    levels = {}
    for recording in range(3):
        waveform = sound(round(2.1 * RATE), seed=recording, sample_rate=RATE)
        for end in (0.8, 1.6, 2.1):
            start = round(end * RATE) - length
            name = f"{recording}.wav{end}.jpg"
            plot(figures / name, waveform[start : start + length])
            levels[name] = waveform[start : start + length]
    (figures / "half.wav0.8.jpg").write_bytes((figures / "0.wav0.8.jpg").read_bytes()[:100_000])
    assert main(["ingest", str(figures), str(store), f"--sample_rate={RATE}", "--colormap=gray"]) == 1
    output = capsys.readouterr()
    assert output.out.startswith("9 images of 3 recordings")
    assert "  n_fft        256 " in output.out
    assert output.err.startswith(f"left out {figures / 'half.wav0.8.jpg'}: ")
    data = ImageData(
        figures, 32, 4, store=store, figures=FigureOptions(RATE, colormap="gray"), validation_fraction=0.34
    )
    data.setup()
    assert data.settings == dataclasses.replace(SpectrogramSettings(RATE, 256, 64, 256, bits=8), floor_db=-79.6875)
    assert {data.store.images[index].recording for index in data.validation_images}.isdisjoint(
        data.store.images[index].recording for index in data.train_images
    )
    for index, image in enumerate(data.store.images):
        assert image.start_second == pytest.approx(float(image.file[5:8]) - 0.8)
        # White is the loudest cell and black the quietest one, which is read as 80 dB below it. Two of these windows
        # are 8 dB rms apart.
        magnitude = magnitude_from_waveform(torch.from_numpy(levels[image.file]), data.settings)
        level_db = db_from_magnitude(magnitude).numpy()
        drawn = (level_db - level_db.min()) / np.ptp(level_db)
        codes = data.store.codes(index, 0, image.n_frames).T
        assert 80 * np.sqrt(np.mean(np.square(codes / 255 - drawn))) < 0.15
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (4, 1, 128, 32)
    assert float(batch.images.max()) > 0.5
    # Nothing of the last windows' first 0.3 s, which the ones before them show.
    crops = [crop for epoch in range(20) for crops in crops_of_epoch(data, epoch) for crop in crops]
    last = [crop for crop in crops if data.store.images[crop.image].file.endswith("2.1.jpg")]
    assert min(crop.start for crop in last) >= round(0.3 * RATE / 64)


def crops_of_epoch(data: ImageData, epoch: int) -> list[list[Crop]]:
    sampler = data._sampler()
    sampler.batches_seen = lambda: epoch * len(sampler)
    return list(sampler)
