"""The store holds what the image files hold, through kills, changes and damage."""

import errno
import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import full_at
from PIL import Image, PngImagePlugin

import gan.data.building as building_module
import gan.data.source as source_module
from gan.data.listing import find_images, has_images
from gan.data.opening import Opening, open_store
from gan.data.store import ImageStore
from gan.errors import InputError
from gan.sound.codec import read_codes, read_header


@pytest.fixture
def images(tmp_path, write_image):
    """Twelve images of different widths in two folders, two of them of one recording."""
    folder = tmp_path / "images"
    for index in range(10):
        write_image(folder / "a" / f"{index}.png", n_frames=40 + index, seed=index, level=0.1 * (index + 1))
    for index in range(2):
        write_image(folder / "b" / f"long.{index}.png", n_frames=80, seed=20 + index, recording="../../long.wav")
    return folder


def assert_equals_files(store: ImageStore, images: Path) -> None:
    assert [image.file for image in store.images] == sorted(
        p.relative_to(images).as_posix() for p in find_images(images)
    )
    for index, image in enumerate(store.images):
        codes, header = read_codes(images / image.file)
        np.testing.assert_array_equal(store.codes(index, 0, image.n_frames), codes.T)
        np.testing.assert_array_equal(store.codes(index, 7, 20), codes.T[7:27])
        assert image.level_db == header.level_db
        assert image.n_frames == header.n_frames


def count_decodes(monkeypatch) -> list[Path]:
    decoded = []

    def counting(path):
        decoded.append(path)
        return read_codes(path)

    monkeypatch.setattr(source_module, "read_codes", counting)
    return decoded


def test_frames_and_index_equal_the_files(images):
    store = open_store(images, images / ".store")
    assert_equals_files(store, images)
    assert store.images[-1].recording == "../long.wav"
    assert store.images[0].recording == "a/0.wav"
    assert store.skipped == []


def test_a_crop_is_one_contiguous_read(images):
    crop = open_store(images, images / ".store").codes(3, 5, 16)
    assert crop.flags.c_contiguous
    assert crop.base is not None  # a view of the map, nothing is copied
    with pytest.raises(ValueError, match="read-only"):
        crop[0, 0] = 1


def test_pickled_store_carries_no_frames(images):
    store = open_store(images, images / ".store")
    store.codes(0, 0, 1)
    pickled = pickle.dumps(store)
    assert len(pickled) < store.n_bytes / 10
    np.testing.assert_array_equal(pickle.loads(pickled).codes(3, 0, 40), store.codes(3, 0, 40))


def test_opening_again_decodes_nothing(images, monkeypatch):
    first = open_store(images, images / ".store")
    decoded = count_decodes(monkeypatch)
    again = open_store(images, images / ".store")
    assert decoded == []
    assert again.fingerprint == first.fingerprint


def test_who_waited_for_a_newer_store_takes_it(images, monkeypatch, write_image):
    open_store(images, images / ".store")
    write_image(images / "new.png", n_frames=30, seed=98)
    waiting = Opening(images, images / ".store")
    waiting.settings()
    write_image(images / "newer.png", n_frames=60, seed=99)
    newer = open_store(images, images / ".store")
    decoded = count_decodes(monkeypatch)
    assert waiting.store().fingerprint == newer.fingerprint
    assert decoded == []
    assert_equals_files(ImageStore(images / ".store"), images)


def test_what_was_read_otherwise_than_now_is_read_again(images, monkeypatch):
    decoded = count_decodes(monkeypatch)
    for old in (None, 2):
        open_store(images, images / ".store")
        path = images / ".store" / "index.json"
        index = json.loads(path.read_text())
        assert index.pop("content") == 2
        # Stores of before it was written down are of content 2, and are used as they are.
        path.write_text(json.dumps(index if old is None else index | {"content": old}))
        decoded.clear()
        assert_equals_files(open_store(images, images / ".store"), images)
        assert decoded == []
        with monkeypatch.context() as patch:
            for module in ("store", "previous", "build", "opening"):
                patch.setattr(f"gan.data.{module}.CONTENT", 3)
            for _ in range(2):
                store = open_store(images, images / ".store")
                assert store.content == 3
                assert len(decoded) == 12


