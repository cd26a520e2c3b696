"""Phase gradient heap integration: phase from the magnitude's own slopes, without iterations."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from gan.errors import InputError
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.heap_integration import integrate
from gan.sound.phase.reconstructor import PhaseReconstructor
from gan.sound.settings import SpectrogramSettings, Window

# gamma / win_length^2 of the Gaussian exp(-pi t^2 / gamma) that is nearest to each window (table I of the paper).
_GAUSSIAN: dict[Window, float] = {"hann": 0.25645, "hamming": 0.29794, "blackman": 0.17954}


class PGHI(PhaseReconstructor):
    """Waveform from magnitude by phase gradient heap integration (Prusa, Balazs, Soendergaard 2017).

    With a Gaussian window the logarithm of the magnitude determines the phase: the one's derivative by frequency is the
    other's by time and the other way round (eq. 7 and 8). Other windows are taken for the Gaussian nearest to them.
    The derivatives are integrated from the loudest cell outwards.

    Args:
        settings: The grid that the magnitudes were made on.
        tolerance_db: Cells this far below the loudest one of an item have random phase, dB > 0.
        seed: Seed of that phase.

    Raises:
        InputError: If tolerance_db is not above 0.
    """

    def __init__(self, settings: SpectrogramSettings, tolerance_db: float = 100.0, seed: int = 0) -> None:
        if not 0 < tolerance_db < math.inf:
            raise InputError(f"tolerance_db is {tolerance_db}; it must be above 0, 100 is usual")
        super().__init__(settings)
        self.tolerance_db = tolerance_db
        self.seed = seed

    def start(self, target: Tensor) -> Tensor:
        """Integrate; each item on a thread of its own, on the CPU wherever the target is."""
        settings = self.settings
        gamma = _GAUSSIAN[settings.window] * settings.win_length**2
        floor = -self.tolerance_db * math.log(10) / 20
        phase = torch.rand(target.shape, generator=torch.Generator().manual_seed(self.seed)).mul_(2.0 * math.pi)
        level = target.cpu().clamp_min(math.exp(floor)).log_()

        def integrate_item(item: int) -> None:
            integrate(
                level[item].numpy(),
                phase[item].numpy(),
                np.float32(settings.hop_length * settings.n_fft / gamma),
                np.float32(-gamma / (settings.hop_length * settings.n_fft)),
                settings.hop_length,
                settings.n_fft,
                np.float32(floor),
            )

        if len(target) == 1:
            integrate_item(0)
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(integrate_item, range(len(target))))
        # From the middle of the window, which it was found for, to the beginning of the frame, as STFTs count it.
        middle = (settings.n_fft - settings.win_length) // 2 + settings.win_length / 2
        phase -= torch.arange(settings.n_freqs) * (2.0 * math.pi * middle / settings.n_fft)
        return phase.to(target.device)


class PGHIGriffinLim(GriffinLim):
    """Fast Griffin-Lim that starts from PGHI's phase: the best of both, and the default.

    Args:
        settings: The grid that the magnitudes were made on.
        n_iter: Number of iterations.
        momentum: As of `GriffinLim`.
        seed: Seed of the phase of cells that are too quiet for PGHI.

    Raises:
        InputError: If n_iter or momentum is negative.
    """

    def __init__(self, settings: SpectrogramSettings, n_iter: int = 8, momentum: float = 0.99, seed: int = 0) -> None:
        super().__init__(settings, n_iter, momentum, seed)
        self._pghi = PGHI(settings, seed=seed)

    def start(self, target: Tensor) -> Tensor:
        """PGHI's phase."""
        return self._pghi.start(target)
