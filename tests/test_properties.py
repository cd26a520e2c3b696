"""What holds whatever the numbers are: hypothesis looks for those for which it does not."""

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from conftest import SMALL, _write_image
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from gan.data.crops import CropDataset, drawn_crops, fresh_frames, side_by_side
from gan.data.names import places
from gan.data.opening import open_store
from gan.sound.codec import Origin, codes_from_magnitude, decode_image, encode_image, magnitude_from_codes, read_header
from gan.sound.phase.griffin_lim import GriffinLim
from gan.sound.phase.pghi import PGHI
from gan.sound.recording import SUFFIXES, windows
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale, db_from_image, image_from_db, istft, magnitude_from_waveform, stft

# The same numbers every time, and as many as a few seconds allow.
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one example: pytest's is one for all of a test's."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@some.composite
def grids(draw, **fixed: object) -> SpectrogramSettings:
    """Settings that are accepted."""
    n_fft = draw(some.integers(2, 300))
    win_length = draw(some.integers(2, n_fft))
    numbers = {
        "sample_rate": draw(some.sampled_from([1, 8000, 11025, 22050, 192000])),
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": draw(some.integers(1, win_length // 2)),
        "window": draw(some.sampled_from(["hann", "hamming", "blackman"])),
        "floor_db": draw(some.floats(-300, -1)),
        "bits": draw(some.sampled_from([8, 16])),
    }
    return SpectrogramSettings(**(numbers | fixed))


def noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestCodec:
    @quick
    @given(
        grid=grids(),
        n_frames=some.integers(1, 40),
        loudness_db=some.floats(-300, 300),
        silent=some.floats(0, 1),
        seed=some.integers(0, 1000),
        words=some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    )
    def test_an_image_holds_what_was_put_in(self, grid, n_frames, loudness_db, silent, seed, words):
        relative_db = (
            1.2
            * grid.floor_db
            * torch.rand(grid.n_freqs, n_frames, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        )
        magnitude = 10 ** ((relative_db + loudness_db) / 20)
        magnitude[torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(seed)) < silent] = 0
        n_samples = grid.n_samples(n_frames)
        origin = Origin(f"{words}.wav", 0.5, n_samples, last=True) if n_samples and seed % 2 else None
        with folder() as made:
            header = encode_image(made / "a.png", magnitude, grid, origin, words)
            decoded, read = decode_image(made / "a.png")
        assert read == header
        assert (read.settings, read.origin, read.description) == (grid, origin, words)
        assert decoded.shape == magnitude.shape
        if magnitude.max() < 1e-20:
            assert read.level_db is None
            assert not decoded.any()
            return
        # What lies below the floor comes back at it, all else within half a step and what a float32 leaves of a level.
        loudest = float(magnitude.max())
        expected = (20 * torch.log10(magnitude.clamp_min(1e-300) / loudest)).clamp_min(grid.floor_db)
        heard = (20 * torch.log10(decoded.double().clamp_min(1e-300) / loudest)).clamp_min(grid.floor_db)
        half_step = -grid.floor_db / (2**grid.bits - 1) / 2
        # What is quieter than -400 dB is nobody's sound.
        audible = expected + 20 * math.log10(loudest) > -400
        assert (heard - expected)[audible].abs().max() <= half_step + 1e-4

    @quick
    @given(grid=grids(), n_frames=some.integers(1, 20), level_db=some.floats(-90, 300), seed=some.integers(0, 1000))
    def test_codes_come_back_as_they_are(self, grid, n_frames, level_db, seed):
        top = 2**grid.bits - 1
        codes = np.random.default_rng(seed).integers(0, top + 1, (grid.n_freqs, n_frames))
        codes.flat[seed % codes.size] = top
        codes = codes.astype(np.uint16 if grid.bits == 16 else np.uint8)
        # In double: in float32 it is a step of a 16-bit image of 10 dB that gets lost.
        relative_db = (1.0 - torch.from_numpy(codes.astype(np.float64)) / top) * grid.floor_db
        again, again_db = codes_from_magnitude(10 ** ((relative_db + level_db) / 20), grid)
        np.testing.assert_array_equal(again, codes)
        assert again_db == pytest.approx(level_db, abs=1e-9)
        assert magnitude_from_codes(codes, level_db, grid).isfinite().all()


