"""Fast Griffin-Lim: phase by alternating projections."""

import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.phase.consistency import Consistency
from gan.sound.phase.reconstructor import PhaseReconstructor, random_phase
from gan.sound.settings import SpectrogramSettings


class GriffinLim(PhaseReconstructor):
    """Waveform whose STFT has a given magnitude (Perraudin, Balazs, Soendergaard 2013, algorithm 2).

    Each iteration makes the STFT consistent (inverse and forward transform) and then restores the magnitude. Fast
    Griffin-Lim extrapolates between the two: c_n = t_n + alpha (t_n - t_{n-1}). Momentum 0 is the original (Griffin and
    Lim 1984), whose spectral convergence never gets worse from one iteration to the next.

    Args:
        settings: The grid that the magnitudes were made on.
        n_iter: Number of iterations.
        momentum: alpha, in [0, 2]; librosa.griffinlim's meaning and default.
        seed: Seed of the random starting phase: the same magnitude gives the same waveform.
        relaxation: How far an iteration goes to the magnitude, in (0, 2): 1 is all the way. Beyond it, as gamma of
            accelerated Griffin-Lim (Nenov et al. 2023) goes, is nearer in the end, but diverges from 1.4
            on at this momentum; 1.2 is worth two tenths of the iterations, and never did harm.

    Raises:
        InputError: If n_iter, momentum or relaxation is out of range.
    """

    def __init__(
        self,
        settings: SpectrogramSettings,
        n_iter: int = 32,
        momentum: float = 0.99,
        seed: int = 0,
        relaxation: float = 1.0,
    ) -> None:
        if n_iter < 0:
            raise InputError(f"n_iter is {n_iter}; it must be 0 or more, 32 is usual")
        if not 0 <= momentum <= 2:
            raise InputError(f"momentum is {momentum}; it must lie in [0, 2], 0.99 is usual")
        if not 0 < relaxation < 2:
            raise InputError(f"relaxation is {relaxation}; it must lie between 0 and 2, 1 and 1.2 are usual")
        super().__init__(settings)
        self.n_iter = n_iter
        self.momentum = momentum
        self.seed = seed
        self.relaxation = relaxation

    def start(self, target: Tensor) -> Tensor:
        """Random phase."""
        return torch.polar(target, random_phase(target, self.seed).to(target.device))

    @property
    def context_frames(self) -> int:
        """An iteration reaches n_fft / hop_length frames far, but what it carries beyond one is nothing (-80 dB)."""
        return super().context_frames + self.n_iter

    def refine(self, consistency: Consistency, waveform: Tensor) -> Tensor:
        """Iterate."""
        return consistency.iterate(waveform, self.n_iter, self.momentum, self.relaxation)
