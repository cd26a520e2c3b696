"""Phase gradient heap integration: phase from the magnitude's own slopes, without iterations."""

import math

import numpy as np
import torch
from torch import Tensor

from gan.sound.phase.cells import audible_cells, check_tolerance, level_of
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.reconstructor import PhaseReconstructor, each_item, random_phase
from gan.sound.settings import SpectrogramSettings, Window

# gamma / win_length^2 of the Gaussian exp(-pi t^2 / gamma) that is nearest to each window (the paper's numbers).
GAUSSIAN: dict[Window, float] = {"hann": 0.25645, "hamming": 0.29794, "blackman": 0.17954}


class PGHI(PhaseReconstructor):
    """Waveform from magnitude by phase gradient heap integration (Prusa, Balazs, Soendergaard 2017).

    With a Gaussian window exp(-pi t^2 / gamma) the logarithm s of the magnitude determines the phase: between frames it
    advances by 2 pi m hop_length / n_fft + hop_length n_fft / gamma ds/dm, between bins by
    -gamma / (hop_length n_fft) ds/dn, for bin m and frame n. Other windows are taken for the Gaussian nearest to them.
    The derivatives are integrated from the loudest cell outwards (algorithm 1).

    Args:
        settings: The grid that the magnitudes were made on.
        tolerance_db: Cells this far below the loudest one around them have random phase, dB > 0.
        seed: Seed of that phase.

    Raises:
        InputError: If tolerance_db is not above 0.
    """

    def __init__(self, settings: SpectrogramSettings, tolerance_db: float = 60.0, seed: int = 0) -> None:
        check_tolerance(tolerance_db)
        super().__init__(settings)
        self.tolerance_db = tolerance_db
        self.seed = seed

    def start(self, target: Tensor) -> Tensor:
        """Integrate; each item on a thread of its own, on the CPU wherever the target is."""
        # It brings numba with it.
        from gan.sound.phase.heap_integration import integrate

        settings = self.settings
        gamma = GAUSSIAN[settings.window] * settings.win_length**2
        # From the middle of the window, which the phase is found for, to the beginning of the frame, as STFTs count it.
        middle = (settings.n_fft - settings.win_length) // 2 + settings.win_length / 2
        shift = torch.arange(settings.n_freqs) * (2.0 * math.pi * middle / settings.n_fft)

        def integrated(magnitude: Tensor, phase: Tensor) -> Tensor:
            integrate(
                level_of(magnitude).numpy(),
                phase.numpy(),
                audible_cells(magnitude, self.tolerance_db),
                np.float32(settings.hop_length * settings.n_fft / gamma),
                np.float32(-gamma / (settings.hop_length * settings.n_fft)),
                settings.hop_length,
                settings.n_fft,
            )
            return torch.polar(magnitude, phase.sub_(shift))

        return each_item(integrated, target, random_phase(target, self.seed))


class PGHIGriffinLim(GriffinLim):
    """Fast Griffin-Lim that starts from PGHI's phase: fast and near on every grid.

    Args:
        settings: The grid that the magnitudes were made on.
        n_iter: Number of iterations.
        momentum: How much of the last step an iteration adds to the next; 0 is plain Griffin-Lim.
        seed: Seed of the phase of cells that are too quiet for PGHI.
        relaxation: How far an iteration goes to the magnitude, in (0, 2): 1 is all the way.

    Raises:
        InputError: If n_iter, momentum or relaxation is out of range.
    """

    def __init__(
        self,
        settings: SpectrogramSettings,
        n_iter: int = 8,
        momentum: float = 0.99,
        seed: int = 0,
        relaxation: float = 1.2,
    ) -> None:
        super().__init__(settings, n_iter, momentum, seed, relaxation)
        self._pghi = PGHI(settings, seed=seed)

    def start(self, target: Tensor) -> Tensor:
        """PGHI's."""
        return self._pghi.start(target)
