"""What a user hears and sees of a training: the TensorBoard command that is printed, in a real browser."""

import asyncio
import io
import json
import os
import shlex
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
from browser import Page, chromium, serving
from conftest import SMALL
from PIL import Image

from gan.commands.main import main

TRAIN = Path(__file__).parent.parent / "train.py"
N_EPOCHS = 12  # more than the 10 sounds of a tag that TensorBoard keeps when it is not told to keep all
N_SAMPLES, N_FRAMES, BATCH_SIZE = 6, 64, 4
N_RECORDINGS, N_HELD_OUT, CROPS_A_RECORDING = 14, 1, 2
N_BATCHES = (N_RECORDINGS - N_HELD_OUT) * CROPS_A_RECORDING // BATCH_SIZE
ALL_STEPS = list(range(1, N_EPOCHS * N_BATCHES + 1))
EPOCH_STEPS = ALL_STEPS[N_BATCHES - 1 :: N_BATCHES]
SAMPLES = {f"sample_{index}" for index in range(N_SAMPLES)}
NEIGHBOURS = {f"{sample}_neighbour" for sample in SAMPLES}
SOUNDS = SAMPLES | NEIGHBOURS | {f"{sort}_{index}" for sort in ("real", "inverted") for index in range(N_SAMPLES)}
SCALARS = {"loss/generator", "loss/discriminator", "loss/penalty", "logits/real", "logits/fake"}
# Measured every five epochs, on all of the few training crops at once.
MEASURED_STEPS = EPOCH_STEPS[4::5]
N_TRAIN = (N_RECORDINGS - N_HELD_OUT) * CROPS_A_RECORDING
METRICS = {
    f"metric/{name}"
    for name in (
        f"frechet_mel_n{N_TRAIN}",
        f"kernel_mel_n{N_TRAIN}",
        f"kernel_mel_n{N_TRAIN}_deviation",
        f"density_mel_k5_n{N_TRAIN}",
        f"coverage_mel_k5_n{N_TRAIN}",
        f"precision_mel_k3_n{N_TRAIN}",
        f"recall_mel_k3_n{N_TRAIN}",
        f"different_bins_mel_k2_n{N_TRAIN}",
        "neighbour_mel_texture_0",
    )
}


def make_images(folder: Path) -> None:
    """Images of recordings with a low tone, so that one sees which side is up; the recordings stay beside them."""
    (folder / "recordings").mkdir()
    n_samples = CROPS_A_RECORDING * N_FRAMES * SMALL.hop_length
    time = np.arange(n_samples) / SMALL.sample_rate
    for index in range(N_RECORDINGS):
        noise = np.random.default_rng(index).standard_normal(n_samples)
        waveform = 0.2 * np.sin(2 * np.pi * (300 + 60 * index) * time) + 0.002 * noise
        soundfile.write(folder / "recordings" / f"{index:02}.wav", waveform, SMALL.sample_rate)
    grid = ["--sample_rate", SMALL.sample_rate, "--n_fft", SMALL.n_fft, "--hop_length", SMALL.hop_length]
    encode = ["encode", folder / "recordings", folder / "images", *grid, "--n_jobs", 1]
    assert main(list(map(str, encode))) == 0