class TestSpectrogram:
    @quick
    @given(grid=grids(), n_samples=some.integers(1, 2000), seed=some.integers(0, 1000))
    def test_frames_and_samples(self, grid, n_samples, seed):
        waveform = noise((2, n_samples), seed)
        spectrum = stft(waveform, grid)
        assert spectrum.shape == (2, grid.n_freqs, grid.n_frames(n_samples))
        assert istft(spectrum, grid).shape == (2, grid.n_samples(grid.n_frames(n_samples)))
        back = istft(spectrum, grid, n_samples)
        assert back.shape == waveform.shape
        # Where a window reaches; the periodic Hann window begins with a zero, and hops of half a window meet there.
        reached = istft(stft(torch.ones(1, n_samples), grid), grid, n_samples)[0].sub(1).abs() < 1e-3
        torch.testing.assert_close(back[:, reached], waveform[:, reached], rtol=0, atol=2e-2)

    @quick
    @given(
        grid=grids(),
        n_samples=some.integers(1, 1500),
        other=some.integers(1, 2500),
        method=some.sampled_from([GriffinLim, PGHI]),
        seed=some.integers(0, 100),
    )
    def test_a_phase_makes_as_many_samples_as_are_asked_for(self, grid, n_samples, other, method, seed):
        magnitude = magnitude_from_waveform(noise((n_samples,), seed), grid)
        reconstruct = method(grid, n_iter=2) if method is GriffinLim else method(grid)
        for length in (n_samples, other):
            waveform = reconstruct(magnitude, length)
            assert waveform.shape == (length,)
            assert waveform.isfinite().all()
        assert len(reconstruct(magnitude)) == grid.n_samples(magnitude.shape[1])

    @quick
    @given(
        top_db=some.floats(-200, 200),
        range_db=some.floats(1, 300),
        means=some.none()
        | some.lists(some.tuples(some.floats(-200, 200), some.floats(0.1, 50)), min_size=8, max_size=8),
        seed=some.integers(0, 1000),
    )
    def test_an_image_and_its_levels(self, top_db, range_db, means, seed):
        mean_db, deviation_db = (None, None) if means is None else zip(*means, strict=True)
        scale = ImageScale(top_db, range_db, mean_db, deviation_db)
        image = torch.rand(3, 1, 8, 5, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        level_db = db_from_image(image, scale)
        assert level_db.shape == (3, 1, 9, 5)
        assert level_db.min() >= scale.floor_db - 1e-3
        assert level_db.max() <= scale.top_db + 1e-3
        again = image_from_db(level_db, scale)
        assert again.abs().max() <= 1
        # Levels are the same again, and images where they are no further away than what is heard.
        torch.testing.assert_close(db_from_image(again, scale), level_db, rtol=0, atol=2e-3)
        if means is None:
            torch.testing.assert_close(again, image, rtol=0, atol=2e-3)


class TestWindows:
    @quick
    @given(
        n_samples=some.integers(1, 5000),
        window=some.integers(1, 3000),
        step=some.integers(1, 3000),
        block=some.integers(1, 4000),
    )
    def test_they_cover_a_recording(self, n_samples, window, step, block):
        waveform = np.arange(1, n_samples + 1, dtype=np.float32) / 8192
        step = max(step, n_samples // 200)
        with folder() as made, pytest.MonkeyPatch.context() as patch:
            patch.setattr("gan.sound.recording._BLOCK_FRAMES", block)
            soundfile.write(made / "a.wav", waveform, 8000, "FLOAT")
            cut = list(windows(made / "a.wav", 8000, window, step))
        for each in cut:
            assert len(each.waveform) == min(window, n_samples)
            np.testing.assert_allclose(each.waveform, waveform[each.start_sample :][:window], atol=2e-6)
        starts = [each.start_sample for each in cut]
        # Steps, and a last one that ends where the recording does and begins within a step of the one before.
        assert starts[:-1] == list(range(0, step * (len(cut) - 1), step))
        assert starts[-1] == max(0, n_samples - window)
        assert [each.last for each in cut] == [False] * (len(cut) - 1) + [True]
        if len(cut) > 1:
            assert 0 < starts[-1] - starts[-2] <= step
        covered = np.zeros(n_samples, int)
        for start in starts:
            covered[start : start + window] += 1
        if step <= window:
            assert covered.min() == 1
        if step == window:
            # All once, but for what the last window repeats of the one before.
            assert (covered == 1).sum() >= n_samples - window
            assert covered.max() <= 2


class TestCrops:
    @quick
    @given(
        images=some.lists(
            some.tuples(some.sampled_from("ab"), some.integers(0, 200), some.integers(1, 120)), min_size=1, max_size=12
        ),
        n_frames=some.integers(1, 60),
        seed=some.integers(0, 1000),
    )
    def test_they_stay_inside_and_no_moment_comes_twice(self, images, n_frames, seed):
        hop = SMALL.hop_length / SMALL.sample_rate
        recording, start, width = map(list, zip(*images, strict=True))
        index = SimpleNamespace(recording=recording, start_second=[hop * each for each in start], n_frames=width)
        store = SimpleNamespace(settings=SMALL, images=index)
        fresh = fresh_frames(store, range(len(images)), n_frames)
        both = side_by_side(fresh, n_frames), drawn_crops(fresh, n_frames, 10_000, np.random.default_rng(seed))
        for crops in both:
            assert crops
            for crop in crops:
                width = images[crop.image][2]
                assert 0 <= crop.start < width
                # Only a crop that is all of a short image goes on behind its end.
                assert crop.start + n_frames <= width or crop.start == 0 == max(0, width - n_frames)
        assert len(both[0]) == len(both[1])
        shown = [
            (images[crop.image][0], images[crop.image][1] + frame)
            for crop in both[0]
            for frame in range(crop.start, min(crop.start + n_frames, images[crop.image][2]))
        ]
        assert len(set(shown)) == len(shown)
        for n in (1, 3, 1000):
            spread = side_by_side(fresh, n_frames, n)
            n_all, n_some = len(both[0]), min(n, len(both[0]))
            assert spread == [both[0][index * n_all // n_some] for index in range(n_some)]


class TestNames:
    @quick
    @given(
        folder_name=some.sampled_from(["", "a/", "x.wav60/y/", "60/"]),
        stem=some.text(some.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12),
        suffix=some.sampled_from(sorted(SUFFIXES)),
        n_windows=some.integers(2, 5),
        rest=some.floats(0.5, 59.5),
    )
    def test_the_names_of_a_recordings_windows(self, folder_name, stem, suffix, n_windows, rest):
        recording = f"{folder_name}{stem}{suffix}"
        ends = [*(60 * (index + 1) for index in range(n_windows)), round(60 * n_windows + rest, 6)]
        names = [f"{recording}{end}.jpg" for end in ends]
        grid = SpectrogramSettings(floor_db=-80.0, bits=8)
        found = places(dict.fromkeys(names, grid.n_frames(60 * 22050)), grid)
        for name, end in zip(names, ends, strict=True):
            assert found[name].recording == recording
            assert found[name].start_second == pytest.approx(end - 60, abs=1e-6)

    @quick
    @given(some.lists(some.text(min_size=1, max_size=20), min_size=1, max_size=8, unique=True), some.integers(1, 3000))
    def test_any_names(self, names, n_frames):
        found = places(dict.fromkeys(names, n_frames), SpectrogramSettings())
        assert set(found) == set(names)
        assert all(place.start_second >= 0 and math.isfinite(place.start_second) for place in found.values())


class Stored(RuleBasedStateMachine):
    """A folder of images that changes, and its store."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.images = self.root / "images"
        self.written = 0
        self.widths: dict[str, int] = {}
        self.write("first", 30)

    @rule(name=some.sampled_from(["first", "b", "sub/c", "sub/d e", "ü"]), n_frames=some.integers(2, 60))
    def write(self, name: str, n_frames: int) -> None:
        """A new image, or another in the place of one."""
        self.written += 1
        _write_image(self.images / f"{name}.png", n_frames, seed=self.written)
        self.widths[f"{name}.png"] = n_frames

    @rule(which=some.integers(0, 10))
    def remove(self, which: int) -> None:
        if len(self.widths) > 1:
            name = sorted(self.widths)[which % len(self.widths)]
            (self.images / name).unlink()
            del self.widths[name]

    @rule(which=some.integers(0, 10))
    def rename(self, which: int) -> None:
        name = sorted(self.widths)[which % len(self.widths)]
        (self.images / name).rename(self.images / f"renamed {self.written}.png")
        self.widths[f"renamed {self.written}.png"] = self.widths.pop(name)
        self.written += 1

    @rule(name=some.sampled_from(["index.json", "building.jsonl", "building.frames"]), length=some.integers(0, 50))
    def damage(self, name: str, length: int) -> None:
        """As a kill or a full disk leaves it."""
        if (self.images / ".store").is_dir():
            (self.images / ".store" / name).write_bytes(b'{"made": 3}\n{"kind":' * length)

    @rule(n_threads=some.integers(1, 2))
    def build(self, n_threads: int) -> None:
        store = open_store(self.images, self.images / ".store", n_threads)
        assert {image.file: image.n_frames for image in store.images} == self.widths
        assert store.skipped == []
        for index, image in enumerate(store.images):
            decoded, _ = decode_image(self.images / image.file)
            codes = store.codes(index, 0, image.n_frames)
            again = magnitude_from_codes(np.ascontiguousarray(codes.T), image.level_db, store.settings)
            torch.testing.assert_close(again, decoded, rtol=0, atol=0)
            assert read_header(self.images / image.file).level_db == image.level_db
        dataset = CropDataset(store, ImageScale(20.0), 16)
        fresh = fresh_frames(store, range(len(store.images)), 16)
        images = dataset.__getitems__(side_by_side(fresh, 16)).images
        assert images.abs().max() <= 1
        # Nothing that is no longer needed is left.
        frames = list((self.images / ".store").glob("*.frames"))
        assert sum(path.stat().st_size for path in frames) == store.n_bytes

    def teardown(self) -> None:
        shutil.rmtree(self.root)


def test_a_store_holds_what_its_images_hold_whatever_became_of_them():
    run_state_machine_as_test(Stored, settings=settings(quick, max_examples=15, stateful_step_count=12))
