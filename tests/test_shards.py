"""A store grows by files of frames that never change, and is what it would be if it had been built at once."""

import errno
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import full_at

import gan.data.build as build_module
import gan.data.building as building_module
import gan.data.store as store_module
from gan.data.building import Building
from gan.data.crops import Crop
from gan.data.datamodule import ImageData
from gan.data.opening import open_store
from gan.data.previous import Previous
from gan.data.resident import CropPlaces, ResidentCrops
from gan.data.shards import new_name, worth_copying
from gan.data.store import ImageStore
from gan.errors import InputError
from gan.sound.codec import read_codes

N_FREQS = 65


@pytest.fixture
def images(tmp_path, write_image) -> Path:
    """Ten images of 100 frames, of five recordings."""
    folder = tmp_path / "images"
    for index in range(10):
        write_image(folder / f"{index}.png", 100, seed=index, recording=f"{index // 2}.wav")
    return folder


def opened(images: Path) -> ImageStore:
    """The store, which holds what the images hold and has no other files of frames than it names."""
    store = open_store(images, images / ".store", n_threads=1)
    assert_whole(store, images)
    assert {path.name for path in (images / ".store").glob("*.frames")} == set(store.shards.names)
    return store


def assert_whole(store: ImageStore, images: Path) -> None:
    assert store.images.file == sorted(path.name for path in images.glob("*.png"))
    for index, image in enumerate(store.images):
        np.testing.assert_array_equal(store.codes(index, 0, image.n_frames), read_codes(images / image.file)[0].T)


@pytest.fixture
def n_written(monkeypatch) -> list[int]:
    """Bytes of every write of frames."""
    written: list[int] = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *arguments: written.append(n := real(*arguments)) or n)
    return written


class TestWorthCopying:
    @pytest.mark.parametrize(
        ("n_used", "n_rows", "n_new", "expected"),
        [
            ([100], [100], 1, set()),
            ([100], [100], 99, set()),
            ([100], [100], 100, {0}),
            ([67], [100], 1, set()),
            ([66], [100], 1, {0}),
            ([66], [100], 0, {0}),
            # What nobody uses is not copied, but left out.
            ([0, 50], [100, 50], 1, set()),
            ([100, 1], [100, 1], 1, {1}),
            # 4 and 3 and 1 are as many as 8.
            ([8, 4, 3], [8, 4, 3], 1, {0, 1, 2}),
            ([9, 4, 3], [9, 4, 3], 1, {1, 2}),
            ([100, 30, 10], [100, 30, 20], 1, {2}),
            ([100, 30, 29], [100, 30, 50], 1, {1, 2}),
            ([5, 5], [5, 5], 0, {0, 1}),
        ],
    )
    def test_by_numbers(self, n_used, n_rows, n_new, expected):
        assert worth_copying(n_used, n_rows, n_new) == expected

    def test_few_shards_and_few_copies_however_a_store_grows(self):
        rng = np.random.default_rng(0)
        for most in (1, 5, 1000):
            shards: list[int] = []
            n_copied = 0
            for _ in range(3000):
                new = int(rng.integers(1, most + 1))
                copied = worth_copying(shards, shards, new)
                n_copied += sum(shards[shard] for shard in copied)
                new += sum(shards[shard] for shard in copied)
                shards = [size for shard, size in enumerate(shards) if shard not in copied] + [new]
                ascending = sorted(shards)
                assert all(size > sum(ascending[:place]) for place, size in enumerate(ascending))
            assert len(shards) <= np.log2(sum(shards)) + 1
            assert n_copied <= sum(shards) * np.log2(sum(shards))


