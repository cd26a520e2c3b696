"""Synthetic instruments: one function per instrument, from explicit parameters to one sound.

Every sound is a waveform of shape (N_SAMPLES,), float64, at SAMPLE_RATE, that starts at once. Its scale is arbitrary
and its end is not faded: `gan.data.demo` sees to both. Times called t60 are the seconds in which something falls by
60 dB.
"""

import math

import numpy as np

from gan.data.signals import (
    BAND_LIMIT,
    EDGE_TIME,
    HIGHEST,
    N_SAMPLES,
    N_TRANSFORM,
    SAMPLE_RATE,
    TIME,
    Array,
    at_samples,
    bandpass,
    decay,
    decimated,
    delay,
    filtered,
    harmonics,
    held,
    highpass,
    lowpass,
    modes,
    sung_pitch,
    wander,
)

# Lowest three formants in Hz of ten vowels, averages of men (Peterson and Barney 1952, table II).
VOWELS: dict[str, tuple[float, float, float]] = {
    "heed": (270, 2290, 3010),
    "hid": (390, 1990, 2550),
    "head": (530, 1840, 2480),
    "had": (660, 1720, 2410),
    "hod": (730, 1090, 2440),
    "hawed": (570, 840, 2410),
    "hood": (440, 1020, 2240),
    "who'd": (300, 870, 2240),
    "hud": (640, 1190, 2390),
    "heard": (490, 1350, 1690),
}


def pluck(f0: float, rng: np.random.Generator, *, t60: float, damping: float, position: float, cutoff: float) -> Array:
    """Plucked string with a guitar's body (Karplus and Strong 1983, with the extensions of Jaffe and Smith 1983).

    The loop y[n] = x[n] + (h * y)[n - period] is solved as Y = X / (1 - H z^-period), on a circle outside the unit
    circle: there the period need not be whole, and what comes round after the transform's length is 80 dB down. The
    way back to the unit circle grows by 64 dB, and with it what the fractional delay rings at the Nyquist frequency:
    BAND_LIMIT takes that away first.

    Args:
        f0: Pitch in Hz.
        rng: Draws the burst of noise that fills the string.
        t60: Of the lowest partials, in seconds.
        damping: Share of a moving average in the loop's filter, in (0, 0.5]: how much faster high partials decay.
        position: Where the string is plucked, from the bridge, in string lengths.
        cutoff: Of the pluck, in Hz: how hard the finger is.
    """
    period = SAMPLE_RATE / f0
    outside = math.log(1e4) / N_TRANSFORM
    growth = np.exp(outside * np.arange(N_SAMPLES))
    burst = np.zeros(N_SAMPLES)
    burst[: round(period)] = rng.standard_normal(round(period))
    exponent = np.fft.rfftfreq(N_TRANSFORM) * 2j * math.pi + outside
    loop = 10 ** (-3 / (f0 * t60)) * (1 - damping + damping * np.cosh(exponent))
    string = np.fft.rfft(filtered(burst, lowpass(cutoff)) / growth, N_TRANSFORM)
    string *= BAND_LIMIT * (1 - np.exp(-exponent * position * period)) / (1 - loop * np.exp(-exponent * period))
    body = 0.7 + 1.0 * bandpass(105, 8) + 1.2 * bandpass(205, 9) + 0.8 * bandpass(405, 7) + 0.5 * bandpass(2500, 1)
    return filtered(np.fft.irfft(string)[:N_SAMPLES] * growth, body)


def bell(f0: float, rng: np.random.Generator, *, ratio: float, index: float, t60: float, beating: float) -> Array:
    """Bell by frequency modulation whose index falls with the sound (Chowning 1973), with a hum note an octave below.

    Args:
        f0: Carrier in Hz, the pitch that is heard.
        rng: Draws the noise of the stroke.
        ratio: Modulator frequency / carrier frequency; not a simple fraction, or it is no bell.
        index: Modulation index of the stroke; it is lowered until the sidebands fit below the Nyquist frequency.
        t60: Seconds; of the index it is half as long.
        beating: Hz between the two halves of the sound: no bell is perfectly round.
    """
    index = min(index, (HIGHEST - f0) / (ratio * f0) - 2)
    # No sideband is the last: those of order index + 3 still have up to 3 %. At twice the rate none of them folds.
    time = np.arange(2 * N_SAMPLES) / (2 * SAMPLE_RATE)
    falling = index * decay(0.5 * t60, time)
    stroke = np.zeros_like(time)
    for carrier, share in ((f0 - beating / 2, 0.6), (f0 + beating / 2, 0.4)):
        stroke += share * np.sin(2 * math.pi * carrier * time + falling * np.sin(2 * math.pi * ratio * carrier * time))
    sound = decimated(stroke * decay(t60, time) * (1 - np.exp(-time / 0.0005)))
    sound += modes([0.5 * f0], [1.3 * t60], [0.25])
    return sound + 0.15 * filtered(rng.standard_normal(N_SAMPLES) * decay(0.02), bandpass(4000, 1))


