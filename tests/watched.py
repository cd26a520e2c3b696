"""A page in a browser that is watched: what goes wrong in it, and what sounds."""

import asyncio
from pathlib import Path
from typing import Any

from browser import Page

# Runs before the page's own script. `started`: every sound that was begun, `when` by the clock that sounds follow;
# `level()`: what comes out, rms; `levels`: gains that were asked for; `shifts`: what was moved by something else.
_WATCH = """
window.wrong = []; window.times = {}; window.started = [];
for (const name of ['error', 'warn']) {
  const say = console[name]; console[name] = (...words) => { wrong.push(words.join(' ')); say(...words); };
}
addEventListener('error', event => wrong.push(event.message ?? event.target.outerHTML.slice(0, 200)), true);
addEventListener('unhandledrejection', event => wrong.push(String(event.reason)));
addEventListener('securitypolicyviolation', event => wrong.push(`${event.violatedDirective} ${event.blockedURI}`));
window.shifts = [];
new PerformanceObserver(list => shifts.push(...list.getEntries().map(each => each.value)))
  .observe({ type: 'layout-shift', buffered: true });
addEventListener('DOMContentLoaded', () => { times.parsed = performance.now(); });
const { decodeAudioData } = BaseAudioContext.prototype;
BaseAudioContext.prototype.decodeAudioData = function (...given) {
  const promise = decodeAudioData.apply(this, given);
  promise.then(() => { times.playable ??= performance.now(); });
  return promise;
};
const { start } = AudioBufferSourceNode.prototype;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  started.push({ duration: this.buffer.duration, rate: this.buffer.sampleRate, offset, when });
  return start.call(this, when, offset);
};
const { linearRampToValueAtTime } = AudioParam.prototype;
window.levels = [];
AudioParam.prototype.linearRampToValueAtTime = function (value, when) {
  if (value) levels.push(value);
  return linearRampToValueAtTime.call(this, value, when);
};
const { connect } = AudioNode.prototype;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    window.tap ??= new AnalyserNode(this.context, { fftSize: 2048 });
    connect.call(this, tap);
  }
  return connect.call(this, target, ...rest);
};
window.level = () => {
  const wave = new Float32Array(2048);
  window.tap?.getFloatTimeDomainData(wave);
  return Math.sqrt(wave.reduce((sum, each) => sum + each * each, 0) / wave.length);
};
window.place = () => document.querySelector('.chosen .seek').valueAsNumber;
window.epoch = to => {
  const slider = document.getElementById('epoch');
  slider.value = to;
  slider.dispatchEvent(new Event('input'));
};
"""

# Of keys that the browser itself answers.
_CODES = {"Tab": 9, "Escape": 27}


async def watch(page: Page) -> None:
    """Watch whatever is opened from now on."""
    await page.command("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)


async def open_listening(page: Page, path: Path) -> dict[str, float]:
    """Open a page of `gan listen`; gives when its first sound was "playable" and all of it "parsed", in ms."""
    await page.command("Page.navigate", url="about:blank")
    await page.command("Page.navigate", url=path.as_uri())
    times: dict[str, float] = await page.wait_for("window.times?.playable && times.parsed && times")
    return times


async def press(page: Page, *keys: str) -> None:
    """Press keys, one after the other."""
    for key in keys:
        code: dict[str, Any] = {"text": key} if len(key) == 1 else {}
        if key in _CODES:
            code = {"windowsVirtualKeyCode": _CODES[key]}
        await page.command("Input.dispatchKeyEvent", type="keyDown", key=key, **code)
        await page.command("Input.dispatchKeyEvent", type="keyUp", key=key)
        # What is drawn and heard follows in the next frame.
        await page.evaluate("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        await asyncio.sleep(0)
