"""A page on which runs are judged: sounds of all epochs, their pictures and the curves, in one file or beside it."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from gan.errors import InputError
from gan.files import atomic_write
from gan.listen.about import about
from gan.listen.chart import LEFT, N_COLOURS, RIGHT, WIDTH, draw_charts
from gan.listen.clips import Clip
from gan.listen.curves import read_curves
from gan.listen.history import History, places_in
from gan.listen.sounds import Sound, matching_gains_db

# What tells such a page from other files: it may be written again.
MARK = '<meta name="generator" content="gan listen">'

# As they stand beside each other.
_ROLES = ("real", "inverted", "sample", "neighbour")
_MIME = {".flac": "audio/flac", ".jpg": "image/jpeg"}


@dataclass
class _Store:
    """The files that a page shows: each once, by number."""

    link_from: Path | None
    clips: list[dict[str, Any]] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, clip: Clip) -> int | None:
        """The number of a clip; None if it is damaged."""
        try:
            contents = [path.read_bytes() for path in clip]
            digest = hashlib.sha256(b"".join(contents)).hexdigest()
            if digest in self._known:
                return self._known[digest]
            sound = Sound.of(clip)
        except (InputError, OSError) as error:
            self.skipped.append(str(error))
            return None
        number = self._known[digest] = len(self.clips)
        self.sounds.append(sound)
        self.clips.append(
            {
                "seconds": round(sound.seconds, 6),
                "rate": sound.sample_rate,
                "outline": base64.b64encode(sound.outline).decode("ascii"),
                "files": [self._reference(path, content) for path, content in zip(clip, contents, strict=True)],
            }
        )
        return number

    def _reference(self, path: Path, content: bytes) -> str:
        if self.link_from is not None:
            return quote(Path(os.path.relpath(path.resolve(), self.link_from)).as_posix())
        element = f"file-{len(self.contents)}"
        text = base64.b64encode(content).decode("ascii")
        mime = _MIME[path.suffix]
        self.contents.append(f'<script type="text/plain" id="{element}" data-mime="{mime}">{text}</script>')
        return element


def write_history_page(histories: Sequence[History], output: Path, link: bool) -> list[str]:
    """Write the page of some runs.

    Args:
        histories: The runs, thinned to what is to be on it.
        output: The page.
        link: Whether it names the files of the clips relative to itself, which then have to stay where they are, rather
            than holding them.

    Returns:
        What was skipped, and why.

    Raises:
        InputError: If there is another file at `output`, it cannot be written, or a run's configuration cannot be read.
    """
    _refuse_other_files(output)
    store = _Store(output.resolve().parent if link else None)
    for history in histories:
        store.skipped += [f"{path}: the other file of this clip is missing" for path in history.halves]
    references = [_panes(store, history, [history.references]) for history in histories]
    samples = [_panes(store, history, [moment.clips for moment in history.moments]) for history in histories]
    if not store.clips:
        raise InputError(f"{histories[0].run.folder}: none of its clips can be read; {store.skipped[0]}")
    gains = matching_gains_db([sound.loudness for sound in store.sounds])
    for clip, gain in zip(store.clips, gains, strict=True):
        clip["gain"] = round(gain, 2)
    names = [history.name for history in histories]
    last_batch = max(history.moments[-1].batches_seen for history in histories)
    charts = draw_charts(names, [read_curves(history.run) for history in histories], last_batch)
    data = {
        "linked": link,
        "runs": [
            {"name": history.name, "moments": [[each.epoch, each.batches_seen] for each in history.moments]}
            for history in histories
        ],
        "clips": store.clips,
        "loudest": max(max(sound.outline) for sound in store.sounds) or 1,
        "references": _cards(references),
        "samples": _cards(samples),
        "charts": charts.lines,
        "chart": {"left": LEFT, "right": WIDTH - RIGHT, "width": WIDTH, "batches": charts.batches},
    }
    resources = files("gan.listen")
    page = Template(resources.joinpath("history.html").read_text(encoding="utf-8")).substitute(
        mark=MARK,
        title=escape(" and ".join(names)),
        policy=_policy(link),
        style=resources.joinpath("history.css").read_text(encoding="utf-8"),
        script=resources.joinpath("history.js").read_text(encoding="utf-8"),
        about="\n".join(_about(history, number, len(histories) > 1) for number, history in enumerate(histories)),
        charts=charts.html,
        data=_json(data),
        contents="\n".join(store.contents),
    )
    try:
        with atomic_write(output) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error})") from error
    return store.skipped


def _refuse_other_files(output: Path) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder; the page is a file, such as {output / 'index.html'}")
    if output.exists():
        with output.open("rb") as file:
            if MARK.encode() not in file.read(1000):
                raise InputError(f"{output} is no page of gan listen, so it is left alone; give another --output")


def _panes(
    store: _Store, history: History, moments: Sequence[dict[str, Clip]]
) -> dict[tuple[int, str], dict[str, Any]]:
    """By index and role, the numbers of the clips of each moment, and the label."""
    panes: dict[tuple[int, str], dict[str, Any]] = {}
    # What is looked at first comes first: the last epoch.
    for when in tqdm(range(len(moments))[::-1], desc=f"read {history.name}", unit="epoch", disable=None):
        for place, clip in places_in(moments[when]).items():
            if (number := store.add(clip)) is not None:
                empty: list[int | None] = [None] * len(moments)
                pane = panes.setdefault((place.number, place.role), {"label": place.label, "clips": empty})
                pane["clips"][when] = number
    return panes


def _cards(runs: Sequence[dict[tuple[int, str], dict[str, Any]]]) -> list[dict[str, Any]]:
    """What has one index, of all runs."""
    cards = []
    for index in sorted({index for panes in runs for index, _ in panes}):
        rows: list[dict[str, Any]] = []
        for number, panes in enumerate(runs):
            own = [{"role": role, **panes[index, role]} for role in _ROLES if (index, role) in panes]
            same = next((row for row in rows if row["panes"] == own), None)
            if same:
                # Runs on the same data have the same references.
                same["runs"].append(number)
            elif own:
                rows.append({"runs": [number], "panes": own})
        cards.append({"index": index, "rows": rows})
    return cards


def _about(history: History, number: int, several: bool) -> str:
    lines = about(history.run)
    first, last = history.moments[0], history.moments[-1]
    heard = f"{len(history.moments)} epochs, from {first.epoch} to {last.epoch}"
    if left_out := history.n_moments - len(history.moments):
        heard += f"; {left_out} others are left out of this page to keep it small"
    lines["heard"] = heard
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines.items() if text)
    key = f'<span class="key colour-{number % N_COLOURS}"></span>' if several else ""
    return f"<section><h2>{key}{escape(history.name)}</h2><dl>{rows}</dl></section>"


def _policy(link: bool) -> str:
    """Nothing is fetched from anywhere: what a page may load."""
    beside = " 'self' file:" if link else ""
    return (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        f"img-src blob: data:{beside}; media-src blob:{beside}"
    )


def _json(data: Any) -> str:
    """JSON that ends no <script>, whatever stands in it."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
