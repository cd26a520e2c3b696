"""What every phase reconstruction has in common: checked magnitudes in, a start, blocks, the asked length out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.phase.consistency import Consistency
from gan.sound.settings import SpectrogramSettings

# Frames that are refined at a time: a minute and a half at 2048/512 and 22,050 Hz, about 100 MB.
_BLOCK_FRAMES = 4096
_BLOCK_FRAMES_ON_DEVICE = 32768


class PhaseReconstructor(ABC):
    """Magnitude to waveform: a phase to start from, and what is made of it.

    Args:
        settings: The grid that the magnitudes were made on.
    """

    def __init__(self, settings: SpectrogramSettings) -> None:
        self.settings = settings

    @torch.no_grad()
    def __call__(self, magnitude: Tensor, n_samples: int | None = None, phase: Tensor | None = None) -> Tensor:
        """Reconstruct waveforms.

        Recordings of any length are refined in overlapping blocks, so memory beside the magnitude and its phase is
        bounded.

        Args:
            magnitude: Linear amplitude >= 0, shape (..., n_freqs, n_frames), any device. It is not changed.
            n_samples: Length of the result; None for `settings.n_samples(n_frames)`. Behind the last frame's hop there
                is silence.
            phase: The phase to start from instead of the method's own, of the same shape, in radians: the angle of an
                STFT as `gan.sound.spectrogram.stft` and librosa.stft make it.

        Returns:
            Shape (..., n_samples), float32, on the same device.

        Raises:
            InputError: If a shape does not fit, the magnitude holds a value that is none, or what was found grew
                beyond all bounds, which a large relaxation leads to.
        """
        target, peak = self._target_and_peak(magnitude)
        n_frames = target.shape[1]
        length = self.settings.n_samples(n_frames) if n_samples is None else n_samples
        # Later samples are seen by the last window's tail only, if at all.
        seen = min(length, n_frames * self.settings.hop_length)
        if phase is None:
            started = self.start(target)
        elif phase.shape == magnitude.shape:
            items = phase.reshape(-1, *magnitude.shape[-2:])
            started = torch.polar(target, items.to(target.device, torch.float32).transpose(-1, -2))
        else:
            raise InputError(f"the phase's shape is {tuple(phase.shape)}; the magnitude's {tuple(magnitude.shape)}")
        waveform = target.new_zeros(len(target), length)
        for rows, first, last in self._blocks(target):
            self._refine_block(target[rows], started[rows], waveform[rows, :seen], first, last)
        if not waveform.isfinite().all():
            raise InputError(
                "the search for the phase diverged; lower its relaxation and momentum, or take their defaults"
            )
        return waveform.mul_(peak).reshape(*magnitude.shape[:-2], length)

    @abstractmethod
    def start(self, target: Tensor) -> Tensor:
        """The STFT that a method starts from.

        Args:
            target: Linear amplitude, shape (batch, n_frames, n_freqs), float32, contiguous; the loudest cell of each
                item is 1, or all are 0.

        Returns:
            The target with a phase: complex, same shape and device.
        """

    @property
    def context_frames(self) -> int:
        """Frames on both sides of a block that are refined with it and thrown away, so that blocks leave no seam."""
        return 16

    def refine(self, consistency: Consistency, waveform: Tensor) -> Tensor:
        """Bring waveforms nearer to their magnitudes.

        Args:
            consistency: The magnitudes, `consistency.target`, and what leads from waveforms to STFTs and back.
            waveform: What the start sounds like, as of `consistency.waveform_from_stft`.

        Returns:
            Waveforms of the same shape.
        """
        return waveform

    def _refine_block(self, target: Tensor, started: Tensor, waveform: Tensor, first: int, last: int) -> None:
        """Write the waveform of frames first to last, the last one left out."""
        hop_length, n_frames, n_samples = self.settings.hop_length, target.shape[1], waveform.shape[-1]
        before, behind = max(0, first - self.context_frames), min(n_frames, last + self.context_frames)
        consistency = Consistency(self.settings, target[:, before:behind].contiguous(), n_samples, before)
        refined = self.refine(consistency, consistency.waveform_from_stft(started[:, before:behind]))
        begin, end = first * hop_length, n_samples if last == n_frames else min(n_samples, last * hop_length)
        part = refined[:, max(0, consistency.start + begin) :][:, : max(0, end - begin)]
        waveform[:, begin : begin + part.shape[-1]] = part

    def _blocks(self, target: Tensor) -> Iterator[tuple[slice, int, int]]:
        """Rows and frames that are refined together: all frames of some rows, or a stretch of one row."""
        n_rows, n_frames, _ = target.shape
        size = _BLOCK_FRAMES if target.device.type == "cpu" else _BLOCK_FRAMES_ON_DEVICE
        n_together = max(1, size // n_frames)
        for row in range(0, n_rows, n_together):
            for first in range(0, n_frames, size):
                yield slice(row, row + n_together), first, min(first + size, n_frames)

    def _target_and_peak(self, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Frame after frame in memory, so that transforms run over contiguous rows; and each item's loudest cell."""
        n_freqs = magnitude.shape[-2]
        if n_freqs != self.settings.n_freqs:
            raise InputError(
                f"the magnitude has {n_freqs} frequencies; n_fft {self.settings.n_fft} has {self.settings.n_freqs}"
            )
        if not magnitude.numel():
            raise InputError(f"the magnitude's shape is {tuple(magnitude.shape)}: there is nothing in it")
        items = magnitude.reshape(-1, *magnitude.shape[-2:]).to(torch.float32)
        lowest, highest = torch.aminmax(items)
        if not (lowest >= 0 and highest < torch.inf):
            item, frequency, frame = (int(index) for index in torch.nonzero(~((items >= 0) & (items < torch.inf)))[0])
            raise InputError(
                f"the magnitude is {float(items[item, frequency, frame])} at frequency {frequency}, frame {frame}"
                f"{f', item {item}' if len(items) > 1 else ''}; it must be a number of 0 or more"
            )
        peak = items.amax((-1, -2))[:, None]
        scale = torch.where(peak > 0, peak, 1.0)[..., None]
        return (items.transpose(-1, -2) / scale).contiguous(), peak


def random_phase(target: Tensor, seed: int) -> Tensor:
    """Uniform in [0, 2 pi), shape of the target, on the CPU; the same seed gives the same numbers."""
    return torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)).mul_(2.0 * math.pi)


def each_item(found: Callable[..., Tensor], target: Tensor, *others: Tensor) -> Tensor:
    """Do something with each item of a batch on the CPU, on torch's number of threads.

    Args:
        found: Called with an item of each tensor; gives the item's result.
        target: Shape (batch, ...), any device.
        others: More tensors of as many items.

    Returns:
        The results, stacked, on the target's device.
    """
    tensors = [tensor.cpu() for tensor in (target, *others)]
    if len(target) == 1:
        return found(*(tensor[0] for tensor in tensors))[None].to(target.device)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return torch.stack(list(pool.map(found, *tensors))).to(target.device)


# What a method is before the grid is known, as in a configuration.
PhaseMethod = Callable[[SpectrogramSettings], PhaseReconstructor]
