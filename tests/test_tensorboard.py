"""What a user hears and sees of a training: the printed TensorBoard command, in a real browser."""

import asyncio
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
from browser import Page, chromium, find_browser, serving
from conftest import SMALL
from PIL import Image

from gan.commands.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_browser() is None, reason="there is no Chromium or Chrome on the PATH"),
]

TRAIN = Path(__file__).parent.parent / "train.py"
N_EPOCHS, N_SAMPLES, N_FRAMES, BATCH_SIZE = 3, 6, 64, 4
N_RECORDINGS, CROPS_A_RECORDING = 14, 2
TAGS = {f"{sort}_{index}" for sort in ("real", "inverted", "sample") for index in range(N_SAMPLES)}
SCALARS = {"loss/generator", "loss/discriminator", "logits/real", "logits/fake", "logits/validation"}


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
        "trainer.max_epochs": N_EPOCHS,
        "trainer.log_every_n_steps": 1,
        "trainer.accelerator": "cpu",
    }
    finished = subprocess.run(
        [sys.executable, TRAIN, *(f"--{name}={value}" for name, value in options.items())],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return next(line.removeprefix("listen: ") for line in finished.stdout.splitlines() if line.startswith("listen: "))


async def points(page: Page, plugin: str, tag: str, **more: Any) -> list[Any]:
    """All that TensorBoard has of a tag of the one run."""
    (run,) = json.loads(await page.fetch("data/runs"))
    query = urlencode({"run": run, "tag": tag, **more})
    answer: list[Any] = json.loads(await page.fetch(f"data/plugin/{plugin}/{plugin}?{query}"))
    return answer


async def shown(page: Page, card: str, content: str) -> set[str]:
    """Tags of all cards of a dashboard, leafing through it; each must have its content, e.g. a picture."""
    tags: set[str] = set()
    while True:
        await page.wait_for(f"deep({card!r}).length && deep({card!r}).every(card => deep({content!r}, card.shadowRoot)[0])")
        now = set(await page.evaluate(f"deep({card!r}).map(card => card.tag)"))
        assert not now <= tags
        tags |= now
        more = "deep('paper-button').filter(button => button.textContent == 'Next page' && !button.disabled)"
        if not await page.evaluate(f"{more}.length"):
            return tags
        await page.evaluate(f"{more}[0].click()")
        await page.wait_for(f"deep({card!r}).map(card => card.tag).join() != {','.join(sorted(now))!r}")


def test_tensorboard(tmp_path: Path) -> None:
    make_images(tmp_path)
    listen = train(tmp_path)
    command = [*shlex.split(listen), "--host", "127.0.0.1", "--port", "0"]
    with serving(command, tmp_path / "tensorboard.log", cwd=tmp_path) as address:
        asyncio.run(look(address, tmp_path))
