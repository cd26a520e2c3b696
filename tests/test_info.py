"""`gan info PATH`: the numbers of every kind, bad input in a line, and that it is quick."""

import errno
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import music
from drawing import full_bleed, levels
from PIL import Image
from safetensors.torch import save_file

from gan.commands.main import main
from gan.data.opening import open_store
from gan.evaluate.latents import Latent
from gan.run import newest_run
from gan.sound.codec import Origin, encode_image, read_header
from gan.sound.phase.steps import PhaseSteps
from gan.sound.settings import SpectrogramSettings
from gan.trained import load_run

ROOT = str(Path(__file__).parent.parent)
GRID = "8000 Hz, n_fft 128, hop 32, hann window, 120 dB in 16 bits"


@pytest.fixture
def info(capsys):
    """`info(*paths)`: the facts of the last path by name, lines of one fact joined by newlines; "" is the kind."""

    def run(*paths: Path | str) -> dict[str, str]:
        capsys.readouterr()
        assert main(["info", *map(str, paths)]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        first, *lines = said.out.split("\n\n")[-1].rstrip("\n").split("\n")
        facts = {"": first.removeprefix(f"{paths[-1]}: ")}
        name = ""
        for line in lines:
            begun, _, rest = line.partition(":  ") if not line.startswith("    ") else ("", "", line)
            name = begun.strip() or name
            facts[name] = f"{facts[name]}\n{rest.strip()}" if name in facts else rest.strip()
        return facts

    return run


@pytest.fixture
def refuse(capsys):
    """`refuse(path, *words)`: it is one line that has the words, and exit code 2."""

    def run(path: Path, *words: str) -> None:
        capsys.readouterr()
        assert main(["info", str(path)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("gan info: ")
        assert said.err.count("\n") == 1
        assert str(path) in said.err
        for word in words:
            assert word in said.err

    return run


def listing(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_an_image(info, write_image, tmp_path):
    path = tmp_path / "a.png"
    header = write_image(path, n_frames=300, recording="sounds/a.wav")
    facts = info(path)
    assert facts == {
        "": "spectrogram image",
        "grid": GRID,
        "size": f"65 frequencies x 300 frames, 1.20 s, {path.stat().st_size / 1000:.3g} kB",
        "level": f"white is {header.level_db:.1f} dB (a magnitude of 1: 0 dB)",
        "of": "sounds/a.wav (not there any more), 0.00 s to 1.20 s, where it ends",
        "next": f"gan decode {path}",
    }
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "a.wav").touch()
    assert info(path)["of"] == "sounds/a.wav, 0.00 s to 1.20 s, where it ends"
    settings = SpectrogramSettings(8000, 128, 32, 128)
    encode_image(tmp_path / "c.png", torch.zeros(65, 20), settings, Origin("sounds/a.wav", 1.5, 608, False, "left"))
    assert info(tmp_path / "c.png")["of"] == "sounds/a.wav, channel left, 1.50 s to 1.58 s"
    settings = SpectrogramSettings(16000, 512, 100, 400, "hamming", -90.0, 8)
    encode_image(tmp_path / "b.png", torch.zeros(257, 20), settings, description="run x, seed 3")
    facts = info(path, tmp_path / "b.png")
    assert facts["grid"] == "16000 Hz, n_fft 512, hop 100, hamming window of 400, 90 dB in 8 bits"
    assert facts["level"] == "all is silence"
    assert facts["about"] == "run x, seed 3"
    assert "of" not in facts
    assert read_header(tmp_path / "b.png").description == "run x, seed 3"


def test_a_figure_and_an_array(info, tmp_path):
    full_bleed(tmp_path / "figure.png", levels(n_fft=64, n_frames=60), (600, 330))
    facts = info(tmp_path / "figure.png")
    assert facts[""] == "figure of a spectrogram"
    assert facts["grid"].startswith("22050 Hz, n_fft 64, hop 16, hann window, ")
    assert facts["size"].startswith("33 frequencies x 60 frames, 0.04 s, ")
    assert "n_fft" in facts["read"]
    assert "no picture shows it; --sample_rate" in facts["read"]
    assert facts["next"] == f"gan decode {tmp_path / 'figure.png'} --report"
    np.save(tmp_path / "levels.npy", levels(n_fft=64, n_frames=60).astype(np.float32))
    facts = info(tmp_path / "levels.npy")
    assert facts[""] == "array of a spectrogram"
    assert facts["size"].startswith("33 frequencies x 60 frames, 0.04 s, ")


def test_images_with_and_without_a_store(info, write_image, tmp_path):
    images = tmp_path / "images"
    for index in range(9):
        write_image(images / ("bell", "drum", "drum")[index % 3] / f"{index}.png", n_frames=100, seed=index)
    size = sum(path.stat().st_size for path in images.rglob("*.png"))
    before = listing(tmp_path)
    facts = info(images)
    assert facts[""] == "folder of pictures"
    # 99 hops of 32 samples, nine times.
    assert facts["images"] == f"9 images, 900 frames, {9 * 99 * 32 / 8000:.2f} s, {size / 1000:.3g} kB"
    assert facts["grid"] == GRID
    assert facts["labels"] == "bell 3, drum 6; told with --data.labels folder"
    assert facts["store"] == f"none yet: gan ingest {images} builds it, or a training does"
    assert facts["next"] == f"python train.py --data.images {images}"
    assert listing(tmp_path) == before

    open_store(images, images / ".store")
    before = listing(tmp_path)
    facts = info(images)
    assert facts["images"] == f"9 images of 9 recordings, 900 frames, 3.60 s, {size / 1000:.3g} kB"
    assert facts["store"] == f"117 kB in {images / '.store'}, up to date"
    facts = info(images / ".store")
    assert facts[""] == "store of images, what a training reads"
    assert facts["images"] == "9 images of 9 recordings, 900 frames, 3.60 s"
    assert facts["size"] == "117 kB"
    assert facts["next"] == f"python train.py --data.images {images}"
    assert listing(tmp_path) == before
    write_image(images / "drum" / "new.png")
    assert info(images)["store"].endswith("of other files than these")


def test_a_folder_of_different_things(info, write_image, tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", seed=1)
    encode_image(tmp_path / "c.png", torch.ones(257, 20), SpectrogramSettings(16000, 512, 128, 512))
    full_bleed(tmp_path / "figure.png", levels(n_fft=64, n_frames=60), (600, 330))
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "d.png").write_bytes(content.replace(b'"format": 1', b'"format": 7'))
    soundfile.write(tmp_path / "e.wav", music(16000), 8000)
    for name in ("f.m4a", "g.svg", "h.txt"):
        (tmp_path / name).touch()
    facts = info(tmp_path)
    assert facts[""] == "folder of pictures and recordings"
    pictures, recordings = facts["unread"].split("\n")
    assert pictures.startswith("1 left out: .svg; convert them first: magick ")
    assert recordings.startswith("1 left out: .m4a; convert them first: ffmpeg -i ")
    assert facts["images"].startswith("3 images, 148 frames, ")
    assert facts["grid"].split("\n")[0] == f"{GRID} (2 of them)"
    assert facts["problem"] == "the images were made with different settings; keep one kind in the folder"
    assert facts["figures"].startswith("1 picture that others drew, ")
    assert facts["problems"].startswith("1 of 5 cannot be read; ")
    assert facts["recordings"].startswith("1 file, 2.00 s, ")


def test_a_folder_of_figures(info, tmp_path):
    for index in range(3):
        full_bleed(tmp_path / f"{index}.png", levels(n_fft=64, n_frames=60, seed=index), (600, 330))
    facts = info(tmp_path)
    assert facts["figures"].startswith("3 pictures that others drew, ")
    assert facts["one"].startswith("1.png: 22050 Hz, n_fft 64, hop 16, ")
    open_store(tmp_path, tmp_path / ".store")
    facts = info(tmp_path)
    assert facts["images"].startswith("3 images of 3 recordings, 180 frames, ")
    assert "n_fft" in facts["read"]


def test_recordings(info, tmp_path):
    soundfile.write(tmp_path / "a.wav", music(12000), 8000)
    soundfile.write(tmp_path / "b.wav", music(8000), 8000)
    soundfile.write(tmp_path / "c.flac", np.stack([music(66150)] * 2, 1), 22050)
    facts = info(tmp_path / "c.flac")
    assert facts[""] == "recording, FLAC PCM_16"
    assert facts["sound"] == "3.00 s, 22050 Hz, 2 channels"
    assert facts["next"] == f"gan encode {tmp_path / 'c.flac'} data/spectrograms"
    (tmp_path / "text.wav").write_text("Dear diary")
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    facts = info(tmp_path)
    assert facts[""] == "folder of recordings"
    # What cannot be read counts as one like the others.
    assert facts["recordings"] == f"4 files, {(1.5 + 1 + 3) / 1:.2f} s, {size / 1000:.3g} kB"
    assert facts["of"] == "2 WAV PCM_16, 8000 Hz, 1 channel\n1 FLAC PCM_16, 22050 Hz, 2 channels"
    assert facts["problems"].startswith(f"1 of 4 cannot be read; {tmp_path / 'text.wav'}: cannot be read as sound")


def test_many_files_are_sampled(info, write_image, tmp_path, monkeypatch):
    monkeypatch.setattr("gan.info.sample._MOST", 4)
    for index in range(10):
        write_image(tmp_path / f"{index}.png", n_frames=100, seed=index)
        soundfile.write(tmp_path / f"{index}.wav", music(4000), 8000)
    facts = info(tmp_path)
    assert facts["images"].startswith("about 10 images, about 1,000 frames, 3.96 s, ")
    assert facts["recordings"].startswith("10 files, about 5.00 s, ")


def test_a_run_and_its_checkpoints(info, conditional):
    before = listing(conditional.folder)
    facts = info(conditional.folder)
    assert facts[""] == "run of `python train.py`"
    assert facts["data"] == "images, 12 images of 12 recordings, 768 frames, 3.07 s"
    assert facts["grid"] == GRID
    assert facts["crops"] == "64 x 64 (0.26 s), 80 dB"
    assert facts["labels"] == "bell, low drum"
    gan = load_run(conditional).gan
    n_weights = [
        sum(weight.numel() for weight in network.parameters()) for network in (gan.generator, gan.discriminator)
    ]
    assert facts["networks"] == f"generator {n_weights[0]:,} weights, discriminator {n_weights[1]:,} weights"
    laps = torch.load(conditional.newest_checkpoint(), weights_only=True)["callbacks"]["Pace"]["laps"]
    assert len(laps) == 2
    assert facts["done"] == f"2 of 2 epochs, 4 batches, {sum(laps) / 2:.2f} s an epoch"
    state, resume = facts["state"].split("\n")
    assert state.startswith("ended 20")
    assert resume == f"go on: python train.py --resume {conditional.folder} --trainer.max_epochs 4"
    assert "best" not in facts
    page, tensorboard = facts["listen"].splitlines()
    assert page == f"gan listen {conditional.folder}"
    assert tensorboard.startswith(f"tensorboard --logdir {conditional.folder} --samples_per_plugin ")
    assert facts["next"] == f"gan sample {conditional.folder}\ngan evaluate {conditional.folder}"

    facts = info(conditional.newest_checkpoint())
    assert facts[""] == "checkpoint"
    assert facts["run"] == str(conditional.folder)
    assert facts["after"] == "epoch 2, batch 4"
    assert facts["next"].startswith(f"gan sample {conditional.newest_checkpoint()}\n")
    facts = info(conditional.folder.parent)
    assert facts[""] == "folder of 1 run"
    assert facts[conditional.folder.name] == "epoch_0001.ckpt"
    assert listing(conditional.folder) == before


def test_the_best_epoch_and_what_the_watchdog_said(info, conditional, tmp_path):
    copy = shutil.copytree(conditional.folder, tmp_path / "copy")
    state = torch.load(conditional.newest_checkpoint(), weights_only=True)
    state["callbacks"]["Evaluate"]["best"] = {"frechet_mel_n65": 48.25}
    state["callbacks"]["Watchdog"]["open"] = {"silence": "8 of 8 samples are silent; try: something"}
    state["epoch"], state["batches_seen"], state["callbacks"]["Pace"]["seconds"] = 2, 6, 40.0
    torch.save(state, copy / "checkpoints" / "best.ckpt")
    state["epoch"], state["batches_seen"] = 3, 8
    torch.save(state, copy / "checkpoints" / "epoch_0003.ckpt")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("max_epochs: 2", "max_epochs: 10"))
    facts = info(copy)
    assert facts["best"] == "frechet_mel_n65 48.25 at epoch 3, best.ckpt"
    assert facts["watchdog"] == "silence: 8 of 8 samples are silent; try: something"
    assert facts["done"] == "4 of 10 epochs, 8 batches, 40.00 s an epoch"
    state_line, resume = facts["state"].split("\n")
    assert state_line.startswith("runs or was stopped, last checkpoint 20")
    assert state_line.endswith(", 4.0 min to go")
    assert resume == f"go on: python train.py --resume {copy}"
    # Away from its run.
    alone = tmp_path / "alone" / "alone.ckpt"
    alone.parent.mkdir()
    shutil.copy(copy / "checkpoints" / "best.ckpt", alone)
    facts = info(alone)
    assert facts["run"].startswith("not in a run's folder")
    assert facts["best"] == "frechet_mel_n65 48.25, the least until then"
    assert "next" not in facts
    # And before there is any.
    shutil.rmtree(copy / "checkpoints")
    assert info(copy)["state"].startswith("stopped before its first epoch ended")


def test_a_run_of_the_phase(info, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    Path("recordings").mkdir()
    for number in range(3):
        soundfile.write(f"recordings/{number}.wav", music(12000, number), 16000)
    options = ["--data.batches_per_epoch=4", "--data.batch_size=64", "--data.n_ffts=[256]", "--model.hidden=[8]"]
    options += ["--trainer.accelerator=cpu", "--listen.every_n_epochs=1", "--trainer.max_epochs=2"]
    assert main(["train-phase", "recordings", *options]) == 0
    run = newest_run(Path("runs/phase"))
    facts = info(run.folder)
    assert facts[""] == "run of `gan train-phase`"
    assert facts["data"] == "recordings\n3 recordings"
    assert facts["network"] == "692 weights"
    assert facts["done"].startswith("2 of 2 epochs, 8 batches, ")
    assert facts["next"] == (
        f"gan decode PICTURES --phase DeepGriffinLim --phase.weights {run.folder}/phase_steps.safetensors"
    )
    assert info(run.newest_checkpoint())["after"] == "epoch 2, batch 8"
    facts = info(run.folder / "phase_steps.safetensors")
    assert facts[""] == "weights of `gan train-phase`"
    assert facts["network"] == "692 weights, 8 hidden units"
    assert facts["about"] == "recordings: recordings\nsteps: 8"


def test_what_is_exported_plays(info, conditional, tmp_path):
    path = tmp_path / "drums.safetensors"
    assert main(["export", str(conditional.folder), str(path)]) == 0
    facts = info(path)
    assert facts[""] == "generator of `gan export`"
    assert facts["about"] == f"run {conditional.folder.name}, checkpoint epoch_0001.ckpt, batch 4"
    n_weights = sum(weight.numel() for weight in load_run(conditional).gan.generator.parameters())
    assert facts["network"] == f"gan.model.dcgan.Generator, {n_weights:,} weights"
    assert facts["images"] == "64 x 64 (0.26 s), 80 dB"
    assert facts["labels"] == "bell, low drum"
    python, *rest = shlex.split(facts["next"])
    assert python == "python"
    subprocess.run([sys.executable, *rest], cwd=tmp_path, check=True, env={"PYTHONPATH": ROOT})
    waveform, rate = soundfile.read(tmp_path / "new.wav")
    assert (rate, len(waveform)) == (8000, 63 * 32)


def test_latents_and_weights(info, conditional, tmp_path):
    path = tmp_path / "a.latent.safetensors"
    Latent(torch.randn(1, 128), "low drum", "run x, nearest to a.wav").save(path)
    facts = info(path)
    assert facts[""] == "latent of `gan invert`"
    assert facts["about"] == "run x, nearest to a.wav"
    assert facts["length"] == "128 numbers"
    assert facts["label"] == "low drum"
    assert facts["next"] == f"gan sample RUN --latent {path}"
    inside = conditional.folder / "inverted" / "a.latent.safetensors"
    Latent(torch.randn(1, 128), None, "x").save(inside)
    facts = info(inside)
    assert facts["next"] == f"gan sample {conditional.folder} --latent {inside}"
    assert "label" not in facts
    PhaseSteps((8, 6)).save(tmp_path / "phase.safetensors", {"licence": "MIT"})
    facts = info(tmp_path / "phase.safetensors")
    assert (
        facts["network"] == f"{sum(w.numel() for w in PhaseSteps((8, 6)).parameters())} weights, 8 and 6 hidden units"
    )
    assert facts["about"] == "licence: MIT"


def test_a_folder_that_cannot_be_listed(refuse, tmp_path, monkeypatch):
    def failing(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "scandir", failing)
    refuse(tmp_path, "cannot be listed (Permission denied); run again when it can be")


def test_damaged_and_unknown_files(refuse, write_image, tmp_path):
    refuse(tmp_path / "gone", "no such file or folder; give a picture")
    (tmp_path / "empty.png").touch()
    refuse(tmp_path / "empty.png", "the file is empty")
    (tmp_path / "notes.md").write_text("# Notes")
    refuse(tmp_path / "notes.md", "a file .md that begins with b'# Notes'")
    (tmp_path / "folder").mkdir()
    refuse(tmp_path / "folder", "a folder without pictures, recordings or a run's config.yaml")
    (tmp_path / "text.jpg").write_text("no picture")
    refuse(tmp_path / "text.jpg", "not a picture")
    write_image(tmp_path / "whole.png", n_frames=300)
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    refuse(tmp_path / "cut.png", "the image is damaged")
    damaged = bytearray(content)
    damaged[-200] ^= 0xFF
    (tmp_path / "bit.png").write_bytes(damaged)
    refuse(tmp_path / "bit.png", "the image is damaged")
    (tmp_path / "other.png").write_bytes(content.replace(b'"n_fft": 128', b'"n_fft": 256'))
    refuse(tmp_path / "other.png", "other.png")
    (tmp_path / ".store").mkdir()
    refuse(tmp_path / ".store", "cannot be read as a store of images", "`gan ingest` or a training builds it again")
    for index in ({"format": 2, "kind": []}, [], {"format": {"a": 1}}):
        (tmp_path / ".store" / "index.json").write_text(json.dumps(index))
        refuse(tmp_path / ".store", "cannot be read as a store of images")


def test_damaged_recordings(refuse, write_bad_recordings, tmp_path):
    messages = write_bad_recordings(tmp_path)
    # What stands in the middle of a sound is found when it is read.
    for name in messages.keys() - {"nan.wav", "inf.wav", "no_samples.wav"}:
        refuse(tmp_path / name)


def test_damaged_weights(refuse, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"no weights")
    refuse(path, "cannot be read as safetensors")
    # A header that claims more than there is.
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    refuse(path, "cannot be read as safetensors")
    save_file({"a": torch.zeros(1)}, path)
    refuse(path, "safetensors of no format that is named")
    save_file({"a": torch.zeros(1)}, path, {"format": "pt"})
    refuse(path, "safetensors of the format 'pt'")
    save_file({"a": torch.zeros(1)}, path, {"format": "generator 1"})
    refuse(path, "does not say what was expected (KeyError")
    save_file({"a": torch.zeros(1)}, path, {"format": "latent 1", "about": "x", "label": "null"})
    refuse(path, "does not say what was expected (KeyError")
    save_file({"a": torch.zeros(1)}, path, {"format": "phase steps 1", "about": "[]", "hidden": "[8]"})
    refuse(path, "does not say what was expected (AttributeError")
    save_file({"a": torch.zeros(1)}, path, {"format": "phase steps 1", "about": "[" * 100_000, "hidden": "[8]"})
    refuse(path, "does not say what was expected (RecursionError")


def test_damaged_runs(refuse, conditional, tmp_path):
    run = shutil.copytree(conditional.folder, tmp_path / "run")
    checkpoint, whole = run / "checkpoints" / "epoch_0001.ckpt", (run / "config.yaml").read_text()
    state = torch.load(checkpoint, weights_only=True)
    for name, wrong, words in (
        ("epoch", "three", "epoch is 'three', a whole number was expected"),
        ("epoch", float("inf"), "epoch is inf, a whole number was expected"),
        ("ImageData", state["ImageData"] | {"settings": 3}, "ImageData.settings is 3, a mapping was expected"),
        ("callbacks", 3, "does not say what was expected"),
    ):
        torch.save(state | {name: wrong}, checkpoint)
        refuse(run, words)
        refuse(checkpoint, words)
    torch.save({"state_dict": {}}, checkpoint)
    refuse(checkpoint, "a checkpoint, but of no GAN of this program")
    torch.save([1, 2], checkpoint)
    refuse(checkpoint, "a checkpoint, but of no GAN of this program")
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    refuse(run / "checkpoints" / "epoch_0001.ckpt", "cannot be read as a checkpoint")
    for config, words in (
        ("a: [", "cannot be read as a run's configuration"),
        ("just text", "no configuration of a run"),
        ("data: {}", "no configuration of a run"),
        ("[" * 100_000, "cannot be read as a run's configuration"),
        ("\0", "cannot be read as a run's configuration"),
        (whole.replace("images: images", "images: [a]"), "data.images is a list of 1, text or nothing was expected"),
        (whole.replace("seed_everything: 0", "seed_everything: x"), "seed_everything is 'x', a whole number"),
    ):
        (run / "config.yaml").write_text(config)
        capsys_path = run / "config.yaml"
        refuse(run, str(capsys_path), words)


def test_what_claims_to_be_large_is_not_unpacked(refuse, tmp_path):
    """A PNG of a few hundred bytes whose header says 60,000 x 60,000 pixels of 16 bits."""
    image = tmp_path / "whole.png"
    encode_image(image, torch.ones(65, 20), SpectrogramSettings(8000, 128, 32, 128))
    content = image.read_bytes()
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 16, 0, 0, 0, 0)
    claims = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    (tmp_path / "claims.png").write_bytes(claims)
    refuse(tmp_path / "claims.png", "60000 pixels high, but n_fft 128 makes 65")
    with Image.open(image) as whole:
        assert whole.size == (20, 65)


def test_some_of_several(write_image, tmp_path, capsys):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    assert main(["info", str(tmp_path / "a.png"), str(tmp_path / "gone"), str(tmp_path / "b.png")]) == 1
    said = capsys.readouterr()
    assert [line for line in said.out.split("\n") if not line.startswith("  ")] == [
        f"{tmp_path / 'a.png'}: spectrogram image",
        "",
        f"{tmp_path / 'b.png'}: spectrogram image",
        "",
    ]
    assert said.err.startswith(f"gan info: {tmp_path / 'gone'}: no such file")
    assert main(["info", str(tmp_path / "gone"), str(tmp_path / "lost")]) == 2


def test_little_is_imported(write_image, conditional, tmp_path):
    write_image(tmp_path / "images" / "a.png")
    soundfile.write(tmp_path / "a.wav", music(4000), 8000)
    script = (
        "import sys; from gan.commands.main import main\n"
        "code = main(['info', *sys.argv[2:]])\n"
        "heavy = {'torch', 'lightning', 'librosa', 'numba', 'matplotlib'} & set(sys.modules) - {sys.argv[1]}\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    for allowed, paths in (
        ("", (tmp_path / "images" / "a.png", tmp_path / "images", tmp_path / "a.wav")),
        ("torch", (conditional.folder, conditional.newest_checkpoint())),
    ):
        finished = subprocess.run(
            [sys.executable, "-c", script, allowed, *map(str, paths)],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": ROOT},
        )
        assert (finished.returncode, finished.stderr) == (0, ""), paths
