"""Programs that serve pages, and a headless Chromium that looks at them over the DevTools protocol."""

import asyncio
import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VIEW = (1400, 1000)

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--remote-debugging-port=0",
)
# All elements that match and can be seen, in shadow roots too, where querySelectorAll does not look.
_DEEP = """
window.deep = (selector, root = document) => [...root.querySelectorAll('*')].flatMap(element => [
  ...(element.matches(selector) && element.checkVisibility() ? [element] : []),
  ...(element.shadowRoot ? deep(selector, element.shadowRoot) : []),
]);
"""
_BASE64_OF_ANSWER = """async answer => answer.ok
  ? btoa(Array.from(new Uint8Array(await answer.arrayBuffer()), byte => String.fromCharCode(byte)).join(''))
  : Promise.reject(`${answer.status} from ${answer.url}`)
"""
_POLL_SECONDS = 0.05
# What is waited for comes at once, or on a busy machine late: this ends what never comes.
_PATIENCE_SECONDS = 90.0


def find_browser() -> str | None:
    """Where a Chromium or Chrome is; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def serving(command: list[str], log: Path, cwd: Path | None = None) -> Iterator[str]:
    """Run a program that prints its own address; gives that address, ends the program and its children."""
    with _process(command, log, cwd) as process:
        yield _wait_for_output(process, log, r"http://127\.0\.0\.1:\d+/")


class Page:
    """A tab of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last_id = 0

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol; returns its result."""
        self._last_id += 1
        await self._socket.send_json({"id": self._last_id, "method": method, "params": parameters})
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == self._last_id:
                    break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it becomes."""
        result = await self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def wait_for(self, expression: str) -> Any:
        """Evaluate an expression until it is true; returns its value."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (value := await self.evaluate(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"after {_PATIENCE_SECONDS} s still not: {expression}")
            await asyncio.sleep(_POLL_SECONDS)
        return value

    async def open(self, url: str) -> None:
        """Load a page anew, even if only the part behind its # differs."""
        for address in ("about:blank", url):
            await self.command("Page.navigate", url=address)
            start = address.partition("#")[0]
            await self.wait_for(f"document.readyState == 'complete' && location.href.startsWith({start!r})")

    async def fetch(self, url: str) -> bytes:
        """What the page gets from an address."""
        return base64.b64decode(await self.evaluate(f"fetch({url!r}).then({_BASE64_OF_ANSWER})"))

    async def screenshot(self, path: Path) -> None:
        """Save what is to be seen, once it does not change any more."""
        end = time.monotonic() + _PATIENCE_SECONDS
        before = b""
        while (now := base64.b64decode((await self.command("Page.captureScreenshot"))["data"])) != before:
            if time.monotonic() > end:
                raise TimeoutError(f"{path}: the page still changes after {_PATIENCE_SECONDS} s")
            before = now
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(now)


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A browser that knows nothing yet, with its profile in a new folder, and one empty tab in it."""
    program = find_browser()
    assert program is not None
    log = folder / "chromium.log"
    folder.mkdir()
    with _process([program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"], log) as process:
        # On a free port, which it says; Puppeteer finds it in the same way.
        server = _wait_for_output(process, log, r"(?<=DevTools listening on ws://)[^/\s]+(?=/)")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PATIENCE_SECONDS)) as session:
            async with session.get(f"http://{server}/json/list") as answer:
                tab = next(target for target in await answer.json() if target["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                await page.command("Page.enable")
                await page.command("Page.addScriptToEvaluateOnNewDocument", source=_DEEP)
                width, height = VIEW
                await page.command(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
                )
                yield page


@contextmanager
def _process(command: list[str], log: Path, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    # In a group of its own, so that no child outlives it; programs of this Python's environment are found first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=os.environ | {"PATH": path},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_PATIENCE_SECONDS)


def _wait_for_output(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    """The first match of a pattern in what a process prints."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        ended = process.poll() is not None or time.monotonic() > end
        output = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(pattern, output):
            return found[0]
        if ended:
            raise RuntimeError(
                f"{process.args}: no {pattern} in {_PATIENCE_SECONDS} s, exit code {process.returncode}:\n{output}"
            )
        time.sleep(_POLL_SECONDS)
