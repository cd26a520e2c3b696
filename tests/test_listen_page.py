"""The page of `gan listen` in a real browser, from disk: it plays, by keys alone, and everybody can read it."""

import asyncio
import json
import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium
from heard import N_SAMPLES, RATE, make_run, write
from torch.utils.tensorboard import SummaryWriter
from watched import open_listening, press, watch

from gan.commands.listen import listen

pytestmark = pytest.mark.browser
SECONDS = N_SAMPLES / RATE
NOW = "document.getElementById('now').textContent"
# Contrast of every text with what is behind it, and of edges of controls, least first.
CONTRASTS = """(() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [red, green, blue] = parse(colour).map(each => each / 255).map(each =>
      each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor, [, , , alpha = 1] = parse(colour);
      if (alpha === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    if (!element.checkVisibility() || element.matches(':disabled, script, style')) continue;
    const style = getComputedStyle(element);
    if ([...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
      found.push([contrast(element instanceof SVGElement ? style.fill : style.color, behind(element)) / 4.5,
                  element.outerHTML.slice(0, 80)]);
    if (element.matches('button, select'))
      found.push([contrast(style.borderTopColor, behind(element.parentElement)) / 3, element.outerHTML.slice(0, 80)]);
    if (element.matches('.line, .key, .marker'))
      found.push([contrast(style.color, behind(element)) / 3, element.outerHTML.slice(0, 80)]);
  }
  return found.sort((one, other) => one[0] - other[0]);
})()"""

SMALL_TARGETS = """[...document.querySelectorAll('button, input, select')]
  .filter(element => element.checkVisibility()).map(element => element.closest('label') ?? element)
  .filter(element => element.offsetHeight < 24).map(element => element.outerHTML)"""


def in_browser(folder: Path, look: Callable[[Page], Awaitable[None]]) -> None:
    async def run() -> None:
        async with chromium(folder / "browser") as page:
            await watch(page)
            await look(page)

    asyncio.run(run())


def make_curves(run: Path, n_epochs: int = 6) -> None:
    with SummaryWriter(str(run)) as writer:
        for batch in range(1, 10 * n_epochs + 1):
            writer.add_scalar("loss/generator", math.sin(batch), batch)
            writer.add_scalar("loss/discriminator", 1.0, batch)
        for epoch in range(2, n_epochs + 1, 2):
            writer.add_scalar("metric/frechet_mel_n9", 1000.0 / 4**epoch, 10 * epoch)


async def view(page: Page, width: int, height: int, scheme: str) -> None:
    await page.command(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
    )
    await page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


async def plays(page: Page) -> None:
    """Something sounds, from a clip of the right length, and its cursor moves."""
    await page.wait_for("level() > 1e-4")
    before = await page.evaluate("place()")
    await page.wait_for(f"place() != {before}")
    assert (await page.evaluate("started.at(-1).duration")) == pytest.approx(SECONDS, abs=0.001)
    assert (await page.evaluate("started.at(-1).rate")) == RATE


def test_it_plays_by_keys_alone(tmp_path):
    run = make_run(tmp_path / "run")
    assert listen([run]) == 0

    async def look(page: Page) -> None:
        await open_listening(page, run / "listen" / "index.html")
        assert await page.evaluate(NOW) == "sample 0, generated, epoch 6"
        assert await page.evaluate("started.length") == 0
        await press(page, " ")
        await plays(page)
        # To the next sample, which goes on where this one is.
        await press(page, "ArrowDown")
        assert await page.evaluate(NOW) == "sample 1, generated, epoch 6"
        await plays(page)
        await press(page, "n")
        assert await page.evaluate(NOW) == "sample 1, nearest training crop, epoch 4"
        await press(page, "n")
        assert await page.evaluate(NOW) == "sample 1, generated, epoch 6"
        await press(page, "r")
        assert await page.evaluate(NOW) == "reference 1, real"
        await press(page, "i")
        assert await page.evaluate(NOW) == "reference 1, inverted"
        await press(page, "i", "1")
        assert await page.evaluate(NOW) == "sample 0, generated, epoch 6"
        for key, epoch in (("ArrowLeft", 5), ("Home", 1), ("ArrowLeft", 1), ("ArrowRight", 2), ("End", 6)):
            await press(page, key)
            assert await page.evaluate(NOW) == f"sample 0, generated, epoch {epoch}"
            assert (await page.evaluate("document.getElementById('when').textContent")) == (
                f"epoch {epoch} of 6, batch {10 * epoch}"
            )
            await plays(page)
        # Pause; seek; the same keys as before it.
        await press(page, " ")
        await page.wait_for("level() === 0")
        before = await page.evaluate("place()")
        await press(page, "Home", ".")
        expected = min(before + SECONDS / 20, SECONDS)
        assert await page.evaluate("place()") == pytest.approx(expected, abs=1e-3)
        await press(page, ",", ",")
        assert await page.evaluate("place()") == pytest.approx(max(0, expected - SECONDS / 10), abs=1e-3)
        count = await page.evaluate("started.length")
        await press(page, "End", "j", "k")
        assert await page.evaluate("started.length") == count
        assert await page.evaluate("wrong") == []

    in_browser(tmp_path, look)


