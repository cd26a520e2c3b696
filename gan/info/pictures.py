"""What a picture of a spectrogram, a folder of them, or a store is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from gan.data.index import Index
from gan.data.listing import find_images, has_images
from gan.data.store import INDEX, ImageStore
from gan.errors import InputError
from gan.info.description import Description, command, count, duration, grid, n_bytes
from gan.info.sample import evenly
from gan.sound.channel import MIX
from gan.sound.codec import ImageHeader, has_header, read_header, read_whole_header
from gan.sound.figure.figure import Figure, findings_table
from gan.sound.figure.options import FigureOptions
from gan.sound.figure.pixels import open_picture
from gan.sound.figure.reader import read_figure
from gan.sound.settings import SpectrogramSettings

STORE = ".store"


def describe_picture(path: Path) -> Description:
    """Describe an image of `gan encode`, or whatever `gan decode` reads.

    Raises:
        InputError: If it is damaged or shows no spectrogram.
    """
    return _image(path) if has_header(path) else _figure(path)


def _image(path: Path) -> Description:
    header = read_whole_header(path)
    described = Description(path, "spectrogram image")
    described.add("grid", grid(header.settings))
    seconds = header.n_samples / header.settings.sample_rate
    described.add("size", _size(header.settings, header.n_frames, seconds, path))
    level = (
        "all is silence" if header.level_db is None else f"white is {header.level_db:.1f} dB (a magnitude of 1: 0 dB)"
    )
    described.add("level", level)
    if (origin := header.origin) is not None:
        end = origin.start_second + seconds
        last = ", where it ends" if origin.last else ""
        gone = "" if (path.parent / origin.recording).exists() else " (not there any more)"
        channel = "" if origin.channel == MIX else f", channel {origin.channel}"
        place = f"{origin.start_second:.2f} s to {end:.2f} s{last}"
        described.add("of", f"{origin.recording}{gone}{channel}, {place}")
    described.add("about", header.description)
    described.add("next", command("gan", "decode", path))
    return described


def _figure(path: Path) -> Description:
    figure = read_figure(path, FigureOptions())
    described = Description(path, "array of a spectrogram" if figure.layout is None else "figure of a spectrogram")
    described.add("grid", grid(figure.settings))
    n_frames = figure.relative_db.shape[1]
    seconds = figure.settings.n_samples(n_frames) / figure.settings.sample_rate
    described.add("size", _size(figure.settings, n_frames, seconds, path))
    _add_findings(described, figure)
    described.add("next", command("gan", "decode", path, "--report"))
    return described


def _add_findings(described: Description, figure: Figure) -> None:
    described.add("read", *figure.table().splitlines())
    described.add("note", *figure.warnings)


def _size(settings: SpectrogramSettings, n_frames: int, seconds: float, path: Path) -> str:
    return f"{settings.n_freqs} frequencies x {n_frames:,} frames, {duration(seconds)}, {n_bytes(path.stat().st_size)}"


def add_pictures(described: Description, paths: Sequence[Path]) -> None:
    """Add what there is to say of the pictures of a folder: by its store if it has one, else by looking into some."""
    size = sum(path.stat().st_size for path in paths)
    store = _store_of(described.path / STORE)
    if store is None:
        _add_unread(described, paths, size)
    else:
        described.add("images", f"{_contents(store.images, store.settings)}, {n_bytes(size)}")
        described.add("grid", grid(store.settings))
        described.add("read", *findings_table(store.kind.findings).splitlines())
        state = "up to date" if _is_up_to_date(store, described.path, paths) else "of other files than these"
        described.add("store", f"{n_bytes(store.n_bytes)} in {described.path / STORE}, {state}")
        _add_problems(described, store)
    _add_labels(described, [path.relative_to(described.path) for path in paths])
    described.add("next", command("python", "train.py", "--data.images", described.path))


def describe_store(folder: Path) -> Description:
    """Describe the store of a folder of images.

    Raises:
        InputError: If it cannot be read.
    """
    store = _open(folder)
    described = Description(folder, "store of images, what a training reads")
    described.add("images", _contents(store.images, store.settings))
    described.add("grid", grid(store.settings))
    described.add("read", *findings_table(store.kind.findings).splitlines())
    described.add("size", n_bytes(store.n_bytes))
    _add_problems(described, store)
    images = folder.parent if folder.name == STORE else "IMAGES"
    options = [] if folder.name == STORE else ["--data.store", folder]
    described.add("next", command("python", "train.py", "--data.images", images, *options))
    return described


def contents_of(folder: Path) -> str:
    """What a store holds, in a few words; nothing if it cannot be read."""
    store = _store_of(folder)
    return "" if store is None else _contents(store.images, store.settings)


def is_store(folder: Path) -> bool:
    """Whether a folder looks like a store."""
    return (folder / INDEX).is_file() or folder.name == STORE


def pictures_of(folder: Path) -> list[Path]:
    """The pictures of a folder tree, sorted; none if there are none.

    Raises:
        InputError: If the folder cannot be listed.
    """
    return find_images(folder, folder / STORE) if has_images(folder) else []


def _open(folder: Path) -> ImageStore:
    try:
        return ImageStore(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{folder}: cannot be read as a store of images ({type(error).__name__}: {error}); `gan ingest` or a "
            "training builds it again"
        ) from error


def _store_of(folder: Path) -> ImageStore | None:
    try:
        return _open(folder)
    except InputError:
        return None


def _is_up_to_date(store: ImageStore, folder: Path, paths: Iterable[Path]) -> bool:
    now = {
        (path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)
        for path in paths
        for status in (path.stat(),)
    }
    return now.issuperset(store.images.versions) and len(now) == len(store.images) + len(store.skipped)


def _contents(images: Index, settings: SpectrogramSettings) -> str:
    n_frames = sum(images.n_frames)
    n_recordings = len(set(images.recording))
    seconds = n_frames * settings.hop_length / settings.sample_rate
    of = f"{count(len(images), 'image')} of {count(n_recordings, 'recording')}"
    return f"{of}, {n_frames:,} frames, {duration(seconds)}"


def _add_problems(described: Description, store: ImageStore) -> None:
    if store.skipped:
        described.add("left out", f"{count(len(store.skipped), 'image')}; {store.skipped[0]}")
    described.add("odd", *store.odd[:3])


def _add_unread(described: Description, paths: Sequence[Path], size: int) -> None:
    looked_at = evenly(paths)
    headers: list[ImageHeader] = []
    figures, problems = [], []
    for path in looked_at:
        try:
            if path.suffix.lower() == ".png" and has_header(path):
                headers.append(read_header(path))
            else:
                if path.suffix.lower() != ".npy":
                    open_picture(path).close()
                figures.append(path)
        except (InputError, OSError) as error:
            problems.append(str(error))
    share = len(paths) / len(looked_at)
    about = "" if share == 1 else "about "
    if headers:
        seconds = share * sum(header.n_samples / header.settings.sample_rate for header in headers)
        n_frames = round(share * sum(header.n_frames for header in headers))
        n_images = round(share * len(headers))
        length = f"{about}{n_frames:,} frames, {duration(seconds)}"
        described.add("images", f"{about}{count(n_images, 'image')}, {length}, {n_bytes(size)}")
        kinds = Counter(header.settings for header in headers).most_common()
        described.add("grid", *(f"{grid(settings)}{_of_them(n, kinds)}" for settings, n in kinds[:4]))
        if len(kinds) > 1:
            described.add("problem", "the images were made with different settings; keep one kind in the folder")
    if figures:
        n_figures = round(share * len(figures))
        described.add("figures", f"{about}{count(n_figures, 'picture')} that others drew, {n_bytes(size)}")
        if not headers:
            _add_one_figure(described, figures[len(figures) // 2])
    if problems:
        described.add("problems", f"{len(problems)} of {len(looked_at)} cannot be read; {problems[0]}")
    builder = command("gan", "ingest", described.path)
    described.add("store", f"none yet: {builder} builds it, or a training does")


def _add_one_figure(described: Description, path: Path) -> None:
    try:
        figure = read_figure(path, FigureOptions())
    except InputError as error:
        described.add("problem", f"one of them was looked at: {error}")
        return
    described.add("one", f"{path.relative_to(described.path)}: {grid(figure.settings)}")
    _add_findings(described, figure)


def _of_them(n: int, kinds: Sequence[object]) -> str:
    return "" if len(kinds) == 1 else f" ({n} of them)"


def _add_labels(described: Description, files: Sequence[Path]) -> None:
    """What `--data.labels folder` would call the images."""
    if any(len(file.parts) == 1 for file in files):
        return
    names = Counter(file.parts[0] for file in files)
    if len(names) < 2:
        return
    shown = ", ".join(f"{name} {n}" for name, n in sorted(names.items())[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    described.add("labels", f"{shown}{more}; told with --data.labels folder")
