"""Cells of recordings' spectrograms with the true steps of their phase."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from gan.errors import InputError
from gan.progress import each, say
from gan.seed import derive_seed
from gan.sound.channel import MIX, Channel, check_channel
from gan.sound.mixdown import Mixdown
from gan.sound.phase.cells import level_of
from gan.sound.phase.steps import features_of, true_steps
from gan.sound.recording import describe_unread_recordings, find_recordings, windows
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import stft

_EXCERPT_SECONDS = 10
# Excerpts of a recording that can spare one.
_LONG = 4
# Cells this far below the loudest one, -66 dB, say nothing.
_QUIETEST = 5e-4
_EXCERPTS_AN_EPOCH = 64
# No recording has more, in Hz.
_HIGHEST_RATE = 1_000_000
# Above it only the loudest cell of all is drawn.
_HIGHEST_POWER = 10


class StepData(LightningDataModule):
    """Draws cells from excerpts of recordings, others in each epoch, louder ones more often.

    Excerpts are also played backwards and with their spectrum turned over (every second sample negated): the relations
    between magnitude and phase stay, and there is four times as much to learn from. The network is to be the same for
    all lengths of window, so each excerpt is seen through a window of random length.

    Args:
        recordings: A folder of sound files, or one.
        sample_rate: Hz that they are resampled to.
        n_ffts: Lengths of Hann windows, a quarter of one apart.
        minutes: How much of the recordings is kept in memory and learnt from, at most.
        batch_size: Cells a batch.
        batches_per_epoch: Batches an epoch.
        loudness_power: Cells are drawn with the likelihood of their magnitude to this power: 0 draws all above -66 dB
            alike, 1 hardly any quiet ones.
        validation_fraction: How much of the recordings, from their ends, is only listened to.
        seed: The run's seed.
        channel: Which channel of the recordings: mix (of all), left, right, or its number, from 1.

    Raises:
        InputError: If an option is out of range.
    """

    def __init__(
        self,
        recordings: Path = Path("recordings"),
        sample_rate: int = 22050,
        n_ffts: list[int] = [512, 1024, 2048],  # noqa: B006
        minutes: float = 10.0,
        batch_size: int = 4096,
        batches_per_epoch: int = 200,
        loudness_power: float = 0.3,
        validation_fraction: float = 0.1,
        seed: int = 0,
        channel: Channel = MIX,
    ) -> None:
        super().__init__()
        check_channel(channel)
        for name, value in (("minutes", minutes), ("batch_size", batch_size), ("batches_per_epoch", batches_per_epoch)):
            if not value > 0:
                raise InputError(f"data.{name} is {value}; it must be above 0")
        if not 0 < validation_fraction < 1:
            raise InputError(f"data.validation_fraction is {validation_fraction}; it must lie between 0 and 1")
        if not 1 <= sample_rate <= _HIGHEST_RATE:
            raise InputError(f"data.sample_rate is {sample_rate}; it must lie in [1, {_HIGHEST_RATE}], 22050 is usual")
        if not 0 <= loudness_power <= _HIGHEST_POWER:
            raise InputError(
                f"data.loudness_power is {loudness_power}; it must lie in [0, {_HIGHEST_POWER}], 0.3 is usual"
            )
        if not n_ffts or any(n_fft < 16 or n_fft % 8 for n_fft in n_ffts):
            raise InputError(f"data.n_ffts is {n_ffts}; they must be multiples of 8, as [512, 1024, 2048]")
        self.recordings = recordings
        self.n_ffts = list(n_ffts)
        self.sample_rate = sample_rate
        self.minutes = minutes
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.loudness_power = loudness_power
        self.validation_fraction = validation_fraction
        self.seed = seed
        self.channel = channel
        self.excerpts: list[Tensor] = []
        self.validation_excerpts: list[Tensor] = []

    def setup(self, stage: str | None = None) -> None:
        """Read the recordings; those that cannot be read are left out and named.

        Raises:
            InputError: If nothing is left.
        """
        if self.excerpts:
            return
        paths = find_recordings(self.recordings)
        if unread := describe_unread_recordings(self.recordings):
            say(unread, file=sys.stderr)
        self._names = [
            str(path.relative_to(self.recordings)) if path != self.recordings else path.name for path in paths
        ]
        n_wanted = max(2, math.ceil(self.minutes * 60 / _EXCERPT_SECONDS))
        for number, path in enumerate(each(paths, "read", "recording", lambda path: path.stat().st_size)):
            rng = np.random.default_rng(derive_seed(self.seed, "excerpts", number))
            try:
                found, n_windows = self._draw(path, math.ceil(n_wanted / len(paths)), rng)
            except InputError as error:
                say(f"skipped {error}", file=sys.stderr)
                continue
            # The end of a long recording, or every so many-th short one.
            n_held_back = max(n_windows >= _LONG, round(n_windows * self.validation_fraction))
            every = round(1 / self.validation_fraction)
            for index, excerpt in found:
                only_heard = index >= n_windows - n_held_back if n_windows >= _LONG else number % every == every - 1
                (self.validation_excerpts if only_heard else self.excerpts).append(excerpt)
        if len(self.excerpts) > 1 and not self.validation_excerpts:
            self.validation_excerpts.append(self.excerpts.pop())
        if not self.excerpts or not self.validation_excerpts:
            raise InputError(f"{self.recordings}: too little to learn from; give two excerpts of {_EXCERPT_SECONDS} s")
        order = np.random.default_rng(derive_seed(self.seed, "order"))
        self.excerpts = [self.excerpts[i] for i in order.permutation(len(self.excerpts))[:n_wanted]]

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The cells of the current epoch, or those that a resumed run has not learnt from yet."""
        seen = cast(int, self.trainer.lightning_module.batches_seen) if self.trainer else 0
        epoch, start = divmod(seen, self.batches_per_epoch)
        return DataLoader(
            self.cells(epoch), batch_size=None, sampler=_Batches(self.batch_size, start, self.batches_per_epoch)
        )

    def cells(self, epoch: int) -> TensorDataset:
        """Draw the cells of an epoch.

        Returns:
            Features (n_cells, 72), true steps in time and frequency (n_cells, 2), complex, and what each of the two
            counts (n_cells, 2), in random order.
        """
        rng = np.random.default_rng(derive_seed(self.seed, "cells", epoch))
        lengths = np.array([len(excerpt) for excerpt in self.excerpts], np.float64)
        n_excerpts = min(_EXCERPTS_AN_EPOCH, self.batches_per_epoch * self.batch_size)
        n_cells = self.batches_per_epoch * self.batch_size
        parts = []
        for number in range(n_excerpts):
            excerpt = self.excerpts[rng.choice(len(lengths), p=lengths / lengths.sum())].clone()
            if rng.random() < 0.5:
                excerpt = excerpt.flip(0)
            if rng.random() < 0.5:
                excerpt[1::2] *= -1
            n_here = (number + 1) * n_cells // n_excerpts - number * n_cells // n_excerpts
            parts.append(self._cells(excerpt, int(rng.choice(self.n_ffts)), n_here, rng))
        order = torch.from_numpy(rng.permutation(n_cells))
        return TensorDataset(*(torch.cat(tensors)[order] for tensors in zip(*parts, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """What was learnt from."""
        return {"recordings": self._names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on with other recordings.

        Raises:
            InputError: If they are.
        """
        if state_dict["recordings"] != self._names:
            raise InputError(
                f"{self.recordings}: the run was started with {len(state_dict['recordings'])} recordings, there are "
                f"{len(self._names)} now or others; put back what is missing, or start a new run"
            )

    def _draw(self, path: Path, n_wanted: int, rng: np.random.Generator) -> tuple[list[tuple[int, Tensor]], int]:
        """Up to n_wanted excerpts of a recording, any as likely as any other, and how many it has.

        Raises:
            InputError: If it cannot be read or is shorter than a window of the STFT.
        """
        n_samples = _EXCERPT_SECONDS * self.sample_rate
        kept: list[tuple[int, Tensor]] = []
        n_windows = 0
        mixdown = Mixdown(self.channel)
        for window in windows(path, self.sample_rate, n_samples, n_samples, mixdown):
            # The last window begins in the one before it; what is only listened to must not be learnt from there.
            excerpt = window.waveform[n_windows * n_samples - window.start_sample :]
            if len(excerpt) < max(self.n_ffts):
                continue
            # Algorithm R (Vitter 1985): hours are read, but only what is kept is held.
            place = n_windows if n_windows < n_wanted else int(rng.integers(n_windows + 1))
            if place < n_wanted:
                kept[place : place + 1] = [(n_windows, torch.from_numpy(excerpt))]
            n_windows += 1
        for note in mixdown.notes("--data.channel"):
            say(note, file=sys.stderr)
        if not n_windows:
            raise InputError(f"{path}: is shorter than {max(self.n_ffts)} samples; join short recordings")
        return kept, n_windows

    def _cells(
        self, waveform: Tensor, n_fft: int, n_cells: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        settings = SpectrogramSettings(self.sample_rate, n_fft, n_fft // 4, n_fft)
        spectrum = stft(waveform, settings).mT.contiguous()
        magnitude = spectrum.abs()
        magnitude /= magnitude.max().clamp_min(torch.finfo(magnitude.dtype).tiny)
        here = magnitude[:-1, :-1]
        steps = torch.stack([torch.minimum(here, magnitude[1:, :-1]), torch.minimum(here, magnitude[:-1, 1:])], dim=-1)
        counts = torch.where(here[..., None] > _QUIETEST, steps.clamp_min(1e-12) ** self.loudness_power, 0.0)
        likelihood = counts.amax(-1)
        drawn = _draw_places(likelihood.flatten().double().numpy(), n_cells, rng)
        frames, bins = np.divmod(drawn, likelihood.shape[1])
        places = (frames * magnitude.shape[1] + bins).astype(np.int32)
        weights = counts[frames, bins] / likelihood[frames, bins, None].clamp_min(1e-12)
        features = features_of(magnitude.numpy(), level_of(magnitude).numpy(), places)
        return torch.from_numpy(features), true_steps(spectrum)[frames, bins], weights


class _Batches(Sampler[slice]):
    """Whole batches, taken out at once: cell by cell takes ten times as long as learning from them.

    Args:
        batch_size: Cells of a batch.
        start: The first batch that is given.
        n_batches: Number of batches, those before the first included, as Lightning counts them.
    """

    def __init__(self, batch_size: int, start: int, n_batches: int) -> None:
        self.batch_size = batch_size
        self.start = start
        self.n_batches = n_batches

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[slice]:
        for batch in range(self.start, self.n_batches):
            yield slice(batch * self.batch_size, (batch + 1) * self.batch_size)


def _draw_places(likelihood: NDArray[np.float64], n_places: int, rng: np.random.Generator) -> NDArray[np.int64]:
    sums = np.cumsum(likelihood)
    if sums[-1] == 0:  # silence
        return rng.integers(len(sums), size=n_places)
    places = np.searchsorted(sums, rng.random(n_places) * sums[-1], side="right")
    clipped: NDArray[np.int64] = np.minimum(places, len(sums) - 1)
    return clipped
