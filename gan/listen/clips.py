"""What was heard of a training, as files in the run's folder: sounds and their pictures, epoch by epoch."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.files import atomic_write, remove_parts
from gan.sound.recording import write_recording

_FOLDER = "listen"
_REFERENCES = "references"
_MOMENT = re.compile(r"epoch_(\d{1,12})_batch_(\d{1,15})")
_SOUND, _PICTURE = ".flac", ".jpg"


class Clip(NamedTuple):
    """A sound (FLAC) and its picture (JPEG, low frequencies at the bottom)."""

    sound: Path
    picture: Path


class Moment(NamedTuple):
    """What was heard after an epoch.

    Attributes:
        epoch: Counts from 1.
        batches_seen: The x axis of the run's curves.
        clips: By their names, which are those in TensorBoard.
    """

    epoch: int
    batches_seen: int
    clips: dict[str, Clip]


class Clips:
    """The clips of a run: `listen/references/NAME.flac` and `listen/epoch_0001_batch_000084/NAME.flac`.

    TensorBoard draws lots among the clips that it shows unless it is told otherwise; here is every one. All clips of a
    run are played with one gain, and are as long as each other; one that is louder than full scale is made quieter, and
    its comment says by how much.

    Args:
        run_folder: The run's folder.
    """

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / _FOLDER

    def references(self) -> dict[str, Clip]:
        """Real and inverted sounds, by their names."""
        return _clips_in(self.folder / _REFERENCES)

    def moments(self) -> list[Moment]:
        """What was heard, from the first epoch that is kept to the last."""
        return [Moment(*when, _clips_in(folder)) for when, folder in sorted(self._moments())]

    def write(
        self,
        name: str,
        waveform: NDArray[np.float32],
        sample_rate: int,
        picture: bytes,
        when: tuple[int, int] | None,
    ) -> None:
        """Write a clip, in the place of one of that name.

        Args:
            name: Its name.
            waveform: Shape (n_samples,), full scale 1; see `write_recording`.
            sample_rate: In Hz.
            picture: A JPEG, the lowest frequency at the bottom.
            when: Epoch, from 1, and batches seen; None for a reference.
        """
        folder = self.folder / (_REFERENCES if when is None else "epoch_{:04}_batch_{:06}".format(*when))
        about = name if when is None else "{}, epoch {}, batch {}".format(name, *when)
        write_recording(folder / f"{name}{_SOUND}", waveform, sample_rate, comment=about, sync=False)
        with atomic_write(folder / f"{name}{_PICTURE}", sync=False) as part:
            part.write_bytes(picture)

    def thin(self, most: int, every: int = 1) -> None:
        """Delete every second epoch, or three of four, and so on, until so few are left; never the first or the last.

        Args:
            most: Most epochs that are kept, 2 or more.
            every: Epochs from one that was written to the next.
        """
        found = sorted(self._moments())
        while found and found[-1][0][0] // every + 2 > most:
            every *= 2
        for (epoch, _), folder in found[1:-1]:
            if epoch % every:
                shutil.rmtree(folder)

    def forget_after(self, batches_seen: int) -> None:
        """Delete what a run heard after the checkpoint that it goes on from, and halves of files: they come again."""
        remove_parts(self.folder)
        for (_, batches), folder in self._moments():
            if batches > batches_seen:
                shutil.rmtree(folder)

    def _moments(self) -> Iterator[tuple[tuple[int, int], Path]]:
        if self.folder.is_dir():
            for folder in self.folder.iterdir():
                if found := _MOMENT.fullmatch(folder.name):
                    yield (int(found[1]), int(found[2])), folder


def _clips_in(folder: Path) -> dict[str, Clip]:
    """Those that are whole, in the order of their names."""
    clips = [Clip(path, path.with_suffix(_PICTURE)) for path in sorted(folder.glob(f"*{_SOUND}"))]
    return {clip.sound.stem: clip for clip in clips if clip.picture.exists()}
