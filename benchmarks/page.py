"""What a page of `gan listen` costs, and whether it plays: in a real browser, headless, from disk.

    python benchmarks/page.py [--epochs 50] [--samples 8] [--max_mb 50]

Makes the clips of a run on the demo set's grid (its instruments, each epoch with less noise than the one before;
neighbours every tenth epoch) and writes its page, in one file and beside it. A table of: the time to write it, its
size, from the beginning of loading to where the first sound could be played, from a key to where it is heard, from a
step of the slider while it plays to where the new epoch is heard (median and worst of all steps), and what was wrong:
durations other than the files', sound that stands still, anything on the console.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import Page, chromium, find_browser
from watched import open_listening, press, watch

from gan.commands.listen import listen
from gan.data.demo import DEMO_SETTINGS, KINDS, synthesize
from gan.listen.clips import Clips
from gan.listen.picture import colour, jpeg
from gan.sound.inversion import image_from_waveform
from gan.sound.spectrogram import ImageScale

N_SAMPLES = DEMO_SETTINGS.n_samples(128)
# From a step of the slider to where another sound begins, in ms; its length; how far from where the one before was.
STEP = """(async () => {
  const count = started.length, from = performance.now(), before = place();
  epoch(%d);
  while (started.length === count && performance.now() - from < 3000) await new Promise(resolve => setTimeout(resolve));
  const { duration, offset, at } = started.at(-1), expected = (before + (at - from) / 1000) %% duration;
  const off = Math.abs(offset - expected);
  return [at - from, duration, Math.min(off, duration - off)];
})()"""


def make_run(folder: Path, n_epochs: int, n_samples: int) -> None:
    """Write the clips of a run, and nothing else."""
    clips = Clips(folder)
    rng = np.random.default_rng(0)
    kinds = list(KINDS)
    scale = ImageScale(range_db=80.0, top_db=30.0)

    def write(name: str, waveform: np.ndarray, when: tuple[int, int] | None) -> None:
        waveform = waveform[:N_SAMPLES].astype(np.float32)
        image = image_from_waveform(torch.from_numpy(waveform[None]), DEMO_SETTINGS, scale)
        clips.write(name, waveform, DEMO_SETTINGS.sample_rate, jpeg(colour(image[0, 0])), when)

    for index in range(3):
        sound = 0.5 * synthesize(kinds[index % len(kinds)], rng)
        write(f"real_{index}", sound, None)
        write(f"inverted_{index}", sound, None)
    targets = [0.5 * synthesize(kinds[index % len(kinds)], rng) for index in range(n_samples)]
    for epoch in range(1, n_epochs + 1):
        share = epoch / n_epochs
        for index, target in enumerate(targets):
            noise = 0.05 * (1 - share) * rng.standard_normal(len(target))
            write(f"sample_{index}", share * target + noise, (epoch, 38 * epoch))
            if epoch % 10 == 0:
                write(f"sample_{index}_neighbour", target, (epoch, 38 * epoch))


async def measure(page: Page, path: Path, n_positions: int) -> dict[str, str]:
    """What a page does, by keys alone until it plays."""
    times = await open_listening(page, path)
    await press(page, "j", "k")
    pressed = await page.evaluate("performance.now()")
    await press(page, " ")
    await page.wait_for("level() > 0 && place() > 0")
    heard = await page.evaluate("performance.now()")
    length = N_SAMPLES / DEMO_SETTINGS.sample_rate
    wrong: list[str] = []
    steps, off = [], []
    for position in range(n_positions)[::-1][1:]:
        milliseconds, duration, shift = await page.evaluate(STEP % position)
        steps.append(milliseconds)
        off.append(shift)
        if abs(duration - length) > 0.005:
            wrong.append(f"duration {duration} instead of {length}")
        before = await page.evaluate("place()")
        await asyncio.sleep(0.05)
        if await page.evaluate("place()") == before:
            wrong.append(f"it stands still at position {position}")
    wrong += await page.evaluate("wrong")
    return {
        "first sound ready, ms": f"{times['playable']:.0f}",
        "all of it read, ms": f"{times['parsed']:.0f}",
        "key to sound, ms": f"{heard - pressed:.0f}",
        "epoch to epoch, ms": f"{statistics.median(steps):.0f}, {max(steps):.0f} at worst",
        "and off by, ms": f"{1000 * statistics.median(off):.0f}",
        "wrong": ", ".join(wrong) or "nothing",
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--max_mb", type=float, default=50.0)
    options = parser.parse_args()
    if find_browser() is None:
        raise SystemExit("there is no Chromium or Chrome on the PATH")
    rows: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_run(folder / "run", options.epochs, options.samples)
        async with chromium(folder / "browser") as page:
            await watch(page)
            for kind, link, max_mb in (("whole", False, options.max_mb), ("5 MB", False, 5.0), ("linked", True, 50.0)):
                output = folder / f"{kind.replace(' ', '_')}.html"
                start = time.perf_counter()
                listen([folder / "run"], output, link, max_mb)
                written = time.perf_counter() - start
                await page.open(output.as_uri())
                n_positions = int(await page.evaluate("document.getElementById('epoch').max")) + 1
                sizes = {"epochs": str(n_positions), "written in, s": f"{written:.1f}"}
                sizes |= {"size, MB": f"{output.stat().st_size / 1e6:.1f}"}
                rows[kind] = sizes | await measure(page, output, n_positions)
    names = list(rows["whole"])
    print(f"\n{options.epochs} epochs x {options.samples} samples of {N_SAMPLES / DEMO_SETTINGS.sample_rate:.2f} s\n")
    print("\n".join([f"| | {' | '.join(rows)} |", f"| --- |{' --- |' * len(rows)}"]))
    for each in names:
        print(f"| {each} | {' | '.join(row[each] for row in rows.values())} |")


if __name__ == "__main__":
    asyncio.run(main())