def test_a_refresh_writes_what_is_new(images, write_image, n_written):
    first = opened(images)
    (shard,) = first.shards.names
    before = (images / ".store" / shard).stat()
    n_written.clear()
    write_image(images / "a.png", 30, seed=20)
    write_image(images / "3.png", 40, seed=21)
    store = opened(images)
    assert sum(n_written) == (30 + 40) * N_FREQS * 2
    assert store.shards.names[0] == shard
    assert (images / ".store" / shard).stat() == before
    assert store.shards.n_rows == [1000, 70]
    assert store.n_bytes == 1070 * N_FREQS * 2
    assert [image.file for image in store.images if image.shard == 1] == ["3.png", "a.png"]
    # What is smaller than what is new goes along.
    n_written.clear()
    write_image(images / "b.png", 100, seed=22)
    assert opened(images).shards.n_rows == [1000, 170]
    assert sum(n_written) == 170 * N_FREQS * 2


def test_removed_images_are_left_where_they_are_until_they_are_a_third(images, n_written):
    before = opened(images)
    n_written.clear()
    for index in range(3):
        (images / f"{index}.png").unlink()
    assert opened(images).shards.names == before.shards.names
    assert n_written == []
    (images / "3.png").unlink()
    store = opened(images)
    assert store.shards.n_rows == [600]
    assert sum(n_written) == 600 * N_FREQS * 2
    # Opened before, looked into now.
    assert before.codes(0, 0, 100).shape == (100, N_FREQS)
    assert before.codes(9, 0, 100).tolist() == store.codes(5, 0, 100).tolist()


def in_steps(images: Path, write_image) -> ImageStore:
    """The store of these images, which came, changed and went in between."""
    for index in range(10, 16):
        write_image(images / f"{index}.png", 70 + index, seed=index, recording=f"{index // 2}.wav")
        if index % 2:
            opened(images)
    for index in (1, 4, 12):
        write_image(images / f"{index}.png", 90, seed=50 + index)
    opened(images)
    for index in (2, 5, 6, 7, 13):
        (images / f"{index}.png").unlink()
    opened(images)
    write_image(images / "00.png", 130, seed=70)
    return opened(images)


def test_what_is_drawn_does_not_depend_on_how_a_store_came_about(images, write_image, tmp_path):
    opened(images)
    grown = in_steps(images, write_image)
    at_once = open_store(images, tmp_path / "other")
    assert len(grown.shards.names) > 1
    assert len(at_once.shards.names) == 1
    assert grown.fingerprint == at_once.fingerprint
    for ours, theirs in zip(grown.images, at_once.images, strict=True):
        for name in ("file", "sha256", "n_frames", "level_db", "recording", "start_second"):
            assert getattr(ours, name) == getattr(theirs, name)
    found = []
    for folder in (images / ".store", tmp_path / "other"):
        data = ImageData(images, n_frames=64, batch_size=2, validation_fraction=0.2, store=folder, seed=3)
        data.setup()
        found.append((list(data.train_dataloader()), list(data.val_dataloader()), data.state_dict()))
        crops = [Crop(index, 5) for index in range(len(data.store.images))]
        expected = data.crops().__getitems__(crops).images
        resident = ResidentCrops(data.crops(), torch.device("cpu"))
        assert torch.equal(resident.batch(CropPlaces().__getitems__(crops)).images, expected)
        assert len(resident._frames) == sum(data.store.images.n_frames)
    (train, validation, state), others = found
    assert state == others[2]
    assert len(train) > 1
    assert len(validation) > 0
    for batches, others_batches in ((train, others[0]), (validation, others[1])):
        for ours, theirs in zip(batches, others_batches, strict=True):
            assert torch.equal(ours.images, theirs.images)


def of_before(folder: Path) -> None:
    """Make a store one of format 2, which had one file of frames."""
    index = json.loads((folder / "index.json").read_text())
    images = index["images"]
    assert set(images.pop("shard")) == {0}
    index |= {"format": 2, "looks": images.pop("looks"), "frames": "0123456789abcdef.frames"}
    (folder / index.pop("shards")[0]).rename(folder / index["frames"])
    (folder / "index.json").write_text(json.dumps(index))