def test_only_changed_files_are_decoded_again(images, monkeypatch, write_image):
    first = open_store(images, images / ".store")
    decoded = count_decodes(monkeypatch)
    write_image(images / "a" / "3.png", n_frames=50, seed=99)
    write_image(images / "a" / "new.png", n_frames=30, seed=98)
    (images / "a" / "5.png").unlink()
    store = open_store(images, images / ".store")
    assert sorted(path.name for path in decoded) == ["3.png", "new.png"]
    assert_equals_files(store, images)
    assert store.fingerprint != first.fingerprint


def test_a_training_keeps_its_frames_while_the_store_is_refreshed(images, write_image):
    before = open_store(images, images / ".store")
    frames = before.codes(0, 0, 40)
    copy = frames.copy()
    write_image(images / "a" / "0.png", n_frames=44, seed=77)
    open_store(images, images / ".store")
    np.testing.assert_array_equal(frames, copy)


def stop_after(monkeypatch, n_images: int) -> None:
    """Ctrl-C comes while the image after these is decoded."""
    calls = 0

    def stopped(path):
        nonlocal calls
        calls += 1
        if calls > n_images:
            raise KeyboardInterrupt
        return read_codes(path)

    monkeypatch.setattr(source_module, "read_codes", stopped)


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_stopped_build_goes_on_where_it_was(images, monkeypatch, seconds):
    monkeypatch.setattr(building_module, "_SYNC_SECONDS", seconds)
    stop_after(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        open_store(images, images / ".store", n_threads=1)
    assert not (images / ".store" / "index.json").exists()
    decoded = count_decodes(monkeypatch)
    store = open_store(images, images / ".store", n_threads=1)
    assert len(decoded) == 6
    assert_equals_files(store, images)
    assert sorted(p.suffix for p in (images / ".store").iterdir() if p.name != "lock") == [".frames", ".json"]


def test_stopped_build_goes_on_with_other_files(images, monkeypatch, write_image):
    stop_after(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        open_store(images, images / ".store", n_threads=1)
    write_image(images / "a" / "0.png", n_frames=90, seed=50)
    (images / "a" / "1.png").unlink()
    write_image(images / "c" / "new.png", n_frames=33, seed=51)
    decoded = count_decodes(monkeypatch)
    assert_equals_files(open_store(images, images / ".store", n_threads=1), images)
    assert [path.name for path in decoded] == [
        "0.png", "6.png", "7.png", "8.png", "9.png", "long.0.png", "long.1.png", "new.png",
    ]  # fmt: skip


def stop_before_the_index(images, monkeypatch) -> None:
    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building_module.Building, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            open_store(images, images / ".store", n_threads=1)


def test_journal_that_was_cut_off_is_used_up_to_the_cut(images, monkeypatch):
    stop_before_the_index(images, monkeypatch)
    journal = images / ".store" / "building.jsonl"
    journal.write_text(journal.read_text()[:-10])
    decoded = count_decodes(monkeypatch)
    stop_before_the_index(images, monkeypatch)
    assert len(decoded) == 1
    # And what was appended behind the cut can be read.
    assert_equals_files(open_store(images, images / ".store"), images)
    assert len(decoded) == 1


def test_journal_that_lacks_its_last_end_of_line_loses_that_line_only(images, monkeypatch):
    stop_before_the_index(images, monkeypatch)
    journal = images / ".store" / "building.jsonl"
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole[:8])[:-1])
    decoded = count_decodes(monkeypatch)
    stop_before_the_index(images, monkeypatch)
    assert len(decoded) == 12 - 5  # how it was made, the kind, five images, and one without an end
    assert_equals_files(open_store(images, images / ".store"), images)
    assert len(decoded) == 12 - 5