def test_curves_help_and_keys_that_are_off(tmp_path):
    run = make_run(tmp_path / "run")
    make_curves(run)
    assert listen([run]) == 0

    async def look(page: Page) -> None:
        await open_listening(page, run / "listen" / "index.html")
        # The values where one listens: of a curve that is measured at times, the last before.
        await press(page, "ArrowLeft")
        values = "[...document.querySelectorAll('.chart output')].map(output => output.textContent)"
        assert await page.evaluate(values) == [f"{math.sin(50):.4g}", "1", f"{1000 / 4**4:.4g}"]
        await press(page, "Home")
        assert (await page.evaluate(values))[2] == "-"
        await press(page, "?")
        assert await page.evaluate("document.getElementById('keys').open")
        assert await page.evaluate("document.getElementById('keys').contains(document.activeElement)")
        await press(page, "Escape")
        assert not await page.evaluate("document.getElementById('keys').open")
        await page.evaluate("document.getElementById('shortcuts').click()")
        await press(page, "j")
        assert await page.evaluate(NOW) == "sample 0, generated, epoch 1"
        assert await page.evaluate("wrong") == []

    in_browser(tmp_path, look)


def test_a_moved_slider_goes_on_at_the_same_place(tmp_path):
    run = make_run(tmp_path / "run")
    assert listen([run]) == 0

    async def look(page: Page) -> None:
        await open_listening(page, run / "listen" / "index.html")
        await press(page, " ")
        await plays(page)
        for position in (4, 0, 2, 5):
            count = await page.evaluate(f"(epoch({position}), started.length)")
            await page.wait_for(f"started.length > {count}")
            before, begun = await page.evaluate("started.slice(-2)")
            # Sounds that repeat, so the whole of one is no difference.
            off = before["offset"] + begun["when"] - before["when"] - begun["offset"]
            assert off - SECONDS * round(off / SECONDS) == pytest.approx(0, abs=1e-4)
            assert await page.evaluate("started.length") == count + 1
        # Faster than sounds can be decoded: the last one is heard, and it alone.
        await page.evaluate("[0, 1, 2, 3, 4, 3].forEach(epoch)")
        await page.wait_for(f"{NOW} == 'sample 0, generated, epoch 4'")
        await plays(page)
        # A sample's own slider moves it alone, until all are moved.
        own = "document.querySelectorAll('.own input')[3]"
        await page.evaluate(f"{own}.value = 0; {own}.dispatchEvent(new Event('input'))")
        await page.wait_for(f"{NOW} == 'sample 1, generated, epoch 1'")
        assert await page.evaluate("document.querySelectorAll('.own input')[2].valueAsNumber") == 3
        await page.evaluate("epoch(5)")
        await page.wait_for(f"{NOW} == 'sample 1, generated, epoch 6'")
        assert await page.evaluate("wrong") == []

    in_browser(tmp_path, look)


async def box_of(page: Page, element: str) -> dict[str, float]:
    box: dict[str, float] = await page.evaluate(f"{element}.getBoundingClientRect().toJSON()")
    return box