def marimba(f0: float, rng: np.random.Generator, *, t60: float, contact: float, knock: float) -> Array:
    """Struck wooden bar whose overtones are tuned to 4 and 10 times the pitch (Fletcher and Rossing 1998, chapter 19).

    Args:
        f0: Pitch in Hz.
        rng: Draws the maker's tolerance of the overtones, the bar's twisting modes, which nobody tunes, and the noise
            of the mallet.
        t60: Of the fundamental, in seconds; overtones decay faster.
        contact: Seconds that the mallet touches the bar: a soft one touches it for long and wakes few overtones.
        knock: Level of the mallet's noise.
    """
    bending = np.array([1, 3.98, 9.9, 17.5, 26]) * np.array([1, *rng.normal(1, 0.008, 4)])
    ratios = np.array([*bending, *rng.uniform([1.8, 4.8, 11], [2.6, 7, 15])])
    frequencies = f0 * ratios
    # The force of the mallet on the bar is a raised cosine, and this is its Fourier transform.
    x = frequencies * contact
    force = np.sinc(x) + 0.5 * (np.sinc(x - 1) + np.sinc(x + 1))
    # Where the mallet falls decides how much of each mode it wakes.
    share = np.array([1, 0.8, 0.6, 0.4, 0.3, 0.1, 0.12, 0.1]) * np.array([1, *rng.uniform(0.3, 1.3, 7)])
    bar: Array = modes(frequencies, t60 * ratios**-0.8, force * share) * (1 - np.exp(-TIME / (0.25 * contact)))
    noise = rng.standard_normal(N_SAMPLES)
    wood = filtered(noise * decay(0.03), bandpass(min(1.0 / contact, 3000), 0.8))
    wood += filtered(noise * decay(0.15), lowpass(900) * highpass(150)) * 0.15
    return bar + knock * wood


def flute(
    f0: float, rng: np.random.Generator, *, brightness: float, breath: float, vibrato: float, length: float
) -> Array:
    """Blown pipe: few harmonics that swell with the vibrato, and breath that the pipe colours.

    Args:
        f0: Pitch in Hz.
        rng: Draws the pipe's spectrum and the breath.
        brightness: Amplitude of a harmonic / amplitude of the one below it, in (0, 1).
        breath: Level of the noise.
        vibrato: Largest deviation of the pitch in cents.
        length: Seconds.
    """
    pitch = sung_pitch(f0, rng, vibrato, scoop=40, unsteadiness=4)
    # A harder breath raises the pitch and, more than that, the higher harmonics.
    push = np.maximum(1 + 0.01 * (1200 * np.log2(pitch / f0)) + 0.05 * wander(rng, 12), 0.1)
    envelope = held(0.02, length, 0.12)
    order = np.arange(1, 11)[:, None]
    spectrum = brightness ** (order - 1) * 10 ** (rng.normal(0, 4, order.shape) / 20)
    tone = harmonics(at_samples(pitch), spectrum * envelope**order**0.7 * push ** (0.3 + 0.5 * (order - 1)))
    pipe = 1 / (1.15 - delay(1 / f0)) * lowpass(4000) * highpass(0.7 * f0)
    chiff = 1 + 4 * np.exp(-EDGE_TIME / 0.025)
    noise = rng.standard_normal(N_SAMPLES) * at_samples(held(0.004, length, 0.12) * chiff)
    return tone + breath * filtered(noise, pipe)


def voice(
    f0: float,
    rng: np.random.Generator,
    *,
    vowels: tuple[str, str],
    tract: float,
    tilt: float,
    breath: float,
    vibrato: float,
    length: float,
) -> Array:
    """Sung vowel: a glottal pulse train through a cascade of five formants (Klatt 1980).

    Args:
        f0: Pitch in Hz.
        rng: Draws the tremble of the pitch and the breath.
        vowels: Where the mouth starts and where it ends, keys of VOWELS.
        tract: Factor on the formants: 1 for a man's vocal tract, 1.2 for a woman's, 1.35 for a child's.
        tilt: Hz above which the source falls by a further 6 dB per octave: low for a soft voice.
        breath: Level of the noise.
        vibrato: Largest deviation of the pitch in cents.
        length: Seconds.
    """
    pitch = sung_pitch(f0, rng, vibrato, scoop=150, unsteadiness=8)
    start, end = (np.array([*VOWELS[vowel], 3500, 4500])[:, None] * tract for vowel in vowels)
    glide = 0.5 - 0.5 * np.cos(math.pi * np.clip((EDGE_TIME / length - 0.2) / 0.5, 0, 1))
    formants = start * (end / start) ** glide
    bandwidths = np.array([60, 90, 130, 200, 250])[:, None] * tract
    envelope = held(0.015, length, 0.1)
    frequencies = np.arange(1, int(HIGHEST / pitch.min()) + 1)[:, None] * pitch
    # Flow falls by 12 dB per octave and the lips give 6 back: harmonic k of what is heard has 1 / k.
    source = envelope * (1 + 0.04 * wander(rng, 20)) * pitch / (frequencies * (1 + 1j * frequencies / tilt))
    cascade = np.ones_like(source)
    for formant, bandwidth in zip(formants, bandwidths, strict=True):
        cascade *= formant**2 / (formant**2 - frequencies**2 + 1j * bandwidth * frequencies)
    noise = rng.standard_normal(N_SAMPLES) * at_samples(envelope)
    mouth = np.sum([gain * bandpass(f, 6) for gain, f in zip((1, 1, 0.8, 0.5, 0.4), formants.mean(1), strict=True)], 0)
    return harmonics(at_samples(pitch), source * cascade) + breath * filtered(noise, mouth)


