"""The page of `gan listen`: what is in it, how loud and how large it is, and what is refused."""

import base64
import json
import math
import re
import struct
import time
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import music, with_flac_length
from heard import N_SAMPLES, RATE, make_run, write
from torch.utils.tensorboard import SummaryWriter

from gan.commands.main import main
from gan.errors import InputError
from gan.listen.chart import Axis, draw_charts
from gan.listen.clips import Clips
from gan.listen.curves import read_curves
from gan.listen.history import History, Place, places_in, thin_to
from gan.listen.picture import jpeg
from gan.listen.sounds import Sound, loudness, matching_gains_db
from gan.run import Run


def listen(*arguments: Path | str) -> int:
    return main(["listen", *map(str, arguments)])


class Read(HTMLParser):
    """A page as a browser understands it: its data, its elements by id, its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: dict[str, str] = {}
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self._id: str | None = None
        self.feed(page.read_text(encoding="utf-8"))
        self.data: dict[str, Any] = json.loads(self.elements["data"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]
        self._id = given.get("id") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._id = None

    def handle_data(self, data: str) -> None:
        if self._id:
            self.elements[self._id] = data
        self.text += data

    def clips(self, kind: str, number: int, role: str, row: int = 0) -> list[int | None]:
        """Numbers of the clips of each moment."""
        panes = self.data[kind][number]["rows"][row]["panes"]
        found: list[int | None] = next(pane["clips"] for pane in panes if pane["role"] == role)
        return found

    def content(self, name: str) -> bytes:
        return base64.b64decode(self.elements[name])


def test_one_file_holds_every_clip_as_it_is(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    assert listen(run) == 0
    page = Read(run / "listen" / "index.html")
    size = (run / "listen" / "index.html").stat().st_size
    assert capsys.readouterr().out == f"to listen, open {run / 'listen' / 'index.html'} ({size / 1e6:.1f} MB)\n"
    assert page.data["runs"] == [{"name": "run", "moments": [[epoch, 10 * epoch] for epoch in range(1, 7)]}]
    clips = Clips(run)
    for number in range(2):
        wanted = {("references", kind, 0): clips.references()[f"{kind}_{number}"] for kind in ("real", "inverted")}
        for index, moment in enumerate(clips.moments()):
            wanted["samples", "sample", index] = moment.clips[f"sample_{number}"]
        wanted["samples", "neighbour", 3] = clips.moments()[3].clips[f"sample_{number}_neighbour"]
        for (kind, role, index), files in wanted.items():
            clip = page.data["clips"][page.clips(kind, number, role)[index]]
            assert page.content(clip["sound"]) == files.sound.read_bytes()
            assert page.content(clip["picture"]) == files.picture.read_bytes()
            assert clip["seconds"] == pytest.approx(N_SAMPLES / RATE, abs=1e-6)
            assert clip["rate"] == RATE
        assert page.clips("samples", number, "neighbour") == [
            None,
            None,
            None,
            page.clips("samples", number, "neighbour")[3],
            None,
            None,
        ]
    # The last epoch is read first.
    order = [name for name in page.elements if name.startswith("sound-")]
    first = page.data["clips"][page.clips("samples", 0, "sample")[-1]]["sound"]
    assert order.index(first) < order.index(page.data["clips"][page.clips("samples", 0, "sample")[-2]]["sound"])
    assert len(page.data["clips"]) == 2 * 2 + 2 * 6 + 2
    # Nothing comes from elsewhere.
    assert page.addresses == ["data:,"]
    assert not re.search(r"https?://", (run / "listen" / "index.html").read_text().replace("http://www.w3.org", ""))
    assert listen(run) == 0  # its own page is written again


def test_outlines_are_the_largest_samples(tmp_path):
    run = make_run(tmp_path / "run", n_epochs=1)
    assert listen(run) == 0
    page = Read(run / "listen" / "index.html")
    clip = page.data["clips"][page.clips("samples", 1, "sample")[0]]
    waveform = np.abs(soundfile.read(Clips(run).moments()[0].clips["sample_1"].sound)[0])
    expected = [round(255 * part.max()) for part in np.array_split(waveform, 200)]
    assert list(base64.b64decode(clip["outline"])) == expected
    assert page.data["loudest"] == max(max(base64.b64decode(each["outline"])) for each in page.data["clips"])


def test_gains_make_clips_as_loud_as_each_other(tmp_path):
    run = tmp_path / "run"
    gains = (1.0, 0.5, 0.4, 0.02, 0.0)
    for index, gain in enumerate(gains):
        write(run, f"sample_{index}", (1, 10), seed=0, gain=gain)
    assert listen(run) == 0
    page = Read(run / "listen" / "index.html")
    told = [page.data["clips"][page.clips("samples", index, "sample")[0]]["gain"] for index in range(len(gains))]
    # The median is at 0.45: 12 dB below it lies the target, and the fourth, 26 dB below, stays as it is.
    median_db = 20 * math.log10(math.sqrt(0.5 * 0.4))
    for gain, told_db in zip(gains[:3], told[:3], strict=True):
        assert told_db == pytest.approx(median_db - 12 - 20 * math.log10(gain), abs=0.1)
    assert told[3:] == [0.0, 0.0]
    # As measured of the files themselves.
    reached = []
    for index in range(3):
        waveform = soundfile.read(Clips(run).moments()[0].clips[f"sample_{index}"].sound, dtype="float32")[0]
        reached.append(loudness(waveform * 10 ** (told[index] / 20), RATE))
    assert max(reached) - min(reached) < 0.1


def test_the_quietest_sets_the_level_if_it_is_near():
    assert matching_gains_db([-20.0, -23.0, -26.0, -math.inf]) == [-6.0, -3.0, 0.0, 0.0]
    assert matching_gains_db([-math.inf]) == [0.0]
    assert matching_gains_db([]) == []


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0, 3.0])
def test_loudness_is_that_of_the_standard(rate, seconds):
    # EBU Tech 3341: a sine of 1 kHz whose peak is at -20 dBFS, in one channel, is 3.01 dB below its stereo level, which
    # is -20 LUFS. A block of 0.1 s is no more than what rings in before it, and filters are off a little at 8 kHz.
    time = np.arange(round(seconds * rate)) / rate
    sine = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    assert loudness(sine, rate) == pytest.approx(-23.0, abs=0.2 if seconds > 0.1 else 0.6)
    assert loudness(0 * sine, rate) == -math.inf


@pytest.mark.parametrize("n_samples", [1, 2, 16, 100, 3201, 7 * 11 * 13])
def test_short_clips_have_a_loudness(n_samples):
    for rate in (8000, 11025, 44100):
        assert loudness(music(n_samples, sample_rate=rate), rate) < 0


def test_a_large_run_is_thinned_evenly(tmp_path, capsys):
    run = make_run(tmp_path / "run", n_epochs=21, neighbours=(5, 10))
    assert listen(run) == 0
    whole = (run / "listen" / "index.html").stat().st_size
    capsys.readouterr()
    assert listen(run, "--max_mb", str(0.4 * whole / 1e6)) == 0
    page, size = Read(run / "listen" / "index.html"), (run / "listen" / "index.html").stat().st_size
    epochs = [epoch for epoch, _ in page.data["runs"][0]["moments"]]
    assert 0.2 * whole < size < 0.45 * whole
    assert (epochs[0], epochs[-1]) == (1, 21)
    assert 10 in epochs  # the last that has neighbours
    assert max(np.diff(epochs)) <= 2 * min(np.diff(epochs)) + 2
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"run: {21 - len(epochs)} of 21 epochs are left out; a larger --max_mb keeps more, --link all"
    assert f"{len(epochs)} epochs, from 1 to 21; {21 - len(epochs)} others are left out" in page.text
    # There is always the last.
    assert listen(run, "--max_mb", "0.001") == 0
    assert Read(run / "listen" / "index.html").data["runs"][0]["moments"] == [[21, 210]]
    assert "more than 0.001 MB with one epoch of each run already; --link" in capsys.readouterr().out


def test_runs_are_thinned_to_the_same_number(tmp_path):
    long, short = (History.of(Run(make_run(tmp_path / str(n), n_epochs=n))) for n in (12, 3))
    assert [len(each.moments) for each in thin_to([long, short], long.n_bytes + short.n_bytes)] == [12, 3]
    thinned = thin_to([long, short], 0.7 * (long.n_bytes + short.n_bytes))
    assert len(thinned[1].moments) == 3
    assert 3 < len(thinned[0].moments) < 9
    assert [moment.epoch for moment in long.thinned(3).moments] == [1, 4, 12]
    assert [moment.epoch for moment in long.thinned(2).moments] == [1, 12]
    assert [moment.epoch for moment in long.thinned(1).moments] == [12]


def test_sounds_beside_the_page(tmp_path, monkeypatch):
    run = make_run(tmp_path / "a run")
    monkeypatch.chdir(tmp_path)
    output = Path("pages") / "out.html"
    assert listen("a run", "--link", "--output", output) == 0
    page = Read(output)
    assert not [name for name in page.elements if name.startswith(("sound", "picture"))]
    assert len(list((tmp_path / "pages" / "out_sounds").iterdir())) == 7
    clip = page.data["clips"][page.clips("samples", 1, "sample")[2]]
    assert clip["picture"] == "../a%20run/listen/epoch_0003_batch_000030/sample_1.jpg"
    script = (output.parent / clip["script"]).read_text()
    sounds = json.loads(script.removeprefix("heard(").removesuffix(")"))
    assert base64.b64decode(sounds[clip["sound"]]) == Clips(run).moments()[2].clips["sample_1"].sound.read_bytes()
    # What is no longer listened to goes, and all of it with a page that holds its sounds.
    Clips(run).thin(4)
    assert listen("a run", "--link", "--output", output) == 0
    assert len(list((tmp_path / "pages" / "out_sounds").iterdir())) == 1 + len(Clips(run).moments())
    assert listen("a run", "--output", output) == 0
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["out.html"]


def test_runs_side_by_side(tmp_path, capsys):
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other", n_epochs=3, n_samples=3, neighbours=())
    write(other, "sample_0", (3, 30), seed=7)
    assert listen(one, other) == 0
    assert f"open {tmp_path / 'listen.html'}" in capsys.readouterr().out
    page = Read(tmp_path / "listen.html")
    assert [run["name"] for run in page.data["runs"]] == ["one", "other"]
    assert [[row["runs"] for row in card["rows"]] for card in page.data["samples"]] == [[[0], [1]], [[0], [1]], [[1]]]
    # The same references are there once.
    assert [[row["runs"] for row in card["rows"]] for card in page.data["references"]] == [[[0, 1]], [[0, 1]]]
    clip = page.data["clips"][page.clips("samples", 0, "sample", row=1)[2]]
    assert page.content(clip["sound"]) == Clips(other).moments()[2].clips["sample_0"].sound.read_bytes()


def test_what_clips_are():
    names = ["sample_10", "sample_2_low drum", "sample_2_low drum_neighbour", "sample_3_neighbour", "real_0", "other"]
    # A class may be called so, and a sample may be damaged.
    for others, fourth in (((), Place("sample", 3, "neighbour")), (("sample_3",), Place("neighbour", 3, ""))):
        assert list(places_in(dict.fromkeys(names), {*names, *others})) == [
            Place("real", 0, ""),
            Place("neighbour", 2, "low drum"),
            Place("sample", 2, "low drum"),
            fourth,
            Place("sample", 10, ""),
        ]


def test_damaged_clips_are_skipped(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    moments = Clips(run).moments()
    cut, text, gone, alone = (moments[index].clips["sample_0"] for index in range(4))
    cut.sound.write_bytes(cut.sound.read_bytes()[:-500])
    text.picture.write_text("no picture")
    gone.picture.unlink()
    alone.sound.unlink()
    empty = moments[4].clips["sample_1"]
    empty.sound.write_bytes(b"")
    assert listen(run) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5
    for line, path in zip(
        sorted(said), sorted([cut.sound, text.picture, gone.sound, alone.picture, empty.sound]), strict=True
    ):
        assert line.startswith(f"skipped {path}: ")
    page = Read(run / "listen" / "index.html")
    assert [clip is None for clip in page.clips("samples", 0, "sample")] == [True] * 4 + [False] * 2
    assert [clip is None for clip in page.clips("samples", 1, "sample")] == [False] * 4 + [True, False]


def test_bad_runs(tmp_path, capsys):
    run = make_run(tmp_path / "run", n_epochs=1)
    (tmp_path / "older" / "checkpoints").mkdir(parents=True)
    Clips(tmp_path / "started").write("real_0", music(100), RATE, jpeg(np.zeros((1, 1, 3), np.uint8)), None)
    other = tmp_path / "mine.html"
    other.write_text("<!doctype html><p>mine")
    broken = make_run(tmp_path / "broken", n_epochs=1)
    for path in broken.rglob("*.flac"):
        path.write_bytes(b"no sound")
    unreadable = make_run(tmp_path / "unreadable", n_epochs=1)
    (unreadable / "config.yaml").write_text("data: [")
    for arguments, message in (
        ([tmp_path / "none"], f"{tmp_path / 'none'}: no such run"),
        ([tmp_path / "older"], "--listen.n_kept 100"),
        ([tmp_path / "started"], "has not ended an epoch"),
        ([run, tmp_path / "none"], "no such run"),
        (
            [run, "--output", other],
            "mine.html is no page of gan listen, so it is left alone; give another --output, or",
        ),
        ([run, "--output", tmp_path], "is a folder, which no file can replace; name a file in it"),
        ([run, "--output", other / "page.html"], "mine.html is a file; name a folder"),
        ([run, "--max_mb", "0"], "max_mb is 0; it must be above 0, 50 is usual"),
        ([broken], "none of its clips can be read"),
        ([unreadable], "config.yaml: cannot be read as a run's configuration"),
    ):
        assert listen(*arguments) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
        assert said.out == ""
    assert other.read_text() == "<!doctype html><p>mine"
    assert not list(tmp_path.rglob("index.html"))


def test_names_are_no_markup(tmp_path):
    run = tmp_path / '<script>x"&'
    label = "</script><b>&'$title"
    for name in ("sample_0", f"sample_1_{label.replace('/', '')}"):
        write(run, name, (1, 10), seed=0)
    with SummaryWriter(str(run)) as writer:
        writer.add_scalar("metric/<i>&", 1.0, 10)
    assert listen(run) == 0
    page = Read(run / "listen" / "index.html")
    assert page.data["runs"][0]["name"] == '<script>x"&'
    assert page.data["samples"][1]["rows"][0]["panes"][0]["label"] == label.replace("/", "")
    assert not {"i"} & set(page.tags)
    assert page.text.count('<script>x"&') >= 2
    assert "<i>&" in page.text


def test_what_the_run_is(conditional):
    assert listen(conditional.folder) == 0
    text = Read(conditional.folder / "listen" / "index.html").text
    for part in (
        "64 x 64 (0.25 s at 8 kHz, n_fft 128, hop_length 32), 80 dB",
        "bell, low drum; the networks know them",
        "dcgan.Generator (latent_dim 128, base_channels 4",
        "losses.RelativisticPairing + penalties.R1R2 (weight 5",
        "2 epochs, 4 batches, batches of 4, seed 0",
        "2 epochs, from 1 to 2",
    ):
        assert part in text
    # Of a page that is passed on.
    assert str(Path.cwd()) not in text
    assert "loss/penalty" in text
    page = Read(conditional.folder / "listen" / "index.html")
    assert page.data["samples"][0]["rows"][0]["panes"][0]["label"] == "bell"
    # The checkpoint is not needed.
    checkpoint = conditional.newest_checkpoint()
    content = checkpoint.read_bytes()
    try:
        checkpoint.write_bytes(content[:1000])
        assert listen(conditional.folder) == 0
    finally:
        checkpoint.write_bytes(content)
    assert "none that can be read" in Read(conditional.folder / "listen" / "index.html").text


def test_curves_are_tensorboards(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(1, 101):
            writer.add_scalar("loss/generator", 0.5 * step, step)
        writer.add_audio("audio/sample_0", np.zeros(20000, np.float32), 100, sample_rate=8000)
        writer.add_text("watchdog", "x" * 9000, 100)
        writer.add_scalar("loss/generator", math.nan, 101)
        writer.add_scalar("metric/x", 3.0, 100)
    curves = read_curves(Run(tmp_path))
    assert curves == {"loss/generator": {step: 0.5 * step for step in range(1, 101)}, "metric/x": {100: 3.0}}
    # Resumed at batch 60: what came after it is gone, also what has not been trained again yet.
    begun = int(time.time())
    while int(time.time()) == begun:  # by which files are ordered
        time.sleep(0.02)
    with SummaryWriter(str(tmp_path), filename_suffix=".later") as writer:
        for step in range(61, 71):
            writer.add_scalar("loss/generator", -1.0, step)
    curves = read_curves(Run(tmp_path))
    assert max(curves["loss/generator"]) == 70
    assert curves["loss/generator"][60] == 30.0
    assert curves["loss/generator"][61] == -1.0
    assert "metric/x" not in curves
    # A training is writing at it.
    last = max(tmp_path.glob("events*"))
    content = last.read_bytes()
    for cut in (1, 5, 20, 30):
        last.write_bytes(content[:-cut])
        assert max(read_curves(Run(tmp_path))["loss/generator"]) == 69
    last.write_bytes(content + struct.pack("<QI", 12, 0) + b"\xff" * 16)
    assert max(read_curves(Run(tmp_path))["loss/generator"]) == 70


def test_axes_are_logarithmic_where_values_are_far_apart():
    linear = Axis([1.0, 10.0], 0, 90)
    assert not linear.log
    assert linear.place(5.5) == pytest.approx(45)
    log = Axis([1.0, 1000.0], 0, 90)
    assert log.log
    assert log.place(10.0) == pytest.approx(30)
    assert log.ticks == [1.0, 10.0, 100.0, 1000.0]
    assert not Axis([-1.0, 1000.0], 0, 1).log
    assert not Axis([0.0, 1000.0], 0, 1).log
    for value in (0.0, 5.0, -2.0):
        assert Axis([value], 0, 90).place(value) == pytest.approx(45)


def test_charts(tmp_path):
    curves = {
        "metric/kernel_mel_n9": {10: 4.0, 20: 1.0},
        "metric/kernel_mel_n9_deviation": {10: 0.5, 20: 0.25},
        "loss/discriminator": dict.fromkeys(range(1, 1001), 1.0),
        "loss/generator": {step: float(step) for step in range(1, 1001)},
        "hp_metric": {0: -1.0},
    }
    charts = draw_charts(["run"], [curves], 1000)
    assert charts.batches == (0, 1000)
    assert re.findall("<b>(.*?)</b>", charts.html) == ["loss", "kernel_mel_n9"]
    loss, kernel = charts.lines
    # Means of neighbours, none left out.
    assert len(loss[0]["points"]) == 240
    for batch, value in loss[0]["points"]:
        assert value == pytest.approx(batch, abs=0.6)
    assert kernel == [{"run": 0, "points": [[10, 4.0], [20, 1.0]], "deviations": [0.5, 0.25]}]
    assert 'aria-label="loss: generator ends at 998; discriminator ends at 1"' in charts.html
    # Of several runs, those that have it.
    both = draw_charts(["a", "b"], [curves, {"loss/generator": {1: 2.0}}], 1000)
    assert [line["run"] for line in both.lines[0]] == [0, 0, 1]
    assert [line["run"] for line in both.lines[1]] == [0]
    assert draw_charts(["run"], [{}], 10) == ("", [], (0, 10))


def test_what_is_read_of_a_clip(tmp_path):
    run = make_run(tmp_path / "run", n_epochs=1)
    sound = Sound.of(Clips(run).moments()[0].clips["sample_0"])
    assert (sound.seconds, sound.sample_rate) == (N_SAMPLES / RATE, RATE)
    assert len(sound.outline) == 200
    assert -40 < sound.loudness < -5


def test_a_header_that_claims_much_fills_no_memory(tmp_path):
    run = make_run(tmp_path / "run", n_epochs=1)
    clip = Clips(run).moments()[0].clips["sample_0"]
    clip.sound.write_bytes(with_flac_length(clip.sound.read_bytes(), 2**36 - 1))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"sample_0\.flac: (truncated|cannot be read as sound)"):
        Sound.of(clip)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_rate_that_is_nobodys(tmp_path):
    """At 1 Hz the loudness's filter runs away."""
    assert loudness(music(2000), 1) == -math.inf or math.isfinite(loudness(music(2000), 1))
