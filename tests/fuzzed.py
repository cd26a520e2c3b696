"""What `tests/fuzz.py` damages: a class for each kind of file, which makes good ones, damages them, and reads them."""

import contextlib
import io
import json
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import PIL.Image
import soundfile
import torch
import yaml
from conftest import SMALL, SMALL_RUN, _write_image, music
from heard import make_run
from mutations import changed, changed_text, mutated, seeds, with_header
from tensorboard.compat.proto.event_pb2 import Event
from test_blind import KEY, answer

import train
from gan.commands.blind import score
from gan.commands.listen import listen
from gan.data.opening import open_store
from gan.errors import InputError
from gan.evaluate.latents import Latent
from gan.exported import Exported
from gan.info.place import describe
from gan.listen.page import write_page
from gan.run import checkpoints_of, newest_run
from gan.sound.codec import Origin, encode_image
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.reader import peak_bytes, read_figure
from gan.sound.phase.steps import PhaseSteps
from gan.sound.picture import read_picture
from gan.sound.recording import read_excerpt, windows
from gan.sound.spectrogram import magnitude_from_waveform
from gan.trained import load_run, open_data, untrained
from gan.training import run_training

Draw = random.Random


class Kind:
    """A kind of file.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        """Write a damaged file; returns what is to be done with it, each of which may raise InputError."""
        raise NotImplementedError


class OneFile(Kind):
    """Files of which each is read by itself.

    Attributes:
        contents: Good ones by name.
    """

    contents: dict[str, bytes]

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        name = draw.choice(list(self.contents))
        path = self.folder / f"damaged-{name}"
        path.write_bytes(self.damaged(draw, self.contents[name]))
        return [lambda: self.read(path), lambda: describe(path)]

    def damaged(self, draw: Draw, content: bytes) -> bytes:
        return mutated(draw, content)

    def read(self, path: Path) -> None:
        raise NotImplementedError


class Image(OneFile):
    """Our own PNG."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        magnitude = magnitude_from_waveform(torch.from_numpy(music(32 * 40, 0, SMALL.sample_rate)), SMALL)
        for name, origin in (("told.png", Origin("a.wav", 0.0, 32 * 40, last=True)), ("alone.png", None)):
            encode_image(folder / name, magnitude, SMALL, origin, "Some words.")
        self.contents = {name: (folder / name).read_bytes() for name in ("told.png", "alone.png")}

    def damaged(self, draw: Draw, content: bytes) -> bytes:
        if draw.random() < 0.5:
            return mutated(draw, content)
        return with_header(draw, content, b"iTXt", b"spectrogram\0\0\0\0\0")

    def read(self, path: Path) -> None:
        picture = read_picture(path, FigureOptions())
        assert picture.magnitude.isfinite().all()
        assert picture.n_samples > 0


class Figure(OneFile):
    """Pictures that others drew, and arrays."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.contents = seeds(folder)

    def read(self, path: Path) -> None:
        peak_bytes(path)
        # Options make the reader go further where it finds little.
        figure = read_figure(path, FigureOptions(n_fft=64, seconds=0.1))
        codes, _ = figure.codes()
        assert np.isfinite(figure.relative_db).all()
        assert codes.size


class Sound(OneFile):
    """Recordings."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.contents = {}
        for suffix, subtype in (
            ("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III"),
            ("aiff", "PCM_24"), ("opus", "OPUS"),
        ):  # fmt: skip
            path = folder / f"{subtype.lower()}.{suffix}"
            container = "OGG" if suffix == "opus" else None
            soundfile.write(
                path, np.stack([music(9000, n, 24000) for n in (0, 1)], 1), 24000, subtype, format=container
            )
            self.contents[path.name] = path.read_bytes()

    def read(self, path: Path) -> None:
        read_excerpt(path, 8000, 0.1, 2000)
        # What a header says may be days of silence.
        for window in islice(windows(path, 8000, 2000, 1500), 10_000):
            assert np.isfinite(window.waveform).all()