def test_a_store_of_before_is_used_as_it_is_and_grows(images, write_image, n_written):
    opened(images)
    of_before(images / ".store")
    n_written.clear()
    before = {path: path.stat() for path in (images / ".store").iterdir() if path.name != "lock"}
    store = opened(images)
    assert {path: path.stat() for path in (images / ".store").iterdir() if path.name != "lock"} == before
    assert n_written == []
    assert store.shards.names == ["0123456789abcdef.frames"]
    write_image(images / "a.png", 30, seed=20)
    assert opened(images).shards.n_rows == [1000, 30]
    assert sum(n_written) == 30 * N_FREQS * 2


def test_a_build_that_was_stopped_before_there_were_shards_goes_on(images, monkeypatch, n_written):
    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Building, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            opened(images)
    journal = images / ".store" / "building.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line.get("image", {}).pop("shard", None)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    n_written.clear()
    opened(images)
    assert n_written == []


def killed(module: object, name: str, after: bool):
    """A function during which the process is killed, before it has done anything or when it is done."""
    real = getattr(module, name)

    def function(*arguments, **options):
        if after:
            real(*arguments, **options)
        raise KeyboardInterrupt

    return function


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Building, "start"),
        (Building, "add"),
        (Previous, "worth_copying"),
        (Building, "finish"),
        (building_module, "new_name"),
        (build_module, "write_index"),
        (Building, "place"),
        (store_module, "sync_to_disk"),
        (Building, "remove_journal"),
    ],
)
def test_a_kill_leaves_the_old_store_or_the_new_one(images, write_image, monkeypatch, module, name, after):
    before = opened(images)
    in_use = [before.codes(index, 0, 100).copy() for index in range(10)]
    write_image(images / "a.png", 50, seed=20)
    opened(images)
    # Of one shard too little is left, and it is copied.
    for index in range(4):
        (images / f"{index}.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed(module, name, after))
        with pytest.raises(KeyboardInterrupt):
            open_store(images, images / ".store", n_threads=1)
    now = ImageStore(images / ".store")
    assert len(now.images) in (7, 11)
    for index, file in enumerate(now.images.file):
        if file != "a.png":
            np.testing.assert_array_equal(now.codes(index, 0, 100), in_use[int(file[0])])
    assert opened(images).shards.n_rows == [650]
    # And those who had it open have it still.
    for index, codes in enumerate(in_use):
        np.testing.assert_array_equal(before.codes(index, 0, 100), codes)


def test_what_a_killed_refresh_did_not_come_to_name_is_removed(images, write_image):
    opened(images)
    (images / ".store" / new_name()).write_bytes(b"x" * N_FREQS)
    opened(images)
    for name in (new_name(), "0123456789abcdef.frames", "0123456789abcdef_again.frames"):
        (images / ".store" / name).write_bytes(b"x" * N_FREQS)
    (images / ".store" / ".index.json.k2x_9abc.part").touch()
    write_image(images / "a.png", 30, seed=20)
    opened(images)
    assert list((images / ".store").glob(".*")) == []


def test_what_a_killed_build_did_not_come_to_name_makes_room_for_the_next(images, monkeypatch):
    (images / ".store").mkdir()
    (images / ".store" / new_name()).write_bytes(b"x" * N_FREQS)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full_at(1, os.pwrite))
        with pytest.raises(InputError, match="No space left on device"):
            opened(images)
    assert [path.name for path in (images / ".store").glob("*.frames")] == ["building.frames"]


def test_frames_of_an_index_of_a_newer_version_are_kept_until_there_are_others(images, monkeypatch):
    (shard,) = opened(images).shards.names
    index = json.loads((images / ".store" / "index.json").read_text())
    (images / ".store" / "index.json").write_text(json.dumps(index | {"format": 4}))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full_at(1, os.pwrite))
        with pytest.raises(InputError, match="No space left on device"):
            opened(images)
    assert (images / ".store" / shard).exists()
    assert opened(images).shards.names != [shard]


def test_files_of_others_in_the_folder_are_left_alone(images, write_image):
    folder = images / ".store"
    (folder / "deep").mkdir(parents=True)
    others = [
        "holiday.frames",
        "0123.frames",
        ".song.wav.x.part",
        ".part",
        f"deep/{new_name()}",
        "deep/.index.json.0.part",
    ]
    for other in others:
        (folder / other).write_text("mine")
    for index in range(20, 22):
        write_image(images / f"{index}.png", 30, seed=index)
        open_store(images, folder)
    assert [(folder / other).read_text() for other in others] == ["mine"] * len(others)


