"""The sound of a clip as a page needs it: length, outline, loudness."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from gan.errors import InputError
from gan.files import refuse_pipes
from gan.listen.clips import Clip
from gan.sound.recording import open_as_named, quieter_db

# Columns of an outline: about as many as a picture on the page has pixels in half its width.
_N_COLUMNS = 200
# BS.1770's gating blocks, in seconds; a shorter clip is one block.
_BLOCK_SECONDS = 0.4
_LEAST_SAMPLES = 16
# Clips that are so much quieter than most stay quieter: all others would have to go down to them.
_REACH_DB = 12.0
_BLOCK_FRAMES = 1 << 16
# Beyond what any crop of a training is: a minute and a half at 44.1 kHz, eight thousand frames of two thousand
# frequencies. A few kB of silence may claim to be hours, and a few kB of one color any size.
_MOST_SAMPLES = 1 << 22
_MOST_SECONDS = 900.0
_MOST_PIXELS = 1 << 24


class Sound(NamedTuple):
    """What is known of a clip.

    Attributes:
        clip: Its files.
        seconds: Length.
        sample_rate: In Hz.
        loudness: BS.1770's, in LUFS; minus infinity for silence.
        outline: Largest absolute sample of each of 200 stretches, fewer if there are fewer samples; 255: full scale.
        quieter_db: By how much it was made quieter so that it does not clip; 0 for most.
    """

    clip: Clip
    seconds: float
    sample_rate: int
    loudness: float
    outline: bytes
    quieter_db: float = 0.0

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """Read a clip.

        Raises:
            InputError: If one of its files is damaged, of another format, or larger than any clip is.
        """
        try:
            with open_as_named(clip.sound) as file:
                rate, n_samples = file.samplerate, file.frames
                if n_samples * file.channels > _MOST_SAMPLES or n_samples > _MOST_SECONDS * rate:
                    claimed = f"it claims {file.channels} x {n_samples} samples at {rate} Hz"
                    most = f"a clip has at most {_MOST_SAMPLES} and {_MOST_SECONDS:g} s"
                    raise InputError(f"{clip.sound}: cannot be read as sound ({claimed}, {most})")
                # Not all at once: a damaged header may claim any number of samples.
                blocks = [np.empty(0, np.float32)]
                while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                    blocks.append(block.mean(axis=1))
                waveform, quieter = np.concatenate(blocks), quieter_db(file.comment)
        except InputError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{clip.sound}: cannot be read as sound ({error})") from error
        if len(waveform) < max(n_samples, 1):
            raise InputError(f"{clip.sound}: truncated, {len(waveform)} of {n_samples} samples are there")
        _check_picture(clip.picture)
        return cls(clip, n_samples / rate, rate, loudness(waveform, rate), _outline(waveform), quieter)


def loudness(waveform: NDArray[np.floating], sample_rate: int) -> float:
    """How loud a sound is by ITU-R BS.1770-4, in LUFS.

    Args:
        waveform: Shape (n_samples,), full scale 1. What is shorter than a gating block of 0.4 s is one block.
        sample_rate: In Hz.

    Returns:
        LUFS; minus infinity where no block is above -70.
    """
    import pyloudnorm

    if len(waveform) < _LEAST_SAMPLES:
        return -math.inf
    # A little less than the clip: seconds times rate may be a little more than the samples that they are of.
    block = min(_BLOCK_SECONDS, (len(waveform) - 0.5) / sample_rate)
    # At a rate that is nobody's, as a damaged header says it, the standard's filter runs away.
    with np.errstate(over="ignore", invalid="ignore"):
        found = pyloudnorm.Meter(sample_rate, block_size=block).integrated_loudness(waveform.astype(np.float64))
    return float(found) if math.isfinite(found) else -math.inf


def matching_gains_db(loudnesses: Sequence[float]) -> list[float]:
    """Gains that make sounds as loud as each other: none above 0 dB, so nothing clips and any player can do it.

    The quietest sets the level, but no lower than 12 dB below the median; what is quieter stays as it is.

    Args:
        loudnesses: In LUFS.
    """
    heard = [each for each in loudnesses if math.isfinite(each)]
    if not heard:
        return [0.0] * len(loudnesses)
    target = max(min(heard), statistics.median(heard) - _REACH_DB)
    return [min(0.0, target - each) if math.isfinite(each) else 0.0 for each in loudnesses]


def _check_picture(path: Path) -> None:
    """Refuse what is no JPEG, is damaged, or is larger than the picture of any clip."""
    try:
        refuse_pipes(path)
        # By its class: Image.open tries every format, whatever the name says.
        with path.open("rb") as file, JpegImagePlugin.JpegImageFile(file) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels, a clip's has at most {_MOST_PIXELS}")
            if "progressive" in picture.info:
                # A few kB of its passes over the pixels take hours.
                raise ValueError("a progressive JPEG, which is not written for clips")
            picture.load()
    except InputError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them into.
        raise InputError(f"{path}: cannot be read as a picture ({error or type(error).__name__})") from error


def _outline(waveform: NDArray[np.float32]) -> bytes:
    stretches = np.array_split(np.abs(waveform), min(_N_COLUMNS, len(waveform)))
    return bytes(round(255 * min(1.0, float(stretch.max()))) for stretch in stretches)
