"""What a path is: finds out which kind, and asks the module that knows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan.errors import InputError
from gan.info.description import Description
from gan.sound.figure.reader import SUFFIXES as PICTURES
from gan.sound.recording import SUFFIXES as RECORDINGS
from gan.sound.recording import describe_unread_recordings, find_recordings

_EXPECTED = (
    "a picture of a spectrogram, a recording, a folder of either, a run, a checkpoint (.ckpt), or a .safetensors file "
    "of `gan export`, `gan invert` or `gan train-phase`"
)


def describe(path: Path) -> Description:
    """Describe a file or a folder.

    Raises:
        InputError: If it is missing, damaged, or nothing that this program knows.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give {_EXPECTED}")
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror or error})") from error


def _file(path: Path) -> Description:
    suffix = path.suffix.lower()
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; make or copy it again")
    if suffix == ".ckpt":
        from gan.info.runs import describe_checkpoint

        with _understood(path):
            return describe_checkpoint(path)
    if suffix == ".safetensors":
        from gan.info.weights import describe_weights

        with _understood(path):
            return describe_weights(path)
    if suffix in PICTURES:
        from gan.info.pictures import describe_picture

        return describe_picture(path)
    if suffix in RECORDINGS:
        from gan.info.recordings import describe_recording

        return describe_recording(path)
    with path.open("rb") as file:
        head = file.read(8)
    kind = suffix or "without suffix"
    raise InputError(f"{path}: a file {kind} that begins with {head!r}, where {_EXPECTED} was expected")


def _folder(path: Path) -> Description:
    from gan.data.listing import describe_unread_images
    from gan.info.pictures import add_pictures, describe_store, is_store, pictures_of
    from gan.info.recordings import add_recordings

    if is_store(path):
        return describe_store(path)
    if (path / "config.yaml").is_file():
        from gan.info.runs import describe_run

        with _understood(path):
            return describe_run(path)
    if next(path.glob("*/config.yaml"), None):
        from gan.info.runs import describe_runs

        return describe_runs(path)
    pictures = pictures_of(path)
    recordings = _recordings(path)
    lines = [*describe_unread_images(path).splitlines(), *describe_unread_recordings(path).splitlines()]
    unread = list(dict.fromkeys(lines))
    if not pictures and not recordings:
        advice = unread[0] if unread else f"give {_EXPECTED}"
        raise InputError(f"{path}: a folder without pictures, recordings or a run's config.yaml; {advice}")
    both = "pictures and recordings" if pictures and recordings else "pictures" if pictures else "recordings"
    described = Description(path, f"folder of {both}")
    if pictures:
        add_pictures(described, pictures)
    if recordings:
        add_recordings(described, recordings)
    described.add("unread", *unread)
    return described


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Whatever a file's text leads its reader into, where it says something else than expected, is one line."""
    try:
        yield
    except InputError:
        raise
    except (
        ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError, MemoryError
    ) as error:  # fmt: skip
        raise InputError(
            f"{path}: does not say what was expected ({type(error).__name__}: {error}); it is damaged, or of another "
            "version of this program"
        ) from error


def _recordings(path: Path) -> list[Path]:
    try:
        return find_recordings(path)
    except InputError:
        return []