def test_a_disk_without_room_for_the_index_costs_no_frames(images, monkeypatch, n_written):
    real = Path.write_text

    def full(path: Path, *arguments: object, **options: object) -> int:
        if "index.json" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        for _ in range(3):
            with pytest.raises(InputError, match="No space left on device"):
                open_store(images, images / ".store")
            assert [path.name for path in (images / ".store").glob("*.frames")] == ["building.frames"]
    assert opened(images).shards.n_rows == [1000]
    assert sum(n_written) == 1000 * N_FREQS * 2


def test_a_disk_that_fills_up_while_frames_are_copied_leaves_the_old_store(images, monkeypatch):
    opened(images)
    for index in range(4):
        (images / f"{index}.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full_at(4, os.pwrite))
        with pytest.raises(InputError, match="No space left on device"):
            open_store(images, images / ".store")
    assert len(ImageStore(images / ".store").images) == 10
    assert opened(images).shards.n_rows == [600]


def test_what_a_kill_left_of_an_image_is_no_part_of_the_shard(images, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Building, "finish", killed(Building, "sync", True))
        with pytest.raises(KeyboardInterrupt):
            opened(images)
    with (images / ".store" / "building.frames").open("ab") as file:
        file.write(b"x" * 100)
    assert opened(images).shards.n_rows == [1000]


def test_a_store_that_there_are_no_addresses_for_is_not_built_anew(images, monkeypatch):
    names = opened(images).shards.names
    with monkeypatch.context() as patch:
        patch.setattr(np, "memmap", mock.Mock(side_effect=OSError(errno.ENOMEM, "Cannot allocate memory")))
        with pytest.raises(MemoryError, match="GB of addresses"):
            open_store(images, images / ".store")
    assert opened(images).shards.names == names


def failing_once(function, error: OSError, suffix: str):
    """A function that fails the first time that it is called of such a file."""
    errors = [error]

    def fails(path: Path, *arguments: object, **options: object):
        if errors and path.name.endswith(suffix):
            raise errors.pop()
        return function(path, *arguments, **options)

    return fails


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize(("where", "name", "suffix"), [(np, "memmap", "s"), (Path, "read_text", "index.json")])
def test_a_store_that_cannot_be_opened_this_time_is_not_built_anew(images, monkeypatch, number, where, name, suffix):
    before = opened(images)
    error = OSError(number, os.strerror(number))
    monkeypatch.setattr(where, name, failing_once(getattr(where, name), error, suffix))
    with pytest.raises(
        InputError, match=f"the store of the images cannot be opened .{os.strerror(number)}.; run again"
    ):
        open_store(images, images / ".store")
    assert opened(images).shards.names == before.shards.names


def test_a_process_that_opens_frames_that_were_removed_meanwhile_says_so(images, write_image):
    before = opened(images)
    sent = pickle.loads(pickle.dumps(before))
    other = pickle.loads(pickle.dumps(before))
    sent.codes(0, 0, 100)
    for index in range(10):
        write_image(images / f"{index}.png", 100, seed=30 + index)
    opened(images)
    np.testing.assert_array_equal(sent.codes(0, 0, 100), before.codes(0, 0, 100))
    with pytest.raises(
        InputError, match=r"\.frames: the store has been refreshed since it was opened, .*num_workers 0"
    ):
        other.codes(0, 0, 100)


def test_several_open_a_store_that_has_grown_at_once(images, write_image, n_written):
    opened(images)
    write_image(images / "a.png", 30, seed=20)
    n_written.clear()
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(images, images / ".store", n_threads=1), range(4)))
    assert sum(n_written) == 30 * N_FREQS * 2
    for store in stores:
        assert store.shards.names == stores[0].shards.names
        assert_whole(store, images)
