"""The page of `gan blind` in a real browser: a whole test by keyboard alone, and what a phone makes of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium

from gan.commands.main import main
from gan.evaluate.answers import KINDS, Answers, Key

pytestmark = pytest.mark.browser

SECONDS = 63 * 32 / 8000
N_EACH = 8
_CODES = {"Enter": 13, "Backspace": 8, "Tab": 9}
# What a page says that goes wrong: in its console, by an error, by what it may not load.
_WATCH = """
window.wrong = [];
console.error = console.warn = (...words) => wrong.push(words.join(' '));
for (const name of ['error', 'unhandledrejection', 'securitypolicyviolation'])
  addEventListener(name, event => wrong.push(`${name}: ${event.message ?? event.reason ?? event.blockedURI}`), true);
"""
_VISIBLE = "document.querySelector('section:not([hidden])').id"
_TITLE = "document.querySelector('#title').textContent"
_PLACE = "document.querySelector('#place').textContent"
_NEXT = "!document.querySelector('#next').disabled"
_LOADED = "[...document.querySelectorAll('audio')].every(audio => audio.readyState == 4)"
# WCAG 2.2, 1.4.3: the least contrast of any text that is seen, and that text.
_CONTRAST = """(() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const colour = parse(getComputedStyle(element).backgroundColor);
    return colour[3] === 0 ? behind(element.parentElement) : colour;
  };
  return [...document.querySelectorAll('body *')]
    .filter(element => element.checkVisibility())
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(element => {
      const [low, high] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => a - b);
      return [(high + 0.05) / (low + 0.05), element.textContent.trim()];
    }).sort((a, b) => a[0] - b[0])[0];
})()"""
_SMALLEST = """Math.min(...[...document.querySelectorAll('button, label:has(input)')]
  .filter(element => element.checkVisibility()).map(element => element.getBoundingClientRect().height))"""


async def press(page: Page, key: str) -> None:
    """Press a key and let it go, as a keyboard does."""
    code = _CODES.get(key, ord(key[0].upper()))
    text = {"Enter": {"text": "\r"}}.get(key, {"text": key} if len(key) == 1 else {})
    for kind in ({"type": "keyDown"} | text, {"type": "keyUp"}):
        await page.command("Input.dispatchKeyEvent", key=key, windowsVirtualKeyCode=code, **kind)


async def play_all(page: Page) -> None:
    """Play each sound of a question to its end, by its key."""
    for key in "abx" if "X" in await page.evaluate(_TITLE) else "p":
        place = max(0, "abx".find(key))
        before = await page.evaluate(f"state.answers[current()].plays[{place}]")
        await press(page, key)
        await page.wait_for(f"state.answers[current()].plays[{place}] == {before + 1}")


async def look(page: Page) -> None:
    """What every view has to be: readable, with a name for every control, nowhere wider than the screen."""
    ratio, text = await page.evaluate(_CONTRAST)
    assert ratio >= 4.5, text
    nodes = (await page.command("Accessibility.getFullAXTree"))["nodes"]
    controls = [node for node in nodes if node["role"]["value"] in {"button", "radio", "textbox", "progressbar"}]
    assert controls
    assert all(node["name"]["value"].strip() for node in controls)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate(_SMALLEST) >= 44


async def start(page: Page, url: str, downloads: Path) -> None:
    await page.command("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
    await page.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    await page.open(url)
    assert await page.evaluate(_VISIBLE) == "start"
    assert await page.evaluate("document.activeElement.id") == "listener"
    # No name, no start.
    await press(page, "Enter")
    assert await page.evaluate(_VISIBLE) == "start"


async def whole_test(url: str, folder: Path) -> tuple[Path, dict[int, Any]]:
    """Answer all questions; returns the file that was saved, and what was answered."""
    answered: dict[int, Any] = {}
    async with chromium(folder / "browser") as page:
        await start(page, url, folder)
        for key in "N K":
            await press(page, key)
        await press(page, "Enter")
        n_trials = await page.evaluate("test.trials.length")
        for number in range(n_trials):
            await page.wait_for(f"{_PLACE} == 'Question {number + 1} of {n_trials}'")
            await page.wait_for(_LOADED)
            kind, trial = await page.evaluate("[test.trials[current()].kind, current()]")
            durations = await page.evaluate("[...document.querySelectorAll('audio')].map(audio => audio.duration)")
            assert durations == pytest.approx([SECONDS] * (3 if kind == "abx" else 1))
            # Nothing counts before it was heard.
            for key in ("1", "Enter"):
                await press(page, key)
            assert await page.evaluate("state.answers[current()].answer") is None
            assert not await page.evaluate(_NEXT)
            if kind == "abx":
                # One that repeats, so that it does not end before the next key, whatever else the machine does.
                await page.evaluate("players[0].audio.loop = true")
                await press(page, "a")
                await page.wait_for("players[0].audio.currentTime > 0.02")
                # Another one stops the first, which then was not heard to its end.
                await press(page, "b")
                await page.evaluate("players[0].audio.loop = false")
                await page.wait_for("state.answers[current()].plays[1] == 1")
                assert await page.evaluate("state.answers[current()].plays") == [0, 1, 0]
            await play_all(page)
            assert not await page.evaluate(_NEXT)
            keys, values = {
                "quality": ("12345", (1, 2, 3, 4, 5)),
                "origin": ("12", ("real", "generated")),
                "abx": ("12", ("A", "B")),
            }[kind]
            await press(page, keys[number % len(keys)])
            answered[trial] = values[number % len(keys)]
            await page.wait_for(_NEXT)
            if number == 2:
                # A reload, and then back and another answer.
                await page.open(url)
                assert await page.evaluate(_PLACE) == f"Question 3 of {n_trials}"
                assert await page.evaluate("document.querySelector('input:checked').value") == str(answered[trial])
                await press(page, "Backspace")
                await page.wait_for(f"{_PLACE} == 'Question 2 of {n_trials}'")
                await press(page, "5")
                answered[await page.evaluate("current()")] = 5
                await press(page, "Enter")
                await page.wait_for(f"{_PLACE} == 'Question 3 of {n_trials}'")
            await press(page, "Enter")
        await page.wait_for(f"{_VISIBLE} == 'end'")
        await press(page, "Enter")
        saved = folder / f"blind_{await page.evaluate('test.id')}_N-K.json"
        end = asyncio.get_running_loop().time() + 60
        while not saved.exists() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        assert json.loads(await page.evaluate("document.querySelector('#text').value")) == json.loads(saved.read_text())
        assert await page.evaluate("wrong") == []
    return saved, answered


@pytest.fixture
def blind(endless, conditional) -> Path:
    """The folder of a test of 8 questions of each kind."""
    folder = Path("heard").absolute()
    if not folder.exists():
        arguments = ["--real", f"--trials={N_EACH}", f"--output={folder}", "--phase.n_iter=0"]
        assert main(["blind", str(endless.folder), str(conditional.folder), *arguments]) == 0
    return folder


@pytest.mark.slow
def test_a_whole_test_by_keyboard(blind, tmp_path, capsys):
    url = (blind / "blind.html").as_uri()
    saved, answered = asyncio.run(whole_test(url, tmp_path))
    content = json.loads(saved.read_text())
    assert content["listener"] == "N K"
    assert {entry["trial"]: entry["answer"] for entry in content["answers"]} == answered
    assert len(answered) == 3 * N_EACH
    assert all(min(entry["plays"]) >= 1 and entry["seconds"] >= 0.2 for entry in content["answers"])
    # Kinds one after the other, in an order that is not the page's.
    key = Key.load(blind / "key.json")
    kinds = [key.trials[entry["trial"]].kind for entry in content["answers"]]
    assert kinds == [kind for kind in KINDS for _ in range(N_EACH)]
    assert [entry["trial"] for entry in content["answers"]] != list(range(3 * N_EACH))
    assert Answers.load(saved, key).listener == "N K"
    assert main(["blind", "--score", str(saved), "--key", str(blind / "key.json")]) == 0
    said = capsys.readouterr().out
    assert f"test {key.test}, answered by N K" in said
    n_right = sum(answered[n] == trial.right for n, trial in enumerate(key.trials) if trial.kind == "abx")
    assert f"{100 * n_right / N_EACH:.0f} % of {N_EACH} answers right" in said


async def views(url: str, folder: Path, width: int, scheme: str) -> None:
    async with chromium(folder / "browser") as page:
        phone = width < 500
        await page.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=phone
        )
        await page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await start(page, url, folder)
        await look(page)
        await press(page, "N")
        await press(page, "Enter")
        for position in (0, N_EACH, 2 * N_EACH):
            await page.evaluate(f"state.position = {position}; show()")
            await look(page)
            await play_all(page)
            await press(page, "2")
            await page.wait_for(_NEXT)
            await look(page)
        await page.evaluate("state.position = state.order.length; show()")
        await press(page, "Enter")
        await page.wait_for("document.querySelector('#another').checkVisibility()")
        await look(page)
        # Another listener begins anew.
        await page.evaluate("document.querySelector('#another').click()")
        await start(page, url, folder)
        assert await page.evaluate("wrong") == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_every_view_can_be_read_and_used(blind, tmp_path, width, scheme):
    asyncio.run(views((blind / "blind.html").as_uri(), tmp_path, width, scheme))