class _OfRun(Kind):
    """What needs a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for index in range(6):
            _write_image(folder / "images" / ("bell", "drum")[index % 2] / f"{index}.png", seed=index)
        options = ["--listen.n_samples=1", "--listen.n_references=1", "--trainer.max_epochs=1", "--data.labels=folder"]
        options += [f"--data.images={folder / 'images'}", f"--trainer.default_root_dir={folder / 'runs'}"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert run_training(train.GANCLI, [*SMALL_RUN, *options, "--data.conditional=true"]) == 0
        self.run = newest_run(folder / "runs")
        self.good = self.run.newest_checkpoint()


class Checkpoint(_OfRun):
    """Checkpoints, and the config.yaml beside them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.state = torch.load(self.good, weights_only=True)
        # Without what no command reads: half of the file.
        self.state = {name: value for name, value in self.state.items() if name not in ("optimizer_states", "loops")}
        self.config = self.run.config.read_text()
        self.content = self.good.read_bytes()

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        config, content = self.config, self.content
        kind = draw.random()
        if kind < 0.3:
            content = mutated(draw, content)
        elif kind < 0.4:
            content = _packed(content, draw)
        elif kind < 0.7:
            file = io.BytesIO()
            torch.save(changed(draw, self.state), file)
            content = file.getvalue()
        else:
            config = changed_text(draw, config, yaml.safe_load, yaml.safe_dump)
        self.run.config.write_text(config)
        self.good.write_bytes(content)
        path = draw.choice((self.run.folder, self.good))

        def load() -> None:
            run, checkpoints = checkpoints_of(path)
            load_run(run, next(iter(checkpoints.values())))

        return [
            load,
            lambda: untrained(self.run, self.good),
            lambda: open_data(self.run, self.good),
            lambda: describe(path),
        ]


def _packed(content: bytes, draw: Draw) -> bytes:
    """The same archive with entries renamed, lost, doubled or compressed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    one = draw.randrange(len(entries))
    name, data = entries[one]
    other = [(name + "x", data), (f"../{name}", data), (name, b""), (name, mutated(draw, data)), (name, 2 * data)]
    entries[one] = draw.choice(other)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each in entries:
            archive.writestr(*each)
    return file.getvalue()


class Weights(_OfRun):
    """Exported generators, latents, and weights of the phase's network."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        trained = load_run(self.run)
        generator = trained.gan.ema
        Exported(generator, trained.network, trained.settings, trained.scale, trained.class_names, trained.about).save(
            folder / "generator.safetensors"
        )
        Latent(torch.randn(1, 128), "bell", "of a recording").save(folder / "latent.safetensors")
        PhaseSteps((8, 6)).save(folder / "phase.safetensors", {"licence": "MIT"})
        names = ("generator", "latent", "phase")
        self.contents = {name: (folder / f"{name}.safetensors").read_bytes() for name in names}

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        name = draw.choice(list(self.contents))
        content = self.contents[name]
        content = mutated(draw, content) if draw.random() < 0.4 else _other_metadata(draw, content)
        path = self.folder / f"damaged-{name}.safetensors"
        path.write_bytes(content)
        load: dict[str, Callable[[Path], object]] = {
            "generator": Exported.load,
            "latent": Latent.load,
            "phase": PhaseSteps.load,
        }
        return [lambda: load[name](path), lambda: describe(path)]


def _other_metadata(draw: Draw, content: bytes) -> bytes:
    """A safetensors file whose header says something else, in JSON that is whole."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    if draw.random() < 0.8:
        # Text in which there is JSON again.
        name = draw.choice(list(metadata))
        metadata[name] = changed_text(draw, metadata[name], json.loads, json.dumps)
    else:
        header = changed(draw, header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


class Store(Kind):
    """Stores: index, frames, and the journal of a build that was stopped."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = folder / "images" / ".store"
        for index in range(4):
            _write_image(folder / "images" / f"{index}.png", 40 + index, seed=index)
            if index > 1:
                # The last one in a file of frames of its own.
                open_store(folder / "images", self.store)
        self.files = {path.name: path.read_bytes() for path in self.store.iterdir() if path.name != "lock"}
        kind = json.loads(self.files["index.json"])["kind"]
        made = json.loads(self.files["index.json"])["made"]
        self.files["building.jsonl"] = "".join(
            json.dumps(line) + "\n" for line in ({"made": made}, {"kind": kind}, {"skipped": [["0.png", 1, 2], "bad"]})
        ).encode()

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        shutil.rmtree(self.store)
        self.store.mkdir()
        damaged = draw.choice(("index.json", "index.json", *self.files))
        for name, content in self.files.items():
            if name != damaged:
                (self.store / name).write_bytes(content)
            elif name == "index.json" and draw.random() < 0.7:
                text = changed_text(draw, content.decode(), json.loads, json.dumps)
                (self.store / name).write_text(text, encoding="utf-8")
            elif draw.random() < 0.9:
                (self.store / name).write_bytes(mutated(draw, content))

        def use() -> None:
            store = open_store(self.folder / "images", self.store)
            for index, image in enumerate(store.images):
                assert store.codes(index, 0, image.n_frames).shape == (image.n_frames, store.settings.n_freqs)
            if store.skipped:
                raise InputError(store.skipped[0])

        return [lambda: describe(self.store), lambda: describe(self.folder / "images"), use]