@pytest.mark.parametrize("damage", [b"\0" * 4096, b"[1]\n", b'{"image": {}}\n', b'{"image": 1, "kind": 2}\n'])
def test_damaged_journal_is_used_up_to_the_damage(images, monkeypatch, damage):
    stop_before_the_index(images, monkeypatch)
    journal = images / ".store" / "building.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:5], damage, *lines[5:]]))
    decoded = count_decodes(monkeypatch)
    assert_equals_files(open_store(images, images / ".store"), images)
    assert len(decoded) == 12 - 3  # before the damage: how it was made, the kind, three images


def test_frames_that_were_lost_are_decoded_again(images, monkeypatch):
    stop_before_the_index(images, monkeypatch)
    frames = images / ".store" / "building.frames"
    with frames.open("r+b") as file:
        file.truncate(frames.stat().st_size - 1)
    decoded = count_decodes(monkeypatch)
    assert_equals_files(open_store(images, images / ".store"), images)
    assert len(decoded) == 12


def test_full_disk_is_said_and_the_next_run_finishes(images, monkeypatch):
    monkeypatch.setattr(os, "pwrite", full_at(8, os.pwrite))
    with pytest.raises(InputError, match=r"No space left on device.*--data.store"):
        open_store(images, images / ".store", n_threads=1)
    assert_equals_files(open_store(images, images / ".store"), images)


def test_damaged_store_is_built_anew(images):
    store = open_store(images, images / ".store")
    (shard,) = store.shards.names
    with (images / ".store" / shard).open("r+b") as file:
        file.truncate(100)
    assert_equals_files(open_store(images, images / ".store"), images)
    (images / ".store" / "index.json").write_text("{")
    assert_equals_files(open_store(images, images / ".store"), images)


