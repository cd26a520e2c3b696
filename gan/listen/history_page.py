"""A page on which runs are judged: sounds of all epochs, their pictures and the curves, in one file or beside it."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from gan.errors import InputError
from gan.files import atomic_write, refuse_pipes
from gan.listen.about import about
from gan.listen.chart import LEFT, N_COLOURS, RIGHT, WIDTH, draw_charts
from gan.listen.clips import Clip
from gan.listen.curves import read_curves
from gan.listen.history import History, Place, places_in
from gan.listen.sounds import Sound, matching_gains_db
from gan.progress import each

# What tells such a page from other files: it may be written again.
MARK = '<meta name="generator" content="gan listen">'

# Of one file of a clip; a minute and a half of noise has half of it.
_MOST_BYTES = 1 << 24
# As they stand beside each other.
_ROLES = ("real", "inverted", "sample", "neighbour")


class _Store:
    """The clips that a page shows: each once, by number.

    Attributes:
        clips: What a script has to know of each.
        sounds: What is known of each.
        skipped: Which could not be read, and why.
        elements: What the page has to hold.
        scripts: What has to lie beside it: names of scripts, and by number of a clip the sounds in them.

    Args:
        output: The page.
        link: Whether the clips lie beside it.
    """

    def __init__(self, output: Path, link: bool) -> None:
        self.clips: list[dict[str, Any]] = []
        self.sounds: list[Sound] = []
        self.skipped: list[str] = []
        self.elements: list[str] = []
        self.scripts: dict[str, dict[str, str]] = {}
        self.folder = output.with_name(f"{output.stem}_sounds")
        self._link = link
        self._known: dict[str, int] = {}

    def add(self, clip: Clip, script: str) -> int | None:
        """The number of a clip; None if it is damaged.

        Args:
            clip: The clip.
            script: Name of the script that is to hold its sound, if it has to lie beside the page.
        """
        try:
            sound_file, picture_file = map(_content, clip)
            digest = hashlib.sha256(sound_file + picture_file).hexdigest()
            if digest in self._known:
                return self._known[digest]
            sound = Sound.of(clip)
        except (InputError, OSError) as error:
            self.skipped.append(str(error))
            return None
        number = self._known[digest] = len(self.clips)
        self.sounds.append(sound)
        about = {
            "seconds": round(sound.seconds, 6),
            "rate": sound.sample_rate,
            "outline": _base64(sound.outline),
            "sound": f"sound-{number}",
        }
        if sound.quieter_db:
            about["quieter"] = sound.quieter_db
        if self._link:
            self.scripts.setdefault(script, {})[f"sound-{number}"] = _base64(sound_file)
            picture = os.path.relpath(clip.picture.resolve(), self.folder.parent.resolve())
            about |= {"picture": quote(Path(picture).as_posix()), "script": quote(f"{self.folder.name}/{script}")}
        else:
            about["picture"] = f"picture-{number}"
            for name, content in (("sound", sound_file), ("picture", picture_file)):
                self.elements.append(f'<script type="text/plain" id="{name}-{number}">{_base64(content)}</script>')
        self.clips.append(about)
        return number

    def write_scripts(self) -> None:
        """Write what lies beside the page, and remove what lay beside the one before it."""
        for name, sounds in self.scripts.items():
            with atomic_write(self.folder / name, sync=False) as part:
                part.write_text(f"heard({_json(sounds)})", encoding="utf-8")
        for path in self.folder.glob("run_*.js"):
            if path.name not in self.scripts:
                path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def write_history_page(histories: Sequence[History], output: Path, link: bool) -> list[str]:
    """Write the page of some runs.

    Args:
        histories: The runs, thinned to what is to be on it.
        output: The page.
        link: Whether sounds lie in a folder beside it and pictures where they are, rather than all of it in the page.

    Returns:
        What was skipped, and why.

    Raises:
        InputError: If there is another file at `output`, it cannot be written, or a run's configuration cannot be read.
    """
    _refuse_other_files(output)
    store = _Store(output, link)
    for history in histories:
        store.skipped += [str(InputError(f"{path}: the other file of this clip is missing")) for path in history.halves]
    references, samples = [], []
    for number, history in enumerate(histories):
        references.append(_panes(store, [(f"run_{number}_references.js", places_in(history.references, ()))]))
    for number, history in enumerate(histories):
        names = history.names
        moments = [
            (f"run_{number}_epoch_{moment.epoch:04}.js", places_in(moment.clips, names)) for moment in history.moments
        ]
        samples.append(_panes(store, moments))
    if not store.clips:
        raise InputError(f"{histories[0].run.folder}: none of its clips can be read; {store.skipped[0]}")
    gains = matching_gains_db([sound.loudness for sound in store.sounds])
    for clip, gain in zip(store.clips, gains, strict=True):
        clip["gain"] = round(gain, 2)
    titles = [history.name for history in histories]
    last_batch = max(history.moments[-1].batches_seen for history in histories)
    charts = draw_charts(titles, [read_curves(history.run) for history in histories], last_batch)
    data = {
        "runs": [
            {"name": history.name, "moments": [[moment.epoch, moment.batches_seen] for moment in history.moments]}
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
        title=escape(" and ".join(titles)),
        policy=_policy(link),
        style=resources.joinpath("history.css").read_text(encoding="utf-8"),
        script=resources.joinpath("history.js").read_text(encoding="utf-8"),
        about="\n".join(_about(history, number, len(histories) > 1) for number, history in enumerate(histories)),
        charts=charts.html,
        data=_json(data),
        elements="\n".join(store.elements),
    )
    try:
        store.write_scripts()
        with atomic_write(output) as part:
            part.write_text(page, encoding="utf-8", errors="replace")
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


def _panes(store: _Store, moments: Sequence[tuple[str, dict[Place, Clip]]]) -> dict[tuple[int, str], dict[str, Any]]:
    """By number and role, the label and the clips of each moment, which has a script's name."""
    panes: dict[tuple[int, str], dict[str, Any]] = {}
    # What is looked at first comes first: the last epoch.
    for when in each(range(len(moments))[::-1], "listen", "epoch"):
        script, clips = moments[when]
        for place, clip in clips.items():
            if (number := store.add(clip, script)) is not None:
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


def _content(path: Path) -> bytes:
    refuse_pipes(path)
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise InputError(f"{path}: {size} bytes, where a clip's file has at most {_MOST_BYTES}")
    return path.read_bytes()


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
    """What the page may load: nothing from anywhere else."""
    beside = " 'self' file:" if link else ""
    return f"default-src 'none'; script-src 'unsafe-inline'{beside}; style-src 'unsafe-inline'; img-src data:{beside}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _json(data: Any) -> str:
    """JSON that ends no <script>, whatever stands in it."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
