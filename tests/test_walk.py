"""What of a folder tree is listed: linked folders, once each, and nothing hidden; what is left out is said."""

import errno
import os
from pathlib import Path

import pytest
import soundfile
from conftest import music

from gan.data.listing import describe_unread_images, find_images
from gan.errors import InputError
from gan.sound.recording import describe_unread_recordings, find_recordings
from gan.walk import walk


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(folder: Path) -> list[str]:
    """Names of recordings and, since the rules are the same, of pictures."""
    recordings = [path.relative_to(folder).as_posix() for path in find_recordings(folder)]
    pictures = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    assert [name.replace(".png", ".wav") for name in pictures] == recordings
    return recordings


def touch_both(*paths: Path) -> None:
    touch(*paths, *(path.with_suffix(".png") for path in paths))


def test_hidden_ones_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "sounds"
    touch_both(root / "a.wav", root / "b" / "c.WAV", root / "d" / "_.wav")
    for folder in (".Trash-1000", ".git/objects", "__MACOSX", "b/@eaDir", "$RECYCLE.BIN", "System Volume Information"):
        touch_both(root / folder / "x.wav")
    touch_both(root / "._a.wav", root / "b" / ".c.wav")
    (root / "b" / "c.WAV").rename(root / "b" / "c.wav")
    assert listed(root) == ["a.wav", "b/c.wav", "d/_.wav"]


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch_both(root / "a.wav", tmp_path / "elsewhere" / "b.wav", tmp_path / "elsewhere" / "deep" / "c.wav")
    touch_both(tmp_path / "more" / "d.wav", tmp_path / "single.wav")
    (root / "piano").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "on").symlink_to(tmp_path / "more")
    for suffix in (".wav", ".png"):
        (root / f"e{suffix}").symlink_to(tmp_path / f"single{suffix}")
        (root / f"nothing{suffix}").symlink_to("nowhere")
    assert listed(root) == ["a.wav", "e.wav", "piano/b.wav", "piano/deep/c.wav", "piano/on/d.wav"]
    (tmp_path / "link").symlink_to(root)
    assert listed(tmp_path / "link") == listed(root)


def test_links_in_a_circle(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch_both(root / "a.wav", root / "b" / "c.wav", tmp_path / "beside.wav", tmp_path / "other" / "d.wav")
    (root / "self").symlink_to(".")
    (root / "b" / "up").symlink_to("..")
    (root / "above").symlink_to(tmp_path)
    (root / "top").symlink_to("/")
    (root / "loop").symlink_to("loop")
    (root / "other").symlink_to("../other")
    (tmp_path / "other" / "back").symlink_to("../root")
    assert listed(root) == ["a.wav", "b/c.wav", "other/d.wav"]


def test_nothing_is_listed_twice(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch_both(root / "z" / "a.wav", tmp_path / "out" / "in" / "b.wav", tmp_path / "out" / "c.wav")
    (root / "a").symlink_to("z")
    (root / "b").symlink_to("../out/in")
    (root / "c").symlink_to("../out")
    (root / "d").symlink_to("../out")
    for suffix in (".wav", ".png"):
        (root / f"again{suffix}").symlink_to(f"z/a{suffix}")
        (root / f"linked{suffix}").symlink_to(f"../out/c{suffix}")
    assert listed(root) == ["b/b.wav", "c/c.wav", "z/a.wav"]


def test_a_folder_that_is_left_out_is_so_through_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "store" / "b.png")
    (tmp_path / "link").symlink_to("store")
    assert [file for file, _, _ in walk(tmp_path, {".png"}, tmp_path / "store")] == ["a.png"]


def test_what_is_not_read_is_counted(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "a.png")
    assert describe_unread_recordings(tmp_path) == ""
    assert describe_unread_images(tmp_path) == ""
    others = ("notes.txt", "list.json", "cover.jpg", ".hidden.m4a", "__MACOSX/x.m4a", ".Trash-0/x.pdf", "tones.mid")
    touch(*(tmp_path / name for name in (*others, "b/it's.m4a", "c.WEBM", "d.pdf", "e f.heic")))
    path = tmp_path / "b" / "it's"
    quoted = [f"'{path}".replace("it's", "it'\"'\"'s") + f"{suffix}'" for suffix in (".m4a", ".wav")]
    recordings = f"2 left out: .m4a, .webm; convert them first: ffmpeg -i {' '.join(quoted)}"
    assert describe_unread_recordings(tmp_path) == recordings
    pictures = f"2 left out: .heic, .pdf; convert them first: magick {tmp_path / 'd.pdf'} {tmp_path / 'd.png'}"
    assert describe_unread_images(tmp_path) == pictures
    (tmp_path / "a.wav").unlink()
    with pytest.raises(InputError) as caught:
        find_recordings(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no sound files in it; {recordings}"


def test_what_cannot_be_followed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch_both(tmp_path / "a.wav", tmp_path / "locked" / "b.wav", tmp_path / "behind" / "c.wav")
    for link, target in {"disk": "/nowhere", "d.wav": "gone.wav", "e.txt": "gone.txt", ".f.wav": "gone.wav"}.items():
        (tmp_path / link).symlink_to(target)
    (tmp_path / "loop").symlink_to("loop")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert listed(tmp_path) == ["a.wav", "behind/c.wav"]
    start = "left out: links to nothing, or folders that may not be read:"
    names = ", ".join(str(tmp_path / name) for name in ("d.wav", "disk", "locked"))
    assert describe_unread_recordings(tmp_path) == f"4 {start} {names} and 1 more"
    names = ", ".join(str(tmp_path / name) for name in ("disk", "locked", "loop"))
    assert describe_unread_images(tmp_path) == f"3 {start} {names}"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("oga", {"format": "OGG"}),
        ("snd", {"format": "AU"}),
        ("rf64", {"format": "RF64"}),
        ("wave", {"format": "WAV"}),
        ("bwf", {"format": "WAV"}),
        ("aiffc", {"format": "AIFF"}),
        ("voc", {"format": "VOC"}),
        ("sph", {"format": "NIST"}),
    ],
)
def test_what_can_be_read_is(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, music(8000, 0, 8000), 8000, **options)
    assert find_recordings(tmp_path) == [path]
    assert not describe_unread_recordings(tmp_path)


def test_a_folder_of_names_in_bytes(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.wav")).touch()
    assert len(find_recordings(tmp_path)) == 1