def train(folder: Path) -> str:
    """Train for a few seconds; returns the command that train.py says to listen with."""
    options = {
        "data.images": "images",
        "data.n_frames": N_FRAMES,
        "data.batch_size": BATCH_SIZE,
        "model.generator.init_args.base_channels": 4,
        "model.discriminator.init_args.base_channels": 4,
        "listen.n_samples": N_SAMPLES,
        "listen.n_references": N_SAMPLES,
        "evaluate.every_n_epochs": 5,
        "trainer.max_epochs": N_EPOCHS,
        "trainer.log_every_n_steps": 1,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": "my runs",
    }
    finished = subprocess.run(
        [sys.executable, TRAIN, *(f"--{name}={value}" for name, value in options.items())],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return next(line.removeprefix("listen: ") for line in finished.stdout.splitlines() if line.startswith("listen: "))


def address_of(run: str, plugin: str, tag: str) -> str:
    """Where TensorBoard has what was logged under a tag."""
    return f"data/plugin/{plugin}/{plugin}?{urlencode({'run': run, 'tag': tag, 'sample': 0})}"


async def wait_for_run(page: Page) -> str:
    """Name of the one run, once TensorBoard has read it to its end."""
    run: str = await page.wait_for("fetch('data/runs').then(answer => answer.json()).then(runs => runs[0])")
    last = address_of(run, "images", f"image/sample_{N_SAMPLES - 1}")
    step = "async answer => answer.ok && (await answer.json()).at(-1).step"
    await page.wait_for(f"fetch('{last}').then({step}).then(step => step == {EPOCH_STEPS[-1]})")
    return run


async def points(page: Page, run: str, plugin: str, tag: str) -> list[Any]:
    """All that TensorBoard has of a tag."""
    answer: list[Any] = json.loads(await page.fetch(address_of(run, plugin, tag)))
    return answer


async def leaf_through(page: Page, card: str, content: str, shots: Path, group: str = "") -> set[str]:
    """Tags of all cards of a dashboard or of one group in it, page after page, each with what it is for in it."""
    tags: set[str] = set()
    cards = f"deep('{card}').map(card => card.tag).filter(tag => tag.startsWith('{group}')).sort()"
    filled = f"deep('{card}').every(card => deep('{content}', card.shadowRoot).length)"
    forward = "deep('paper-button').find(button => button.innerText.match(/next page/i) && !button.disabled)"
    seen = ""
    for number in count(1):
        await page.wait_for(f"!['', '{seen}'].includes({cards}.join()) && {filled}")
        seen = await page.evaluate(f"{cards}.join()")
        await page.screenshot(shots.with_name(f"{shots.name}_{number}.png"))
        assert not tags & set(seen.split(","))
        tags |= set(seen.split(","))
        if not await page.evaluate(f"Boolean({forward})"):
            break
        await page.evaluate(f"{forward}.click()")
    return tags


async def find_clip(page: Page, tag: str) -> None:
    """Let the audio tab show one tag before all others; its player is then `deep('audio')[0]`."""
    await page.evaluate(f"deep('.search-input')[0].value = '{tag}'")
    first = "deep('tf-audio-loader')[0]"
    await page.wait_for(f"{first}?.tag == '{tag}' && deep('audio', {first}.shadowRoot)[0]?.readyState > 0")


async def play(page: Page) -> None:
    """Play a clip to its end, and read what was played."""
    await page.evaluate("deep('audio')[0].play()")
    await page.wait_for("deep('audio')[0].currentTime > 0")
    await page.wait_for("deep('audio')[0].ended")
    attributes = ("duration", "currentTime", "error", "src")
    duration, end, error, url = [await page.evaluate(f"deep('audio')[0].{name}") for name in attributes]
    assert error is None
    with soundfile.SoundFile(io.BytesIO(await page.fetch(url))) as file:
        assert (file.format, file.samplerate, file.channels) == ("WAV", SMALL.sample_rate, 1)
        waveform = file.read()
    assert len(waveform) == SMALL.n_samples(N_FRAMES)
    assert duration == pytest.approx(len(waveform) / SMALL.sample_rate, abs=0.005)
    assert end == pytest.approx(duration, abs=0.005)
    assert 0.01 < np.abs(waveform).max() < 0.99


async def slide(page: Page) -> list[int]:
    """Steps that the slider of a clip goes through, each with a sound of its own."""
    steps, sounds = [], set()
    for place in range(await page.evaluate("deep('paper-slider')[0].max") + 1):
        await page.evaluate(f"deep('paper-slider')[0].value = {place}")
        steps.append(int(await page.evaluate("deep('tf-card-heading')[0].innerText.match(/step (\\d+)/)[1]")))
        sounds.add(await page.fetch(await page.evaluate("deep('audio')[0].src")))
    assert len(sounds) == len(steps)
    return steps


async def look_at_picture(page: Page, run: str, tag: str) -> None:
    """A picture is in colour and has its low tone at the bottom."""
    (point, *_) = await points(page, run, "images", tag)
    picture = Image.open(io.BytesIO(await page.fetch(f"data/plugin/images/individualImage?{point['query']}")))
    assert picture.size == (N_FRAMES, SMALL.n_freqs - 1)
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), float), -1, 0)
    assert green.mean(1).argmax() > 0.7 * picture.height
    assert np.abs(red - blue).max() > 50


