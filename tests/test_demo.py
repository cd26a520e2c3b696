import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from gan.data import instruments, signals
from gan.data.demo import DEMO_SETTINGS, KINDS, N_SAMPLES, SAMPLE_RATE, make_demo, synthesize
from gan.errors import InputError
from gan.sound.codec import read_header

Array = NDArray[np.float64]

N_DRAWS = 16


@functools.cache
def draws(kind: str, seed: int) -> Array:
    sounds = [synthesize(kind, np.random.default_rng([seed, index])) for index in range(N_DRAWS)]
    return np.array(sounds, np.float64)


def cents_off(sound: Array, frequency: float) -> float:
    """Cents from a frequency to the highest peak of the spectrum within a semitone and a half of it."""
    n_fft = 1 << 19
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n_fft))
    low, high = (round(frequency * 2 ** (semitones / 12) * n_fft / SAMPLE_RATE) for semitones in (-1.5, 1.5))
    peak = (low + np.argmax(spectrum[low:high])) * SAMPLE_RATE / n_fft
    return float(1200 * np.log2(peak / frequency))


def period_seconds(sound: Array, shortest: float, longest: float) -> float:
    """Lag of the highest peak of the autocorrelation."""
    power = np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2
    fine = 16
    correlation = np.fft.irfft(power, 2 * len(sound) * fine)
    lags = np.arange(round(shortest * SAMPLE_RATE * fine), round(longest * SAMPLE_RATE * fine))
    return float(lags[np.argmax(correlation[lags])]) / (SAMPLE_RATE * fine)


def level_db(sound: Array, frequency: float, start: float, seconds: float = 0.2) -> float:
    """Level of a partial in a stretch of a sound."""
    piece = sound[round(start * SAMPLE_RATE) :][: round(seconds * SAMPLE_RATE)]
    turns = np.exp(-2j * math.pi * frequency * np.arange(len(piece)) / SAMPLE_RATE)
    return float(20 * np.log10(np.abs(np.sum(piece * np.hanning(len(piece)) * turns))))