async def point(page: Page, kind: str, box: dict[str, float], share: float) -> None:
    """Press or release the mouse near the upper edge of a box, at a share of its width."""
    x, y = box["x"] + share * box["width"], box["y"] + 9
    await page.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def test_a_click_on_a_picture_is_heard_from_there(tmp_path):
    """However long the finger stays, and without anything that moves under it."""
    run = make_run(tmp_path / "run")
    assert listen([run]) == 0
    # A pixel, of 256.
    near = SECONDS / 256

    async def look(page: Page) -> None:
        await view(page, 1400, 600, "light")
        await open_listening(page, run / "listen" / "index.html")
        await page.wait_for("[...document.querySelectorAll('.screen img')].every(image => image.naturalWidth)")
        # What moves while the page is loaded moves under no finger.
        await page.evaluate("shifts.length = 0")
        await press(page, " ")
        await plays(page)
        await page.evaluate("document.querySelector('.chosen').scrollIntoView()")
        chosen = await box_of(page, "document.querySelector('.chosen .seek')")
        count = await page.evaluate("started.length")
        await point(page, "mousePressed", chosen, 0.75)
        await page.wait_for(f"started.length > {count}")
        assert await page.evaluate("started.at(-1).offset") == pytest.approx(0.75 * SECONDS, abs=near)
        # Heard once while it is held, and not once more when it is let go.
        await page.wait_for(f"Math.abs(place() - {0.75 * SECONDS}) > 0.05")
        await point(page, "mouseReleased", chosen, 0.75)
        await page.evaluate("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        assert await page.evaluate("started.length") == count + 1
        assert await page.evaluate("document.querySelector('.playing') !== null")
        # Another one, half of which is below the window: the sound is begun by the release.
        await press(page, " ")
        other = "document.querySelectorAll('.seek')[6]"
        assert not await page.evaluate(f"{other}.closest('.pane').matches('.chosen')")
        await page.evaluate(f"scrollBy(0, {other}.getBoundingClientRect().y - innerHeight + 40)")
        before = await box_of(page, other)
        assert before["bottom"] > 600 > before["top"] + 9
        await point(page, "mousePressed", before, 0.25)
        await point(page, "mouseReleased", before, 0.25)
        await page.wait_for(f"started.length == {count + 2}")
        assert await page.evaluate("started.at(-1).offset") == pytest.approx(0.25 * SECONDS, abs=near)
        assert await box_of(page, other) == before
        assert await page.evaluate(f"{other}.closest('.pane').matches('.chosen')")
        # Where its thumb already is, which is no input: not from where the other one is by now.
        await press(page, " ")
        thumb = await page.evaluate(f"{other}.valueAsNumber")
        await press(page, "k", ".", ".", ".", ".", ".")
        assert abs(await page.evaluate("place()") - thumb) > SECONDS / 10
        assert await page.evaluate(f"{other}.valueAsNumber") == thumb
        for kind in ("mousePressed", "mouseReleased"):
            await point(page, kind, await box_of(page, other), thumb / SECONDS)
        await page.wait_for(f"started.length == {count + 3}")
        assert await page.evaluate("started.at(-1).offset") == pytest.approx(thumb, abs=near)
        assert await page.evaluate("wrong") == []

    in_browser(tmp_path, look)


def test_what_comes_when_a_sound_ends_and_how_loud_it_is(tmp_path):
    run = tmp_path / "run"
    for index, gain in enumerate((1.0, 0.5)):
        write(run, f"sample_{index}", (1, 10), seed=0, gain=gain)
    assert listen([run]) == 0

    async def look(page: Page) -> None:
        await open_listening(page, run / "listen" / "index.html")
        await press(page, "l")
        assert await page.evaluate("document.getElementById('then').value") == "next"
        await press(page, "m", " ")
        # The first, the second, and silence.
        await page.wait_for("started.length == 2 && !document.querySelector('.playing')")
        assert await page.evaluate(NOW) == "sample 1, generated, epoch 1"
        first, second = await page.evaluate("levels")
        gains = json.loads(await page.evaluate("document.getElementById('data').textContent"))["clips"]
        assert (first, second) == pytest.approx((10 ** (gains[0]["gain"] / 20), 10 ** (gains[1]["gain"] / 20)))
        assert 20 * math.log10(first / second) == pytest.approx(-6.02, abs=0.1)
        await press(page, "m", "l", "1", " ")
        await page.wait_for("started.length == 3 && !document.querySelector('.playing')")
        assert (await page.evaluate("levels"))[2] == 1.0
        assert await page.evaluate("place()") == 0
        # Without an end.
        await press(page, "l", " ")
        await asyncio.sleep(2 * SECONDS)
        await plays(page)
        assert await page.evaluate("started.length") == 4

    in_browser(tmp_path, look)


def test_sounds_beside_the_page(tmp_path):
    run = make_run(tmp_path / "a run's #1")
    output = tmp_path / "pages" / "page.html"
    assert listen([run], output, link=True) == 0

    async def look(page: Page) -> None:
        await open_listening(page, output)
        await page.wait_for("[...document.querySelectorAll('.screen img')].every(image => image.naturalWidth)")
        await press(page, " ")
        await plays(page)
        await press(page, "ArrowLeft", "r")
        await plays(page)
        assert await page.evaluate("wrong") == []
        (output.parent / "page_sounds" / "run_0_epoch_0001.js").unlink()
        await press(page, "r", "Home")
        await page.wait_for(f"{NOW}.includes('page_sounds/run_0_epoch_0001.js is not there')")
        await press(page, "End", " ")
        await plays(page)

    in_browser(tmp_path, look)


def test_runs_side_by_side(tmp_path):
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other", n_epochs=3)
    for run, n_epochs in ((one, 6), (other, 3)):
        make_curves(run, n_epochs)
    assert listen([one, other]) == 0

    async def look(page: Page) -> None:
        await open_listening(page, tmp_path / "listen.html")
        assert await page.evaluate(NOW) == "sample 0, generated, epoch 6, one"
        await press(page, "x")
        assert await page.evaluate(NOW) == "sample 0, generated, epoch 3, other"
        # By batches both are at 20 after two epochs; by the share of the run it is a third of them.
        for _ in range(4):
            await press(page, "ArrowLeft")
        when = "document.getElementById('when').textContent"
        assert await page.evaluate(when) == "epoch 2, batch 20"
        await page.evaluate("document.getElementById('align').value = 'share'")
        await page.evaluate("document.getElementById('align').dispatchEvent(new Event('change'))")
        await press(page, "Home", "ArrowRight", "ArrowRight", "ArrowRight")
        assert await page.evaluate(when) == "epoch 4 | 2, batch 40 | 20"
        await press(page, " ")
        await plays(page)
        await shoot(page, "two")
        assert await page.evaluate("wrong") == []

    in_browser(tmp_path, look)


async def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("GAN_SCREENSHOTS"):
        if await page.evaluate("document.querySelector('.playing') !== null"):
            await press(page, " ")
        await page.screenshot(Path(folder) / f"listen_{name}.png")


async def names_of_controls(page: Page) -> list[tuple[str, str]]:
    await page.command("Accessibility.enable")
    nodes: list[dict[str, Any]] = (await page.command("Accessibility.getFullAXTree"))["nodes"]
    roles = {"button", "slider", "combobox", "checkbox", "image", "dialog", "region"}
    return [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node.get("role", {}).get("value") in roles
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(tmp_path, scheme):
    run = make_run(tmp_path / "run")
    make_curves(run)
    assert listen([run]) == 0

    async def look(page: Page) -> None:
        for width, height in ((1400, 1000), (390, 844)):
            await view(page, width, height, scheme)
            await open_listening(page, run / "listen" / "index.html")
            await page.wait_for("[...document.querySelectorAll('.screen img')].every(image => image.naturalWidth)")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            for ratio, what in await page.evaluate(CONTRASTS):
                assert ratio >= 1, what
            assert await page.evaluate(SMALL_TARGETS) == []
            names = await names_of_controls(page)
            assert len(names) > 30
            assert all(name for _, name in names)
            # Each name says which one is meant.
            controls = [each for each in names if each[0] in ("button", "slider")]
            assert len(set(controls)) == len(controls)
            # The first controls by Tab, each with an outline that can be seen.
            for wanted in ("play", "help", "earlier", "epoch"):
                await press(page, "Tab")
                focus = "document.activeElement"
                assert await page.evaluate(f"{focus}.id") == wanted
                assert await page.evaluate(f"parseFloat(getComputedStyle({focus}).outlineWidth)") >= 2
                assert await page.evaluate(f"getComputedStyle({focus}).outlineStyle") == "solid"
            # Arrows of a slider that has the focus are its own.
            await press(page, "Home")
            assert await page.evaluate(f"getComputedStyle({focus}).outlineStyle") == "solid"
            await shoot(page, f"{scheme}_{width}")
            await press(page, "?")
            for ratio, what in await page.evaluate(CONTRASTS):
                assert ratio >= 1, what
            assert await page.evaluate("wrong") == []

    in_browser(tmp_path, look)