def test_unreadable_images_are_left_out_and_named(images):
    (images / "a" / "notes.png").write_bytes(b"not a picture")
    whole = (images / "a" / "4.png").read_bytes()
    (images / "a" / "4.png").write_bytes(whole[: len(whole) // 2])
    store = open_store(images, images / ".store")
    assert [image.file for image in store.images if image.file.startswith("a/")] == [
        f"a/{index}.png" for index in range(10) if index != 4
    ]
    assert len(store.skipped) == 2
    assert "4.png" in store.skipped[0]
    assert "notes.png" in store.skipped[1]
    for index, image in enumerate(store.images):
        np.testing.assert_array_equal(store.codes(index, 0, image.n_frames), read_codes(images / image.file)[0].T)
    # Not tried again until the files change.
    assert open_store(images, images / ".store").skipped == store.skipped


def test_damaged_images_are_not_taken_for_figures(images, monkeypatch):
    def read(path, options):
        raise AssertionError(path)

    monkeypatch.setattr(source_module, "read_figure", read)
    path = images / "a" / "4.png"
    with Image.open(path) as image:
        info = PngImagePlugin.PngInfo()
        info.add_itxt("spectrogram", image.info["spectrogram"])
        image.resize((20, 65)).save(path, pnginfo=info)
    store = open_store(images, images / ".store")
    assert len(store.images) == 11
    assert "20 pixels wide, but its sound makes 44; was it resized?" in store.skipped[0]
    for other in images.rglob("*.png"):
        if other != path:
            other.unlink()
    with pytest.raises(InputError, match=r"none of its 1 images can be used; .*20 pixels wide"):
        open_store(images, images / ".store")


def test_a_png_without_settings_is_named_by_what_it_lacks(images):
    with Image.open(images / "a" / "4.png") as image:
        image.resize((44, 65)).save(images / "a" / "4.png")
    store = open_store(images, images / ".store")
    assert len(store.images) == 11
    assert "4.png: no settings in it" in store.skipped[0]


def test_mixed_settings_are_refused_with_both_named(images, write_image, monkeypatch):
    import conftest

    monkeypatch.setattr(conftest, "SMALL", conftest.SpectrogramSettings(8000, 128, 16, 128))
    write_image(images / "a" / "other.png")
    with pytest.raises(InputError, match=r"different settings \(.*hop_length 32.*hop_length 16"):
        open_store(images, images / ".store")


def test_missing_empty_and_useless_folders(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_store(tmp_path / "nowhere", tmp_path / "store")
    with pytest.raises(InputError, match=r"no images \(\*\.bmp, .*\*\.png, "):
        open_store(tmp_path, tmp_path / "store")
    (tmp_path / "x.png").write_bytes(b"x")
    with pytest.raises(InputError, match="none of its 1 images can be used"):
        open_store(tmp_path, tmp_path / "store")


def test_hidden_files_and_the_store_are_no_images(tmp_path, write_image):
    assert not has_images(tmp_path)
    assert not has_images(tmp_path / "nowhere")
    for name in (".hidden.png", ".hidden/a.png", "store/a.png", "a.txt", "folder.png/b.txt", "a.report.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no images"):
        find_images(tmp_path, tmp_path / "store")
    write_image(tmp_path / "b" / "A.PNG")
    (tmp_path / "b.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_images(tmp_path, tmp_path / "store") == [tmp_path / "b" / "A.PNG"]
    assert has_images(tmp_path / "b")
    assert len(open_store(tmp_path, tmp_path / "store").images) == 1


def fail_to_list(monkeypatch, failing: Path, number: int, after: int) -> None:
    """Listing this folder fails with an error of this number after some entries."""
    scandir = os.scandir

    def entries_of(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for _ in range(after):
            yield next(entries)
        raise OSError(number, os.strerror(number))

    @contextmanager
    def scanning(path):
        with scandir(path) as entries:
            yield entries_of(entries) if Path(path) == failing else entries

    monkeypatch.setattr(os, "scandir", scanning)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_a_listing_that_fails_takes_no_image_from_the_store(images, monkeypatch, number):
    open_store(images, images / ".store")
    before = {path: path.read_bytes() for path in (images / ".store").iterdir()}
    with monkeypatch.context() as patched:
        fail_to_list(patched, images / "a", number, after=3)
        with pytest.raises(InputError, match=rf"images: cannot be listed \({os.strerror(number)}\); run again when"):
            open_store(images, images / ".store")
        # So that a training says so, too, and takes no others.
        fail_to_list(patched, images, number, after=0)
        assert has_images(images)
    assert {path: path.read_bytes() for path in (images / ".store").iterdir()} == before
    assert_equals_files(open_store(images, images / ".store"), images)


def test_a_folder_that_may_not_be_entered(images, monkeypatch):
    fail_to_list(monkeypatch, images / "b", errno.EACCES, after=0)
    (images / "loop.png").symlink_to("loop.png")
    assert [path.name for path in find_images(images)] == [f"{index}.png" for index in range(10)]
    fail_to_list(monkeypatch, images, errno.EACCES, after=0)
    with pytest.raises(InputError, match=r"images: cannot be listed \(Permission denied\)"):
        find_images(images)
    assert has_images(images)


def test_a_file_that_cannot_be_asked_for_is_not_taken_for_removed(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "a.png")

    class Entry:
        name, path = "a.png", str(tmp_path / "a.png")

        def is_dir(self, follow_symlinks: bool) -> bool:
            return False

        def is_symlink(self) -> bool:
            return False

        def stat(self) -> os.stat_result:
            raise OSError(errno.EIO, "Input/output error", self.path)

    monkeypatch.setattr("gan.walk._entries", lambda *_: [Entry()])
    with pytest.raises(InputError, match=r"a\.png: cannot be listed \(Input/output error\)"):
        find_images(tmp_path)


def fail_to_open(monkeypatch, opens: str) -> None:
    def failing(path):
        if path.name == "4.png":
            raise OSError(errno.ESTALE, "Stale file handle")
        return {"read_header": read_header, "read_codes": read_codes}[opens](path)

    monkeypatch.setattr(source_module, opens, failing)


@pytest.mark.parametrize("opens", ["read_header", "read_codes"])
def test_an_image_that_could_not_be_opened_once_is_tried_again(images, monkeypatch, opens):
    damaged = (images / "a" / "7.png").read_bytes()
    (images / "a" / "7.png").write_bytes(damaged[: len(damaged) // 2])
    with monkeypatch.context() as patched:
        fail_to_open(patched, opens)
        store = open_store(images, images / ".store")
    assert len(store.images) == 10
    assert store.unfinished
    stale, cut = store.skipped
    assert stale == f"{images / 'a' / '4.png'}: cannot be opened (Stale file handle)"
    assert cut.startswith(f"{images / 'a' / '7.png'}: the image is damaged (")
    # A training takes the store as it is.
    assert open_store(images, images / ".store").skipped == store.skipped
    store = open_store(images, images / ".store", again=True)
    assert len(store.images) == 11
    assert store.skipped == [cut]
    # What is damaged is not tried for ever.
    decoded = count_decodes(monkeypatch)
    assert open_store(images, images / ".store", again=True).skipped == [cut]
    assert not store.unfinished
    assert decoded == []


def test_images_come_in_the_order_of_their_paths(tmp_path):
    files = ["b.png", "a b/x.png", "a/z.png", "a/b/c.png", "a-b.png", "a.png", "Ä.png", "a/b.png", "a0/1.png"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert find_images(tmp_path) == sorted(tmp_path / file for file in files)


def test_index_is_plain_json(images):
    open_store(images, images / ".store")
    index = json.loads((images / ".store" / "index.json").read_text())
    assert index["images"]["n_frames"][:3] == [40, 41, 42]


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index | {"shards": ["../../elsewhere"]},
        lambda index: index | {"shards": []},
        lambda index: index | {"shards": index["shards"] * 2},
        lambda index: index | {"shards": index["shards"][0]},
        lambda index: index | {"shards": ["index.json"]},
        lambda index: index | {"format": 2},
        lambda index: index | {"format": 2, "frames": 3, "looks": []},
        lambda index: index | {"format": 4},
        lambda index: index | {"skipped": 1.5},
        lambda index: index | {"odd": {"a": 1}},
        lambda index: index | {"images": index["images"] | {"looks": 3}},
        lambda index: index | {"images": index["images"] | {"shard": [1] * 12}},
        lambda index: index | {"images": index["images"] | {"shard": [-1] * 12}},
        lambda index: index | {"kind": index["kind"] | {"findings": {}}},
        lambda index: index | {"kind": index["kind"] | {"settings": index["kind"]["settings"] | {"bits": 16.0}}},
        lambda index: index | {"images": index["images"] | {"first_row": [-1] * 12}},
        lambda index: index | {"images": index["images"] | {"n_frames": [0] * 12}},
        lambda index: index | {"images": index["images"] | {"file": [3] * 12}},
        lambda index: index | {"images": index["images"] | {"level_db": [float("nan")] * 12}},
        lambda index: index | {"images": index["images"] | {"look": [7] * 12}},
        lambda index: index | {"images": index["images"] | {"look": [-1] * 12}},
        lambda index: index | {"images": index["images"] | {"n_frames": [40]}},
        lambda index: index | {"images": {name: [] for name in index["images"]}},
        lambda index: index["images"],
        lambda index: [],
    ],
)
def test_index_that_says_something_else_is_built_anew(images, damage):
    folder = images / ".store"
    open_store(images, folder)
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(damage(index)))
    assert_equals_files(open_store(images, folder), images)


def test_texts_that_are_nested_without_end_are_built_anew(images):
    folder = images / ".store"
    open_store(images, folder)
    (folder / "index.json").write_text("[" * 100_000)
    (folder / "building.jsonl").write_text('{"made": ' * 5000)
    (folder / "building.frames").write_bytes(b"\0" * 1000)
    assert_equals_files(open_store(images, folder), images)
