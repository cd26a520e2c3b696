"""Griffin-Lim from a learnt start: the best phase there is here."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.errors import InputError
from gan.progress import each
from gan.sound.phase.cells import audible_cells, check_tolerance
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.pghi import PGHI
from gan.sound.phase.reconstructor import each_item, random_phase
from gan.sound.phase.steps import PhaseSteps, trained_for
from gan.sound.settings import SpectrogramSettings

# Frames whose phases are grown at a time, which bounds the memory: a minute and a half at 2048/512 and 22,050 Hz.
_GROWN_FRAMES = 4096
# Frames on both sides that are looked at with them: the next stretch goes on from the last ones.
_CONTEXT_FRAMES = 16
SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "phase_steps.safetensors"


class DeepGriffinLim(GriffinLim):
    """Fast Griffin-Lim that starts from a phase which a small network knows the steps of.

    The network sees the magnitude around each cell and predicts how the phase goes on to the next frame and the next
    frequency, and how certain that is (`gan.sound.phase.steps`); phases are grown from that, the most certain cells
    first (`gan.sound.phase.growth`). Unlike the blocks of Deep Griffin-Lim Iteration (Masuyama, Yatabe, Koizumi,
    Oikawa, Harada 2019, arXiv 1903.03971), which correct each iteration at the cost of tens of plain ones, it runs
    once.

    Args:
        settings: The grid that the magnitudes were made on.
        n_iter: Number of iterations.
        momentum: How much of the last step an iteration adds to the next; 0 is plain Griffin-Lim.
        seed: Seed of the phase of cells that are too quiet.
        relaxation: How far an iteration goes to the magnitude, in (0, 2): 1 is all the way.
        tolerance_db: Cells this far below the loudest one around them start with random phase, dB > 0. 60 is
            half a dB nearer and takes twice as long.
        weights: A file of `gan train-phase`; what is shipped if not given. The shipped ones are for Hann windows that
            overlap by three quarters; other grids then start from PGHI's phase instead.

    Raises:
        InputError: If an option is out of range, or if weights are given and cannot be read or
            the grid is not what they are for.
    """

    def __init__(
        self,
        settings: SpectrogramSettings,
        n_iter: int = 8,
        momentum: float = 0.99,
        seed: int = 0,
        relaxation: float = 1.2,
        tolerance_db: float = 50.0,
        weights: Path | None = None,
    ) -> None:
        check_tolerance(tolerance_db)
        super().__init__(settings, n_iter, momentum, seed, relaxation)
        if weights is not None and not trained_for(settings):
            raise InputError(
                f"{weights}: is for Hann windows of n_fft samples, a quarter of that apart, not for {settings.window} "
                f"windows of {settings.win_length} in {settings.n_fft}, {settings.hop_length} apart; use PGHIGriffinLim"
            )
        self.tolerance_db = tolerance_db
        path = SHIPPED_WEIGHTS if weights is None else weights
        self.network = PhaseSteps.load(path) if trained_for(settings) else None

    def start(self, target: Tensor) -> Tensor:
        """Grow phases; each item on a thread of its own, on the CPU wherever the target is."""
        network = self.network
        if network is None:
            return PGHI(self.settings, seed=self.seed).start(target)

        def grown(magnitude: Tensor, phase: Tensor) -> Tensor:
            audible = audible_cells(magnitude, self.tolerance_db)
            stft = torch.polar(magnitude, phase)
            firsts = range(0, len(magnitude), _GROWN_FRAMES)
            for first in each(firsts, "phase", "part", lambda first: min(_GROWN_FRAMES, len(magnitude) - first)):
                before, behind = max(0, first - _CONTEXT_FRAMES), first + _GROWN_FRAMES + _CONTEXT_FRAMES
                frames = slice(before, behind)
                self._grow(network, magnitude[frames], stft[frames], audible[frames], first - before)
            return stft

        return each_item(grown, target, random_phase(target, self.seed))

    def _grow(
        self, network: PhaseSteps, magnitude: Tensor, stft: Tensor, audible: NDArray[np.bool_], n_grown: int
    ) -> None:
        """Find the phases of a stretch's frames, of which the first n_grown have theirs already."""
        # It brings numba with it.
        from gan.sound.phase.growth import grow, neighbours

        places, beside = neighbours(audible)
        if not len(places):
            return
        n_freqs = self.settings.n_freqs
        cells = torch.from_numpy(places)
        bins = torch.arange(n_freqs)
        own_turns = torch.exp(2j * math.pi * self.settings.hop_length / self.settings.n_fft * bins)
        # From the middle of the window to the beginning of the frame, half a transform, is pi a bin.
        half_turns = 1.0 - 2.0 * (bins % 2)
        steps = network.steps(magnitude, places)
        steps[:, 0] *= own_turns[cells % n_freqs]
        loudness = magnitude.flatten()[cells]
        n_known = int(np.searchsorted(places, n_grown * n_freqs))
        signed = loudness * half_turns[cells % n_freqs]
        known = stft.view(-1)[cells[:n_known]] / signed[:n_known]
        turns = grow(loudness.numpy(), steps.numpy(), beside, known.numpy())
        stft.view(-1)[cells] = torch.from_numpy(turns) * signed