def kick(
    f0: float, rng: np.random.Generator, *, sweep: float, fall: float, t60: float, drive: float, click: float
) -> Array:
    """Bass drum: a sine that falls onto its pitch, driven into saturation, behind the click of the beater.

    Args:
        f0: Pitch that it falls to, in Hz.
        rng: Draws the noise of the beater and of the skin.
        sweep: Pitch of the stroke / f0.
        fall: Time constant of the pitch, in seconds.
        t60: Seconds.
        drive: How far the sine is driven into a tanh.
        click: Level of the beater.
    """
    turns = f0 * (TIME + (sweep - 1) * fall * (1 - np.exp(-TIME / fall)))
    drum = np.tanh(drive * np.sin(2 * math.pi * turns) * decay(t60)) / math.tanh(drive)
    noise = rng.standard_normal(N_SAMPLES)
    beater = filtered(noise * decay(0.03), bandpass(2500, 0.7))
    skin = filtered(noise * decay(0.4 * t60), lowpass(700) * (1 + bandpass(4.1 * f0, 8)))
    return drum + click * (beater + 0.3 * skin)


def snare(f0: float, rng: np.random.Generator, *, t60: float, wires: float, wires_t60: float, cutoff: float) -> Array:
    """Snare drum: modes of a membrane (Fletcher and Rossing 1998, chapter 3), and wires that rattle against it.

    Args:
        f0: Lowest mode in Hz.
        rng: Draws the modes' amplitudes and the wires' noise.
        t60: Of the lowest mode, in seconds.
        wires: Level of the noise.
        wires_t60: Of the noise, in seconds.
        cutoff: Hz below which the wires are not heard.
    """
    ratios = np.array([1, 1.594, 2.136, 2.296, 2.653, 2.918])
    amplitudes = np.array([1, 0.8, 0.4, 0.3, 0.25, 0.2]) * rng.uniform(0.5, 1.2, 6)
    drum = modes(f0 * ratios, t60 / ratios, amplitudes)
    noise = rng.standard_normal(N_SAMPLES)
    colour = highpass(cutoff) * (0.6 + bandpass(rng.uniform(2500, 4500), 1.5)) * lowpass(6500)
    rattle = filtered(noise * (0.7 * decay(wires_t60) + decay(0.15 * wires_t60)), colour)
    stick = filtered(noise * decay(0.012), bandpass(1200, 0.7))
    return drum + wires * rattle + 0.8 * stick


def hat(rng: np.random.Generator, *, t60: float, size: float, metal: float, cutoff: float) -> Array:
    """Hi-hat: six square waves that fit no scale, as in Roland's TR-808 (1980), and noise, both high-passed.

    Args:
        rng: Draws the tuning of the squares, their partials' phases and the noise.
        t60: Seconds: short is closed, long is open.
        size: Factor on the squares' frequencies.
        metal: Share of the squares, in [0, 1]; the rest is noise.
        cutoff: Of the high-pass filter, in Hz.
    """
    squares = size * np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0]) * rng.normal(1, 0.03, 6)
    order = np.arange(1, 40, 2)
    frequencies = np.outer(squares, order).ravel()
    phases = np.exp(2j * math.pi * rng.uniform(size=frequencies.size))
    # The plates lose their high modes first, and no two modes together.
    lives = t60 * (5000 / np.maximum(frequencies, 1000)) ** 0.7 * rng.uniform(0.5, 1.3, frequencies.size)
    ring = filtered(modes(frequencies, lives, np.tile(1 / order, 6) * phases), highpass(cutoff) ** 2)
    hiss = filtered(rng.standard_normal(N_SAMPLES) * (decay(t60) + decay(0.02)), highpass(cutoff) ** 2)
    sound: Array = metal * ring / ring.std() + (1 - metal) * hiss / hiss.std()
    return sound
