"""What synthetic sounds are built from: decays, filters, sums of partials, the pitch and the loudness of held notes.

Every sound is a waveform of shape (N_SAMPLES,), float64, at SAMPLE_RATE. Times called t60 are the seconds in which
something falls by 60 dB. What would lie above the Nyquist frequency is left out rather than folded back.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

SAMPLE_RATE = 16000
HIGHEST = 7680.0
"""Highest partial that is heard, in Hz."""

# Sounds are cut into blocks: what varies slowly is known at the blocks' edges and drawn straight in between.
_BLOCK = SAMPLE_RATE // 250
_N_BLOCKS = 255
N_SAMPLES = _N_BLOCKS * _BLOCK
TIME = np.arange(N_SAMPLES) / SAMPLE_RATE
EDGE_TIME = np.arange(_N_BLOCKS + 1) * (_BLOCK / SAMPLE_RATE)

N_TRANSFORM = N_SAMPLES + N_SAMPLES // 4
"""Length of the transforms that filters run on: a quarter of a second longer than a sound, for what they ring on."""
_S = 1j * np.fft.rfftfreq(N_TRANSFORM, 1 / SAMPLE_RATE).astype(np.complex128)

# A response with a step at the Nyquist frequency, as a fractional delay or a resonance has, rings there for long.
_TAPER_HZ = (7000.0, 8000.0)
BAND_LIMIT: Array = 0.5 + 0.5 * np.cos(math.pi * np.interp(_S.imag, _TAPER_HZ, (0, 1)))
"""Response that falls from 1 to 0 below the Nyquist frequency, on the frequencies of N_TRANSFORM samples."""


def decay(t60: ArrayLike, time: Array = TIME) -> Array:
    """Exponential decay from 1, at times in seconds: shape (N_SAMPLES,) if none are given."""
    return np.exp(time * (-math.log(1000) / np.asarray(t60)))


def lowpass(cutoff: float, q: float = math.sqrt(0.5)) -> ComplexArray:
    """Response of a second-order low-pass filter; cutoff in Hz, the peak at it is q."""
    s = _S / cutoff
    return 1 / (1 + s / q + s * s)


def highpass(cutoff: float, q: float = math.sqrt(0.5)) -> ComplexArray:
    """Response of a second-order high-pass filter; cutoff in Hz, the peak at it is q."""
    return (_S / cutoff) ** 2 * lowpass(cutoff, q)


def bandpass(centre: float, q: float) -> ComplexArray:
    """Response of a second-order band-pass filter; centre in Hz, where the gain is 1, and centre / bandwidth q."""
    return _S / (centre * q) * lowpass(centre, q)


def delay(seconds: float) -> ComplexArray:
    """Response of a delay."""
    return np.exp(_S * (-2 * math.pi * seconds))


def filtered(sound: Array, response: ComplexArray) -> Array:
    """Filter a sound by a response on the frequencies of a transform of N_TRANSFORM samples, and by BAND_LIMIT."""
    return np.fft.irfft(np.fft.rfft(sound, N_TRANSFORM) * response * BAND_LIMIT)[:N_SAMPLES]


def decimated(sound: Array) -> Array:
    """Take a sound at twice the sample rate, shape (2 * N_SAMPLES,), to SAMPLE_RATE, without folding, by BAND_LIMIT."""
    spectrum = np.fft.rfft(sound, 2 * N_TRANSFORM)[: len(BAND_LIMIT)]
    return np.fft.irfft(spectrum * BAND_LIMIT)[:N_SAMPLES] / 2


def modes(frequencies: ArrayLike, t60: ArrayLike, amplitudes: ArrayLike) -> Array:
    """Sum of decaying sines.

    Args:
        frequencies: Shape (n_modes,), Hz; those too high for the sample rate are left out.
        t60: Shape (n_modes,), seconds.
        amplitudes: Shape (n_modes,); real numbers start at a zero crossing, a complex number's angle is the phase.
    """
    frequencies = np.asarray(frequencies, np.float64)
    rates = (2j * math.pi * frequencies - math.log(1000) / np.asarray(t60)) / SAMPLE_RATE
    amplitudes = np.where(frequencies < HIGHEST, amplitudes, 0)
    # exp(rate * (start of the block + place in it)) is a product, so that the sum over modes is one matrix product.
    starts = np.exp(np.outer(np.arange(_N_BLOCKS) * _BLOCK, rates))
    places = amplitudes[:, None] * np.exp(np.outer(rates, np.arange(_BLOCK)))
    sound: Array = (starts @ places).imag.ravel()
    return sound


def harmonics(f0: Array, amplitudes: ComplexArray | Array) -> Array:
    """Sum of the harmonics of a moving pitch.

    Args:
        f0: Shape (N_SAMPLES,), Hz.
        amplitudes: Shape (n_harmonics, n_edges) at the edges of the blocks, complex where phase matters; harmonics
            that ever rise too high for the sample rate are left out.
    """
    phase = np.cumsum(f0) * (2 * math.pi / SAMPLE_RATE)
    fundamental = np.exp(1j * (phase - phase[0]))
    harmonic = np.ones_like(fundamental)
    sound = np.zeros(N_SAMPLES)
    ramp = np.arange(_BLOCK) / _BLOCK
    for edges in amplitudes[: int(HIGHEST / f0.max())]:
        harmonic *= fundamental
        sound += ((edges[:-1, None] + np.diff(edges)[:, None] * ramp).ravel() * harmonic).imag
    return sound


def wander(rng: np.random.Generator, per_second: float) -> Array:
    """Slow random curve about 0 with a deviation of about 1, shape (n_edges,), for what no player holds still."""
    n_knots = math.ceil(EDGE_TIME[-1] * per_second) + 2
    curve: Array = np.interp(EDGE_TIME, np.arange(n_knots) / per_second, rng.standard_normal(n_knots))
    return curve


def sung_pitch(f0: float, rng: np.random.Generator, vibrato: float, scoop: float, unsteadiness: float) -> Array:
    """Pitch of a held note: it is reached from below, trembles a little, and gets its vibrato after a while.

    Args:
        f0: Hz.
        rng: Draws the tremble, and the rate (4.5 to 6.5 Hz) and phase of the vibrato.
        vibrato: Largest deviation of the vibrato in cents.
        scoop: How far below the note it starts, in cents.
        unsteadiness: Deviation of the tremble in cents.

    Returns:
        Shape (n_edges,), Hz.
    """
    rate, phase, late = rng.uniform(4.5, 6.5), rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.3)
    swell = np.clip((EDGE_TIME - late) / 0.25, 0, 1)
    cents = vibrato * swell * np.sin(2 * math.pi * rate * EDGE_TIME + phase)
    cents += unsteadiness * wander(rng, 15) - scoop * np.exp(-EDGE_TIME / 0.03)
    pitch: Array = f0 * 2 ** (cents / 1200)
    return pitch


def held(attack: float, length: float, release: float) -> Array:
    """Envelope of a held note: exponential rise with time constant `attack`, and a smooth end before `length`.

    Args:
        attack: Seconds.
        length: Seconds.
        release: Seconds, the last ones of length.

    Returns:
        Shape (n_edges,), in [0, 1].
    """
    left = np.clip((length - EDGE_TIME) / release, 0, 1)
    envelope: Array = (1 - np.exp(-EDGE_TIME / attack)) * (0.5 - 0.5 * np.cos(math.pi * left))
    return envelope


def at_samples(edges: Array) -> Array:
    """Values at the edges of the blocks, shape (n_edges,), drawn straight to the samples, shape (N_SAMPLES,)."""
    return np.interp(TIME, EDGE_TIME, edges)