class ClipsFolder(Kind):
    """A run's clips, curves and configuration, as `gan listen` reads them, and folders of sounds beside pictures."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        make_run(folder / "good", n_epochs=2, neighbours=(1,))
        played = folder / "good" / "played"
        played.mkdir()
        shutil.copyfile(next((folder / "good").rglob("*.flac")), played / "sample_0.flac")
        _write_image(played / "sample_0.png")

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.folder / "good", run)
        files = sorted(path for path in run.rglob("*") if path.is_file())
        for path in draw.sample(files, draw.randrange(1, 4)):
            if draw.random() < 0.8:
                path.write_bytes(mutated(draw, path.read_bytes()))
            else:
                path.rename(path.with_name(draw.choice(_NAMES) + path.suffix))
        (run / "config.yaml").write_text(changed_text(draw, _CONFIG, yaml.safe_load, yaml.safe_dump))
        if draw.random() < 0.5:
            (run / "config.yaml").write_text(_CONFIG)
        (run / "events.out.tfevents.1").write_bytes(mutated(draw, struct.pack("<Q4x", 20) + b"\0" * 24))
        return [
            lambda: _said(listen([run], self.folder / "page.html", link=draw.random() < 0.3)),
            lambda: write_page(run / "played"),
            lambda: describe(run),
        ]


class Stranger(ClipsFolder):
    """Runs that are whole and want much: clips that unfold, other formats, huge numbers, aliases of aliases."""

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.folder / "good", run)
        for _ in range(draw.choice((1, 1, 2, 3))):
            sound = draw.choice(sorted(run.rglob("*.flac")))
            draw.choice((self.swell, self.swell, self.repaint, self.log))(draw, sound)
        (run / "config.yaml").write_text(strange_config(draw))
        return [
            lambda: _said(listen([run], self.folder / "page.html", link=draw.random() < 0.3)),
            lambda: write_page(run / "played"),
            lambda: describe(run),
        ]

    def swell(self, draw: Draw, sound: Path) -> None:
        """A sound of nothing, long, of many channels, of any rate or format."""
        container, channels, rate = draw.choice((("FLAC", 8, 655_350), ("FLAC", 8, 655_350), ("WAV", 300, 2**31 - 1)))
        n_channels = draw.choice((1, 1, 1, 2, channels))
        n_frames = int(10 ** draw.uniform(0, 7)) // n_channels
        rates = (1, 2, 8000, 48_000, rate)
        with soundfile.SoundFile(sound, "w", draw.choice(rates), n_channels, "PCM_16", format=container) as file:
            file.comment = draw.choice(
                ("a", f"made {'9' * 200}.00 dB quieter so that it does not clip", "<script>" * 500)
            )
            for block in range(0, min(n_frames, 2**24 if container == "FLAC" else 2**20), 2**18):
                file.write(np.zeros((min(2**18, n_frames - block), n_channels), np.int16))

    def repaint(self, draw: Draw, sound: Path) -> None:
        """A picture of another format than its name says, or of many pixels."""
        kind = draw.choice(("JPEG", "JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"))
        size = tuple(int(10 ** draw.uniform(0, 3.7 if kind in ("JPEG", "PNG") else 3)) for _ in range(2))
        mode = "1" if kind == "PNG" else draw.choice(("L", "RGB"))
        options = {"progressive": draw.random() < 0.3} if kind == "JPEG" else {}
        PIL.Image.new(mode, size).save(sound.with_suffix(".jpg"), kind, **options)

    def log(self, draw: Draw, sound: Path) -> None:
        """Curves of nobody's values, steps and tags."""
        tags = ("loss/generator", "metric/a", "metric/a_deviation", "</script>" * 99, *map(str, range(1000)))
        with (sound.parents[1] / "events.out.tfevents.1").open("wb") as file:
            for _ in range(draw.choice((1, 3, 30, 3000))):
                event = Event(step=draw.choice((0, 1, 5, -1, 2**62, 2**63 - 1, -(2**63))))
                value = event.summary.value.add(tag=draw.choice(tags))
                value.simple_value = draw.choice((0.0, 1.0, 3e38, -3e38, 1e-45, float("nan"), float("inf")))
                record = event.SerializeToString()
                file.write(struct.pack("<Q4x", len(record)) + record + bytes(4))