def features(sounds: Array) -> Array:
    """Levels in 12 bands of equal width on the mel scale, in 6 stretches of time, relative to the loudest, in dB."""
    frames = np.lib.stride_tricks.sliding_window_view(sounds, 512, axis=-1)[:, ::128] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(512, 1 / SAMPLE_RATE) / 700)
    band = np.minimum((mel / mel[-1] * 12).astype(int), 11)
    bands = np.stack([power[..., band == b].sum(-1) for b in range(12)], -1)
    stretches = np.stack([part.mean(1) for part in np.array_split(bands, [3, 9, 20, 40, 80], axis=1)], 1)
    flat = stretches.reshape(len(sounds), -1)
    levels: Array = 10 * np.log10(np.maximum(flat / flat.max(1, keepdims=True), 1e-6))
    return levels


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_sound(kind: str) -> None:
    sound = synthesize(kind, np.random.default_rng([0, 1]))
    assert np.array_equal(sound, synthesize(kind, np.random.default_rng([0, 1])))
    assert not np.allclose(sound, synthesize(kind, np.random.default_rng([1, 1])), atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_sounds_are_clean(kind: str) -> None:
    sounds = draws(kind, seed=1)
    assert synthesize(kind, np.random.default_rng(0)).dtype == np.float32
    assert sounds.shape == (N_DRAWS, N_SAMPLES)
    assert np.isfinite(sounds).all()
    peaks = np.abs(sounds).max(1)
    assert peaks.max() <= 0.9001
    assert peaks.min() >= 0.9 * 10 ** (-15 / 20) - 1e-4
    # The levels are spread, and the mean of a sound is no offset.
    assert 20 * np.log10(peaks.max() / peaks.min()) > 6
    assert np.abs(sounds.mean(1)).max() < 1e-5
    # At once from the start, and to nothing at the end: the last 5 ms, and the step to the silence behind it.
    for sound, peak in zip(sounds, peaks, strict=True):
        assert np.argmax(np.abs(sound) > 0.01 * peak) < 0.003 * SAMPLE_RATE
    assert np.all(np.abs(sounds[:, -80:]) < 2e-3 * peaks[:, None])
    assert np.all(sounds[:, -1] == 0)


def test_kinds_can_be_told_apart() -> None:
    learnt = [features(draws(kind, seed=1)) for kind in KINDS]
    spread = np.concatenate([x - x.mean(0) for x in learnt]).std(0) + 1.0
    centroids = np.array([x.mean(0) for x in learnt])
    right = []
    for label, kind in enumerate(KINDS):
        distances = (((features(draws(kind, seed=2))[:, None] - centroids) / spread) ** 2).sum(-1)
        right.append(np.mean(distances.argmin(1) == label))
    assert np.mean(right) > 0.9, dict(zip(KINDS, right, strict=True))


@pytest.mark.parametrize("f0", [82.41, 196.0, 311.13, 641.7])
def test_pluck_is_in_tune(f0: float) -> None:
    rng = np.random.default_rng(0)
    sound = instruments.pluck(f0, rng, t60=3.0, damping=0.3, position=0.22, cutoff=3000)
    # Every harmonic of this string is exact, whether or not its period is a whole number of samples.
    assert period_seconds(sound, 0.5 / f0, 1.5 / f0) == pytest.approx(1 / f0, rel=5e-3)
    for harmonic in (1, 2, 3):
        assert abs(cents_off(sound, harmonic * f0)) < 1


def test_pluck_decays_as_asked() -> None:
    f0, t60, damping = 220.0, 1.5, 0.4
    sound = instruments.pluck(f0, np.random.default_rng(0), t60=t60, damping=damping, position=0.22, cutoff=3000)
    for harmonic in (1, 6):
        loss = 1 - damping + damping * math.cos(2 * math.pi * harmonic * f0 / SAMPLE_RATE)
        expected = 0.3 * (f0 * 20 * math.log10(loss) - 60 / t60)
        found = level_db(sound, harmonic * f0, 0.4) - level_db(sound, harmonic * f0, 0.1)
        assert found == pytest.approx(expected, abs=0.2)


def test_pluck_has_no_harmonic_where_it_is_plucked() -> None:
    sound = instruments.pluck(200.0, np.random.default_rng(0), t60=3.0, damping=0.2, position=0.25, cutoff=4000)
    assert level_db(sound, 800, 0.1) < min(level_db(sound, f, 0.1) for f in (600, 1000)) - 30


@pytest.mark.parametrize("f0", [140.0, 523.25])
def test_marimba_is_tuned_to_two_octaves(f0: float) -> None:
    sound = instruments.marimba(f0, np.random.default_rng(0), t60=0.8, contact=0.0005, knock=0.05)
    assert abs(cents_off(sound, f0)) < 1
    assert abs(cents_off(sound, 4 * f0)) < 60
    decays = [level_db(sound, f, 0.25, 0.1) - level_db(sound, f, 0.05, 0.1) for f in (f0, 3.98 * f0)]
    assert decays[0] == pytest.approx(-60 * 0.2 / 0.8, abs=0.5)
    assert decays[1] < decays[0] - 10


@pytest.mark.parametrize("f0", [261.63, 740.0])
def test_bell_is_inharmonic_and_in_tune(f0: float) -> None:
    ratio = 1.4
    sound = instruments.bell(f0, np.random.default_rng(0), ratio=ratio, index=4, t60=2.0, beating=0)
    # Late, when the index is gone, the carrier is what is left; sidebands lie at f0 + k * ratio * f0.
    assert abs(cents_off(sound[N_SAMPLES // 2 :], f0)) < 3
    for sideband in (1 + ratio, 1 + 2 * ratio):
        assert level_db(sound, sideband * f0, 0) > max(level_db(sound, k * f0, 0) for k in (2, 3)) + 10


def test_bell_does_not_alias() -> None:
    f0, ratio = 700.0, 2.76
    sound = instruments.bell(f0, np.random.default_rng(0), ratio=ratio, index=20, t60=2.0, beating=0)
    folded = [SAMPLE_RATE - (1 + k * ratio) * f0 for k in (4, 5)]
    assert max(level_db(sound, f, 0.02) for f in folded) < level_db(sound, f0, 0.02) - 40


@pytest.mark.parametrize("f0", [261.63, 987.8])
def test_flute_is_in_tune(f0: float) -> None:
    sound = instruments.flute(f0, np.random.default_rng(0), brightness=0.4, breath=0.02, vibrato=0, length=0.9)
    assert abs(cents_off(sound, f0)) < 6
    assert period_seconds(sound, 0.5 / f0, 1.5 / f0) == pytest.approx(1 / f0, rel=6e-3)


def test_vibrato_moves_the_pitch_by_what_was_asked() -> None:
    pitch = signals.sung_pitch(200.0, np.random.default_rng(0), vibrato=50, scoop=0, unsteadiness=0)
    cents = 1200 * np.log2(pitch / 200)
    assert np.ptp(cents) == pytest.approx(100, abs=3)
    assert np.all(cents[:25] == 0)


@pytest.mark.parametrize(("vowel", "f0"), [("heed", 90.0), ("hod", 90.0), ("who'd", 110.0), ("had", 110.0)])
def test_voice_has_its_pitch_and_its_formants(vowel: str, f0: float) -> None:
    rng = np.random.default_rng(0)
    sound = instruments.voice(f0, rng, vowels=(vowel, vowel), tract=1, tilt=4000, breath=0.02, vibrato=0, length=0.95)
    assert period_seconds(sound, 0.6 / f0, 1.6 / f0) == pytest.approx(1 / f0, rel=8e-3)
    # The spectrum in bands of one harmonic each, made flat by undoing the source's 6 dB per octave.
    power = np.abs(np.fft.rfft(sound)) ** 2 * np.fft.rfftfreq(N_SAMPLES, 1 / SAMPLE_RATE) ** 2
    edges = (np.arange(0.5, 4000 / f0) * f0 * N_SAMPLES / SAMPLE_RATE).astype(int)
    envelope = np.add.reduceat(power, edges)[:-1]
    peaks = [k for k in range(1, len(envelope) - 1) if envelope[k] > max(envelope[k - 1], envelope[k + 1])]
    for formant in instruments.VOWELS[vowel][:2]:
        assert min(abs((k + 1) * f0 - formant) for k in peaks) <= 0.75 * f0


def test_kick_falls_to_its_pitch() -> None:
    sound = instruments.kick(50.0, np.random.default_rng(0), sweep=5, fall=0.03, t60=1.5, drive=1, click=0)
    crossings = np.flatnonzero(np.diff(np.signbit(sound)))
    gaps = np.diff(crossings) / SAMPLE_RATE
    assert gaps[0] < 0.004
    assert gaps[-1] == pytest.approx(0.01, rel=0.01)


def test_drums_and_hats_keep_to_their_bands() -> None:
    rng = np.random.default_rng(0)
    hat = instruments.hat(rng, t60=0.3, size=1, metal=0.5, cutoff=5000)
    snare = instruments.snare(200.0, rng, t60=0.3, wires=0.8, wires_t60=0.4, cutoff=1000)
    frequencies = np.fft.rfftfreq(N_SAMPLES, 1 / SAMPLE_RATE)

    def share_above(sound: Array, frequency: float) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        return float(power[frequencies > frequency].sum() / power.sum())

    assert share_above(hat, 3500) > 0.95
    assert 0.2 < share_above(snare, 1000) < 0.98
    assert abs(cents_off(snare, 200)) < 30


def test_modes_are_decaying_sines() -> None:
    time = np.arange(N_SAMPLES) / SAMPLE_RATE
    expected = 0.5 * np.sin(2 * math.pi * 440 * time) * 10 ** (-3 * time / 0.7) + np.cos(2 * math.pi * 3000 * time)
    found = signals.modes([440, 3000, 9000], [0.7, 1e9, 1], [0.5, 1j, 1])
    assert found == pytest.approx(expected, abs=1e-5)


def test_harmonics_are_left_out_above_the_nyquist_frequency() -> None:
    edges = np.ones((5, len(signals.EDGE_TIME)))
    found = signals.harmonics(np.full(N_SAMPLES, 2500.0), edges)
    turns = 2 * math.pi * 2500 * np.arange(N_SAMPLES) / SAMPLE_RATE
    assert found == pytest.approx(sum(np.sin(k * turns) for k in (1, 2, 3)), abs=1e-8)


@pytest.mark.parametrize(
    ("response", "gain"),
    [
        (lambda: signals.lowpass(1000, 2), 2),
        (lambda: signals.highpass(1000, 3), 3),
        (lambda: signals.bandpass(1000, 5), 1),
        (lambda: signals.delay(0.01), 1),
    ],
)
def test_filters_have_their_gain(response: Callable[[], NDArray[np.complex128]], gain: float) -> None:
    tone = np.sin(2 * math.pi * 1000 * np.arange(N_SAMPLES) / SAMPLE_RATE)
    found = signals.filtered(tone, response())[N_SAMPLES // 2 :]
    assert found.std() == pytest.approx(gain * tone.std(), rel=1e-3)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*[gv]")}


def test_demo_set_is_labelled_and_restartable(tmp_path: Path) -> None:
    make_demo(tmp_path, n_sounds=16)
    before = contents(tmp_path)
    names = sorted(before)
    assert len(names) == 32
    for index in range(16):
        kind = KINDS[index % len(KINDS)]
        name = f"{kind}/{kind}_{index:04d}.wav"
        info = soundfile.info(tmp_path / "recordings" / name)
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (16000, 16320, 1, "PCM_16")
        read, _ = soundfile.read(tmp_path / "recordings" / name)
        assert read == pytest.approx(synthesize(kind, np.random.default_rng([0, index])), abs=1 / 32768)
        header = read_header(tmp_path / "images" / f"{name}.0000.png")
        assert header.settings == DEMO_SETTINGS
        assert (header.n_frames, header.n_samples) == (128, 16320)

    kept = tmp_path / "recordings" / "kick" / "kick_0003.wav"
    lost = tmp_path / "recordings" / "voice" / "voice_0015.wav"
    (lost.parent / ".voice_0015.wav.killed.part").touch()
    lost.unlink()
    written = kept.stat().st_mtime_ns
    make_demo(tmp_path, n_sounds=16)
    assert kept.stat().st_mtime_ns == written
    assert contents(tmp_path) == before


def test_a_larger_demo_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    make_demo(tmp_path / "small", n_sounds=2, seed=3)
    make_demo(tmp_path / "large", n_sounds=3, seed=3)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    assert len(large) == 6
    assert small.items() <= large.items()


@pytest.mark.parametrize(("n_sounds", "seed"), [(0, 0), (1, -1)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, n_sounds: int, seed: int) -> None:
    with pytest.raises(InputError, match="n_sounds is at least 1"):
        make_demo(tmp_path, n_sounds, seed)
    assert not list(tmp_path.iterdir())


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recordings" / KINDS[0] / f"{KINDS[0]}_0000.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no sound")
    with pytest.raises(InputError, match=f"{KINDS[0]}_0000.wav.*delete it"):
        make_demo(tmp_path, n_sounds=1)
