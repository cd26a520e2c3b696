"""Files of strangers: what they would have this program run, fetch, fill or show is not run, fetched, filled or shown.

Each payload leaves a file behind where it runs; that it would is checked, too.
"""

import asyncio
import io
import json
import os
import pickle
import resource
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from browser import chromium, find_browser
from conftest import SMALL, SMALL_RUN
from heard import make_run, write
from mutations import png_chunk
from PIL import Image
from test_sample import Players
from torch.utils.tensorboard import SummaryWriter

import train
from gan.commands.main import main
from gan.data.opening import open_store
from gan.data.store import INDEX
from gan.errors import InputError
from gan.evaluate.latents import Latent
from gan.listen.page import write_page
from gan.run import Run
from gan.saved import load_checkpoint
from gan.sound.codec import Origin, encode_image
from gan.training import run_training


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def bait(tmp_path) -> Path:
    """The file that is not to be there afterwards."""
    return tmp_path / "bait"


@pytest.fixture
def copied(conditional, tmp_path) -> Run:
    """A run that may be changed."""
    return Run(shutil.copytree(conditional.folder, tmp_path / "run"))


@pytest.fixture
def refused(capsys):
    """`refused(*arguments)`: a command refuses, or skips, in lines of its own; gives them."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) in (1, 2)
        said = capsys.readouterr().err
        assert said
        assert all(line.startswith(("gan ", "skipped ", "1 ")) for line in said.splitlines()), said
        return said

    return run


def trained(*arguments: object) -> int:
    """Exit code of train.py."""
    try:
        return run_training(train.GANCLI, [*SMALL_RUN, *map(str, arguments)])
    except SystemExit as error:
        return error.code


class TestNothingRuns:
    def test_what_a_checkpoint_pickles(self, copied, bait, refused, capsys):
        state = torch.load(copied.newest_checkpoint(), weights_only=True)
        # A training would go on from the one before.
        checkpoint, *older = copied.whole_epochs()
        for path in older:
            path.unlink()
        for content in (state | {"more": Payload(bait)}, state | {"ImageData": Payload(bait)}, Payload(bait)):
            torch.save(content, checkpoint)
            for verb in ("info", "sample", "evaluate", "directions", "interpolate"):
                assert "more than numbers and plain data" in refused(verb, checkpoint)
            for arguments in (
                ("export", checkpoint, bait.with_suffix(".safetensors")),
                ("blind", copied.folder, "--real"),
            ):
                assert "more than numbers and plain data" in refused(*arguments)
            # A page needs no checkpoint, and is made without what only that knows.
            assert main(["listen", str(copied.folder)]) == 0
            assert trained("--resume", copied.folder) == 2
            # Torch's own words are about how to have it run.
            assert "weights_only" not in capsys.readouterr().err
        checkpoint.write_bytes(pickle.dumps(Payload(bait)))
        refused("info", checkpoint)
        assert not bait.exists()
        pickle.loads(checkpoint.read_bytes())
        assert bait.exists()

    def test_what_a_safetensors_or_npy_file_pickles(self, copied, bait, refused):
        for name in ("a.safetensors", "a.npy", "a.png", "a.wav", "a.ckpt"):
            path = bait.with_name(name)
            path.write_bytes(pickle.dumps(Payload(bait)))
            refused("info", path)
        np.save(bait.with_name("objects.npy"), np.array([[Payload(bait)] * 65] * 4, object), allow_pickle=True)
        for verb in ("info", "decode"):
            refused(verb, bait.with_name("objects.npy"))
        assert not bait.exists()
        np.load(bait.with_name("objects.npy"), allow_pickle=True)
        assert bait.exists()

    def test_tags_in_a_configuration(self, copied, bait, refused, capsys):
        tag = f"!!python/object/apply:os.mkdir ['{bait}']"
        whole = copied.config.read_text()
        for text in (f"{whole}\nmore: {tag}\n", whole.replace("seed_everything: 0", f"seed_everything: {tag}"), tag):
            copied.config.write_text(text)
            for verb in ("info", "listen", "sample", "evaluate"):
                assert "cannot be read as a run's configuration (could not determine a constructor" in refused(
                    verb, copied.folder
                )
            assert trained("--resume", copied.folder) == 2
            given = bait.with_name("given.yaml")
            given.write_text(f"data: {tag}")
            assert trained("--config", given) == 2
            assert "given.yaml: cannot be read as a configuration" in capsys.readouterr().err
            assert trained("--config", f"data: {tag}") == 2
            assert trained(f"--data.labels={tag}", "--data.images=images") == 2
        assert not bait.exists()
        yaml.unsafe_load(tag)
        assert bait.exists()

    def test_a_class_that_a_run_names(self, copied, bait, monkeypatch):
        """Who only looks at a run, or at what it sounded like, does not import what its config.yaml names."""
        (bait.with_name("strange_networks.py")).write_text(f"import pathlib\npathlib.Path({str(bait)!r}).touch()\n")
        monkeypatch.syspath_prepend(bait.parent)
        config = yaml.safe_load(copied.config.read_text())
        for part in ("generator", "discriminator", "loss", "penalty", "augment", "lr_scheduler"):
            config["model"][part] = {"class_path": "strange_networks.Network", "init_args": {}}
        config["listen"]["phase"] = {"class_path": "strange_networks.Phase"}
        copied.config.write_text(yaml.safe_dump(config))
        for path in (copied.folder, copied.newest_checkpoint(), copied.folder.parent):
            assert main(["info", str(path)]) == 0
        assert main(["listen", str(copied.folder)]) == 0
        assert not bait.exists()
        # The networks are made of it, as the README says.
        assert main(["sample", str(copied.folder)]) == 2
        assert bait.exists()


class TestNothingIsFetched:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch):
        asked: list[object] = []

        def refuse(*arguments: object, **_: object) -> None:
            asked.append(arguments)
            raise OSError("no network in this test")

        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, refuse)
        for name in ("getaddrinfo", "gethostbyname", "create_connection"):
            monkeypatch.setattr(socket, name, refuse)
        yield
        assert not asked

    @pytest.mark.parametrize("address", ["https://example.org/a{}", "s3://bucket/a{}", "file:///tmp/a{}", "//host/a{}"])
    def test_an_address_is_no_path(self, address, in_folder_of_runs, refused, capsys):
        run, checkpoint, image, sound = (address.format(suffix) for suffix in ("", ".ckpt", ".png", ".wav"))
        for path in (run, checkpoint, image, sound, address.format(".safetensors"), address.format(".npy")):
            refused("info", path)
        for verb in ("sample", "evaluate", "directions", "interpolate", "listen"):
            refused(verb, run)
            refused(verb, checkpoint)
        refused("export", checkpoint, "out.safetensors")
        refused("blind", checkpoint, "--real")
        refused("blind", "--score", address.format(".json"))
        refused("decode", image)
        refused("ingest", run)
        refused("encode", sound, "out")
        config = address.format(".yaml")
        for arguments in (("--resume", run), (f"--data.images={run}",), ("--config", config), (f"--data={config}",)):
            assert trained(*arguments) == 2
        assert "nothing to resume" in capsys.readouterr().err


class TestNothingIsFilled:
    def claims(self, path: Path, content: bytes, size: int) -> None:
        """An archive whose directory says that its first entry is so large."""
        place = content.index(b"PK\1\2") + 20
        path.write_bytes(content[:place] + struct.pack("<II", size, size) + content[place + 8 :])

    def test_an_archive_that_claims_much(self, copied, refused):
        checkpoint = copied.newest_checkpoint()
        whole = checkpoint.read_bytes()
        for size in (2**31, 2**32 - 2):
            self.claims(checkpoint, whole, size)
            for verb in ("info", "sample"):
                assert "cannot be read as a checkpoint" in refused(verb, checkpoint)

    def test_a_tensor_that_claims_much(self, bait):
        """A view of a few numbers that says it has a thousand million is what it is: nobody copies it."""
        path = bait.with_suffix(".ckpt")
        torch.save({"a": torch.zeros(1).expand(2**40)}, path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert load_checkpoint(path)["a"].shape == (2**40,)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000

    def test_entries_that_lie_outside(self, copied, bait):
        checkpoint = copied.newest_checkpoint()
        with zipfile.ZipFile(io.BytesIO(checkpoint.read_bytes())) as archive:
            entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        with zipfile.ZipFile(checkpoint, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
            archive.writestr(f"../{bait.name}", b"written")
            archive.writestr(str(bait), b"written")
        with pytest.raises(InputError, match="cannot be read as a checkpoint"):
            load_checkpoint(checkpoint)
        assert not bait.exists()
        assert not (checkpoint.parent.parent / bait.name).exists()

    @pytest.mark.timeout(120)
    def test_weights_of_a_network_that_is_too_large_for_any_machine(self, conditional, bait, tmp_path):
        """What the file's text asks for is compared with its weights before there is memory for it."""
        from safetensors import safe_open
        from safetensors.torch import save_file

        from gan.exported import Exported
        from gan.sound.phase.steps import PhaseSteps

        exported, phase = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
        assert main(["export", str(conditional.folder), str(exported)]) == 0
        PhaseSteps((8, 6)).save(phase, {})
        for path in (exported, phase):
            with safe_open(path, "pt") as opened:
                weights, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118
            if path == phase:
                metadata["hidden"] = "[3000000, 300000]"
            else:
                network = json.loads(metadata["network"])
                network["init_args"] |= {"base_channels": 100_000, "max_channels": 1_000_000}
                metadata["network"] = json.dumps(network)
            save_file(weights, path, metadata)
        code = "import sys, resource\nfrom pathlib import Path\nfrom gan.errors import InputError\n"
        for path, kind in ((exported, Exported), (phase, PhaseSteps)):
            code += f"from {kind.__module__} import {kind.__name__}\n"
            code += f"try: {kind.__name__}.load(Path({str(path)!r}))\nexcept InputError as error: print(error)\n"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000)\n"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(Path(train.__file__).parent), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        *lines, megabytes = done.stdout.splitlines()
        assert len(lines) == 2
        assert all("size mismatch" in line for line in lines)
        # A process begins with the peak of the one that started it.
        assert int(megabytes) < 4000

    def test_yaml_that_unfolds(self, copied, refused):
        """Nine lists of nine, nine deep: a few hundred bytes that are gigabytes of text."""
        bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
        config = yaml.safe_load(copied.config.read_text())
        for part, name in (("data", "images"), ("model", "generator"), ("trainer", "max_epochs"), ("model", "loss")):
            text = yaml.safe_dump(config | {part: config[part] | {name: "BOMB"}}).replace("BOMB", "*a9")
            copied.config.write_text("\n".join([*bomb, text]))
            if part == "model":
                assert main(["info", str(copied.folder)]) == 0
                assert main(["listen", str(copied.folder)]) == 0
            else:
                assert "is a list of 9" in refused("info", copied.folder)

    def test_yaml_that_unfolds_where_it_is_shown(self, copied, refused, capsys):
        bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
        whole = copied.config.read_text()
        for before, after in (
            ("class_path: gan.model.dcgan.Generator", "class_path: *a9"),
            ("batch_size: 4", "batch_size: *a9"),
        ):
            assert before in whole
            copied.config.write_text("\n".join([*bomb, whole.replace(before, after)]))
            assert main(["info", str(copied.folder)]) == 0
            assert main(["listen", str(copied.folder)]) == 0
            assert "a list of 9" in (copied.folder / "listen" / "index.html").read_text()
            assert trained("--resume", copied.folder) == 2
            assert "its aliases unfold to more than 100000 values" in capsys.readouterr().err
            if after.startswith("class_path"):
                assert "its aliases unfold to more than 100000 values" in refused("sample", copied.folder)
        # Merge keys multiply while the text is read.
        merge = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 10))]
        copied.config.write_text("\n".join([*merge, whole]))
        for verb in ("info", "listen", "sample"):
            assert "its merge keys unfold to too many keys" in refused(verb, copied.folder)

    def test_numbers_and_texts_that_no_page_has_room_for(self, copied):
        config = yaml.safe_load(copied.config.read_text())
        config["model"]["generator"]["init_args"] = {"base_channels": 10**400, "y": float("inf"), "z": 2}
        config["model"]["discriminator"] = {"class_path": "x" * 50_000}
        config["data"]["batch_size"] = 10**299
        copied.config.write_text(yaml.safe_dump(config))
        assert main(["info", str(copied.folder)]) == 0
        assert main(["listen", str(copied.folder)]) == 0
        page = (copied.folder / "listen" / "index.html").read_text()
        assert "base_channels a huge number, y inf, z 2" in page
        assert "batches of a huge number, seed 0" in page
        assert f"{'x' * 100}…" in page
        assert "x" * 101 not in page

    @pytest.mark.timeout(120)
    def test_clips_that_unfold(self, tmp_path):
        """A minute of memory: what a clip claims is compared with what any clip has before it is decoded."""
        run = make_run(tmp_path / "run", n_epochs=2)
        clips = sorted((run / "listen").glob("epoch_*/sample_*.flac"))
        assert len(clips) == 4
        with soundfile.SoundFile(clips[0], "w", 48_000, 1) as file:
            for _ in range(128):
                file.write(np.zeros(2**20, np.int16))
        assert clips[0].stat().st_size < 1_000_000
        soundfile.write(clips[1], np.zeros(100), 8000, format="WAV")
        pixels = zlib.compress(bytes(1 + 40_000 // 8) * 40_000)
        header = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
        png = b"".join(png_chunk(*each) for each in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")))
        clips[2].with_suffix(".jpg").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
        Image.new("L", (8000, 8000)).save(clips[3].with_suffix(".jpg"), "JPEG")
        code = (
            "import resource\nfrom gan.commands.main import main\nimport gan.listen.history_page, pyloudnorm, torch\n"
            "import matplotlib.ticker\nused = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000\n"
            f"before = used()\nprint(main(['listen', {str(run)!r}]), used() - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(Path(train.__file__).parent), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        exit_code, megabytes = map(int, done.stdout.splitlines()[-1].split())
        # Whole, sound and picture are 1,600 MB.
        assert megabytes < 100
        assert exit_code == 1
        said = done.stderr.splitlines()
        assert len(said) == 4
        for words in (
            "sample_0.flac: cannot be read as sound (it claims 1 x 134217728 samples at 48000 Hz, a clip has at most",
            "sample_1.flac: cannot be read as sound (it begins with b'RIFF', which is no .flac file)",
            "sample_0.jpg: cannot be read as a picture (not a JPEG file)",
            "sample_1.jpg: cannot be read as a picture (8000 x 8000 pixels, a clip's has at most 16777216)",
        ):
            assert sum(words in line for line in said) == 1
        # The references are on the page.
        assert (run / "listen" / "index.html").exists()

    def test_pipes_are_no_files(self, tmp_path, write_image, refused):
        write_image(tmp_path / "images" / "a.png")
        for name in ("pipe.png", "pipe.jpg", "pipe.npy"):
            os.mkfifo(tmp_path / "images" / name)
            refused("info", tmp_path / "images" / name)
            refused("decode", tmp_path / "images" / name)
        assert main(["ingest", str(tmp_path / "images")]) == 0
        os.mkfifo(tmp_path / "pipe.wav")
        refused("encode", tmp_path / "pipe.wav", tmp_path / "out")


class TestNothingOutside:
    def test_a_store_whose_frames_are_elsewhere(self, tmp_path, write_image, refused):
        images = tmp_path / "images"
        write_image(images / "a.png")
        store = open_store(images, images / ".store")
        index = json.loads((images / ".store" / INDEX).read_text())
        frames = images / ".store" / index["shards"][0]
        (tmp_path / "elsewhere").write_bytes(frames.read_bytes())
        # Also in the words of stores of before.
        before = index | {"format": 2, "looks": []}
        for name in ("../../elsewhere", str(tmp_path / "elsewhere"), "/dev/zero", "", ".", "lock"):
            for damaged in (index | {"shards": [name]}, before | {"frames": name}):
                (images / ".store" / INDEX).write_text(json.dumps(damaged))
                assert "cannot be read as a store of images" in refused("info", images / ".store")
                again = open_store(images, images / ".store")
                np.testing.assert_array_equal(again.codes(0, 0, 64), store.codes(0, 0, 64))
        assert (tmp_path / "elsewhere").exists()

    def test_an_image_whose_recording_is_elsewhere(self, tmp_path, capsys):
        """It is named, and nothing is read or written there."""
        secret = tmp_path / "secret"
        secret.write_text("secret")
        path = tmp_path / "images" / "a.png"
        encode_image(path, torch.ones(65, 20), SMALL, Origin("../secret", 0.0, 19 * 32, last=True))
        assert main(["info", str(path)]) == 0
        assert main(["decode", str(path.parent)]) == 0
        assert main(["ingest", str(path.parent)]) == 0
        assert secret.read_text() == "secret"
        assert sorted(each.name for each in tmp_path.iterdir()) == ["images", "secret"]
        assert "secret\n" not in capsys.readouterr().out

    def test_classes_that_are_paths(self, copied, tmp_path):
        """Names of classes become parts of names of files."""
        checkpoint = copied.newest_checkpoint()
        state = torch.load(checkpoint, weights_only=True)
        state["ImageData"]["class_names"] = ["../../outside", "/tmp/outside\n\x1b[2J"]
        torch.save(state, checkpoint)
        output = tmp_path / "in" / "out"
        assert main(["sample", str(checkpoint), "--n", "2", "--output", str(output)]) == 0
        assert main(["info", str(checkpoint)]) == 0
        assert not [path for path in tmp_path.rglob("*outside*") if path.parent != output]

    def test_what_a_terminal_obeys(self, copied, tmp_path, capsys):
        """Texts in files and names of files are shown as letters."""
        evil = "\x1b]0;title\x07\x1b[2J\r\u202e"
        config = yaml.safe_load(copied.config.read_text())
        config["data"]["images"] = evil
        copied.config.write_text(yaml.safe_dump(config))
        Latent(torch.zeros(1, 128), evil, evil).save(tmp_path / "a.safetensors")
        encode_image(tmp_path / "a.png", torch.ones(65, 20), SMALL, description=evil)
        soundfile.write(tmp_path / f"b{evil}.wav", np.zeros(10), 8000)
        (tmp_path / f"c{evil}.png").write_text("no picture")
        (tmp_path / os.fsdecode(b"\xff.png")).write_text("no picture")
        main(["info", *(str(path) for path in tmp_path.iterdir())])
        said = capsys.readouterr()
        assert evil[:5] not in said.out + said.err
        assert all(letter.isprintable() or letter == "\n" for letter in said.out + said.err)
        assert "\\x1b]0;title" in said.out
        assert "\\x1b]0;title" in said.err


MARKUP = "<img src=x onerror=hacked=1><script>hacked=1</script>\"'&"


@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium or Chrome on the PATH")
@pytest.mark.timeout(120)
def test_names_and_texts_run_nothing_in_a_browser(tmp_path, copied):
    name = MARKUP.replace("/", "")
    players = tmp_path / name / "players"
    for sound in (name, "javascript:hacked=1", "%22%3E"):
        (players).mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(players / f"{sound}.wav", "w", 8000, 1) as file:
            file.comment = MARKUP
            file.write(np.zeros(10))
        Image.new("L", (1, 1)).save(players / f"{sound}.png")
    write_page(players)
    run = make_run(tmp_path / name / f"run {name}", n_epochs=2)
    write(run, f"sample_7_{name}", (1, 10), seed=1)
    with SummaryWriter(str(run)) as writer:
        writer.add_scalar(f"metric/{MARKUP}", 1.0, 10)
        writer.add_scalar(MARKUP, 1.0, 10)
    config = yaml.safe_load(copied.config.read_text())
    config["data"]["images"] = config["data"]["batch_size"] = MARKUP
    config["model"]["loss"] = {"class_path": MARKUP, "init_args": {MARKUP: 1}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(copied.folder / "checkpoints", run / "checkpoints")
    checkpoint = Run(run).newest_checkpoint()
    state = torch.load(checkpoint, weights_only=True)
    state["ImageData"]["class_names"] = [MARKUP, "</script>"]
    torch.save(state, checkpoint)
    assert main(["listen", str(run)]) == 0
    assert main(["listen", str(run), "--link", "--output", str(run / "linked.html")]) == 0
    # A listening test tells its listeners neither runs nor labels.
    config["model"]["loss"] = yaml.safe_load(copied.config.read_text())["model"]["loss"]
    (run / "config.yaml").write_text(
        yaml.safe_dump(config | {"data": yaml.safe_load(copied.config.read_text())["data"]})
    )
    assert main(["blind", str(run), "--kinds", "quality", "--trials", "4", "--output", str(run / "blind")]) == 0
    pages = [players / "index.html", run / "listen" / "index.html", run / "linked.html", run / "blind" / "blind.html"]
    assert "hacked" not in pages[3].read_text()
    assert "script" not in Players(pages[0].read_text()).tags

    async def look() -> None:
        async with chromium(tmp_path / "browser") as page:
            for path in pages:
                await page.open(path.as_uri())
                await page.wait_for("document.readyState === 'complete'")
                await asyncio.sleep(0.3)
                assert await page.evaluate("typeof hacked") == "undefined", path
                assert await page.evaluate("document.querySelectorAll('[onerror]').length") == 0, path
                assert await page.evaluate("document.body.innerText.includes('hacked')") == (path != pages[3]), path

    asyncio.run(look())