def strange_config(draw: Draw) -> str:
    """A configuration of which one to three values are huge, long, deep, or aliases that unfold to gigabytes."""
    few, merge = ("[{}]", "{{<<: [{}]}}") if draw.random() < 0.8 else ("{{x: [{}]}}", "[{}]")
    start = ["a0: &a0 {x: 1}" if merge.startswith("{{<") and draw.random() < 0.3 else "a0: &a0 [x, x, x]"]
    fold = merge if start[0].endswith("}") else few
    bomb = start + [f"a{n}: &a{n} " + fold.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 10)]
    values = (
        str(10**400), str(-(10**400)), "0x" + "f" * 9000, str(10**299), ".inf", "-.nan", "1.0e+400", "1:" * 300 + "1",
        "x" * 100_000, "x" * 1_000_000, "[" * 60 + "]" * 60, "*a9", "*a9", "{y: *a9}", "&s [*s]", "2020-01-01",
        "!!binary aaaa", "{" + ", ".join(f"k{n}: {n}" for n in range(2000)) + "}",
    )  # fmt: skip
    text = _CONFIG
    for _ in range(draw.randrange(1, 4)):
        line = draw.choice([line for line in text.splitlines() if not line.endswith(":")])
        text = text.replace(line, f"{line.partition(':')[0]}: {draw.choice(values)}", 1)
    return "\n".join([*bomb, text])


_NAMES = (
    "<script>alert(1)",
    "sample_",
    "sample_99999999999999999999_x",
    "real_0_neighbour",
    "a\nb",
    "\udcff",
    "x" * 200,
)
_CONFIG = yaml.safe_dump(
    {
        "seed_everything": 0,
        "data": {"images": "a/b/c", "batch_size": 4},
        "model": {
            "generator": {"class_path": "a.B", "init_args": {"x": 1, "y": "z"}},
            "discriminator": {"class_path": "a.C"},
            "loss": {"class_path": "a.L"},
        },
        "trainer": {"max_epochs": 3},
    }
)


class Answered(Kind):
    """Answers to a listening test, and its key."""

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        KEY.save(self.folder / "key.json")
        path = self.folder / "answers.json"
        path.write_text(json.dumps(answer("NK", 22)))
        damaged = draw.choice((path, path, self.folder / "key.json"))
        if draw.random() < 0.3:
            damaged.write_bytes(mutated(draw, damaged.read_bytes()))
        else:
            damaged.write_text(changed_text(draw, damaged.read_text(), json.loads, json.dumps))
        return [lambda: _said(score([path]))]


class Config(Kind):
    """Configurations of trainings, as far as everything is built."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for index in range(12):
            _write_image(folder / "images" / f"{index:02d}.png", 64, seed=index)
        configs = Path(train.__file__).parent / "configs"
        self.texts = [path.read_text() for path in sorted(configs.glob("*.yaml"))]

    def damage(self, draw: Draw) -> list[Callable[[], object]]:
        path = self.folder / "config.yaml"
        text = draw.choice(self.texts)
        if draw.random() < 0.3:
            path.write_bytes(mutated(draw, text.encode()))
        else:
            path.write_text(changed_text(draw, text, yaml.safe_load, yaml.safe_dump))
        root = self.folder / "runs"
        options = [f"--data.images={self.folder / 'images'}", f"--trainer.default_root_dir={root}"]
        return [lambda: _said(run_training(_Built, [*SMALL_RUN, *options, f"--config={path}"]))]


class _Built(train.GANCLI):
    """Does all but the training."""

    def train(self) -> None:
        self.datamodule.setup("fit")


def _said(exit_code: int) -> None:
    """A command has said in its own words what it does not like."""
    if exit_code:
        raise Refused


class Refused(InputError):  # noqa: N818 - it is what happened
    """By a command, which has printed why."""

    def __init__(self) -> None:
        super().__init__("")


KINDS: dict[str, type[Kind]] = {
    "png": Image,
    "figure": Figure,
    "sound": Sound,
    "checkpoint": Checkpoint,
    "safetensors": Weights,
    "store": Store,
    "clips": ClipsFolder,
    "stranger": Stranger,
    "answers": Answered,
    "config": Config,
}