async def look(address: str, profile: Path, shots: Path) -> None:
    """All that is to be heard and seen."""
    async with chromium(profile) as page:
        await page.open(address)
        run = await wait_for_run(page)

        await page.open(f"{address}#audio")
        tags = await leaf_through(page, "tf-audio-loader", "audio", shots / "audio")
        assert tags == {f"audio/{name}" for name in SOUNDS}
        for name in SAMPLES:
            assert [point["step"] for point in await points(page, run, "audio", f"audio/{name}")] == EPOCH_STEPS
        for name in NEIGHBOURS:
            assert [point["step"] for point in await points(page, run, "audio", f"audio/{name}")] == MEASURED_STEPS
        for name in ("real_0", "inverted_0", "sample_0_neighbour", "sample_0"):
            await find_clip(page, f"audio/{name}")
            await play(page)
        assert await slide(page) == EPOCH_STEPS

        await page.open(f"{address}#images")
        tags = await leaf_through(page, "tf-image-loader", "img", shots / "images", "image/")
        assert tags == {f"image/{name}" for name in SOUNDS}
        for name in ("real_0", "inverted_0", "sample_0_neighbour"):
            await look_at_picture(page, run, f"image/{name}")
        for name, steps in (("references", [0]), ("samples", EPOCH_STEPS)):
            assert [point["step"] for point in await points(page, run, "images", f"grid/{name}")] == steps
        sheets = "deep('tf-image-loader').filter(card => card.tag.startsWith('grid/'))"
        wide = "card => deep('img', card.shadowRoot)[0].naturalWidth > 800"
        assert await page.evaluate(f"{sheets}.map({wide})") == [True, True]

        await page.open(f"{address}#scalars")
        tags = await leaf_through(page, "tf-scalar-card", "text", shots / "scalars")
        # The third group, metric, is closed at first.
        assert tags == SCALARS | {"logits/validation"}
        for tag in METRICS:
            assert [step for _, step, _ in await points(page, run, "scalars", tag)] == MEASURED_STEPS
        for tag in SCALARS:
            assert [step for _, step, _ in await points(page, run, "scalars", tag)] == ALL_STEPS
        assert [step for _, step, _ in await points(page, run, "scalars", "logits/validation")] == EPOCH_STEPS

        await page.open(f"{address}#text")
        await page.wait_for("deep('table').some(table => table.innerText.includes('noise'))")
        await page.wait_for("deep('li').some(line => line.innerText.includes('s an epoch, 12 of 12'))")
        await page.screenshot(shots / "text.png")

        await page.open(f"{address}#custom_scalars")
        for title in ("losses", "stripes and buzz, dB"):
            await page.wait_for(f"deep('*').some(element => element.innerText == '{title}')")
        await page.wait_for("deep('text').length > 20")
        await page.screenshot(shots / "custom_scalars.png")

        await page.open(f"{address}#hparams")
        await page.wait_for("deep('*').some(element => element.innerText == 'model.betas')")
        await page.screenshot(shots / "hparams.png")

        await page.open(f"{address}#timeseries")
        await page.wait_for("deep('card-view img').some(image => image.naturalWidth)")
        await page.screenshot(shots / "timeseries.png")


@pytest.mark.slow
@pytest.mark.browser
def test_tensorboard(tmp_path: Path) -> None:
    make_images(tmp_path)
    command = [*shlex.split(train(tmp_path)), "--host", "127.0.0.1", "--port", "0"]
    shots = Path(os.environ.get("GAN_SCREENSHOTS", tmp_path / "screenshots"))
    with serving(command, tmp_path / "tensorboard.log", cwd=tmp_path) as address:
        asyncio.run(look(address, tmp_path / "browser", shots))
