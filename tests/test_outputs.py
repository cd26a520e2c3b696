"""What is there already: who may replace it, for every verb that writes."""

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from conftest import _write_image, music
from heard import make_run
from PIL import Image

from gan import outputs
from gan.commands.main import main
from gan.errors import InputError
from gan.evaluate import evaluation
from gan.files import NameRefused, refuse_unwritable
from gan.listen.page import PAGE, write_page
from gan.outputs import Outputs, shared_outputs
from gan.run import Run, new_run
from gan.sound.recording import has_comment, write_recording

RATE = 8000
FEW = "--phase.n_iter=1"


class Asked(NamedTuple):
    """A command line, one of its inputs and those of its outputs that are tried."""

    arguments: list[str | Path]
    read: Path
    written: list[Path]


def recording(path: Path, comment: str = "Recorded in Ardour") -> Path:
    write_recording(path, music(4000, sample_rate=RATE), RATE, "PCM_24", comment=comment)
    return path


def of_run(verb: str, folder: Path, run: Run, options: list[str | Path], names: list[str]) -> Asked:
    arguments = [verb, run.folder, *options, "--output", folder / "out"]
    return Asked(arguments, run.config, [folder / "out" / name for name in names])


def encode(folder: Path) -> Asked:
    sound = recording(folder / "song.wav")
    arguments = ["encode", sound, folder / "images", "--sample_rate=8000", "--n_fft=128"]
    return Asked(arguments, sound, [folder / "images" / "song.wav.0000.png"])


def decode(folder: Path) -> Asked:
    _write_image(folder / "song.png")
    return Asked(["decode", folder / "song.png", FEW], folder / "song.png", [folder / "song.wav"])


def decode_report(folder: Path) -> Asked:
    picture = folder / "song.npy"
    np.save(picture, np.abs(np.random.default_rng(0).standard_normal((65, 40))).astype(np.float32) + 0.1)
    grid = ["--n_fft=128", "--sample_rate=8000", "--values=magnitude"]
    return Asked(["decode", picture, FEW, "--report", *grid], picture, [folder / "song.report.png"])


def ingest(folder: Path) -> Asked:
    for index in range(2):
        _write_image(folder / "pictures" / f"{index}.png", seed=index)
    names = ("index.json", "lock", "building.jsonl", "building.frames")
    arguments = ["ingest", folder / "pictures", folder / "store"]
    return Asked(arguments, folder / "pictures" / "0.png", [folder / "store" / name for name in names])


def listen(folder: Path) -> Asked:
    run = make_run(folder / "run", n_epochs=1, n_samples=1)
    arguments = ["listen", run, "--output", folder / "page.html"]
    return Asked(arguments, next(run.rglob("sample_0.flac")), [folder / "page.html"])


def listen_link(folder: Path) -> Asked:
    found = listen(folder)
    script = folder / "page_sounds" / "run_0_epoch_0001.js"
    return found._replace(arguments=[*found.arguments, "--link"], written=[*found.written, script])


def evaluate(folder: Path, run: Run) -> Asked:
    return Asked(["evaluate", run.folder], run.config, [run.folder / "evaluation.json"])


def export(folder: Path, run: Run) -> Asked:
    file = folder / "generator.safetensors"
    return Asked(["export", run.folder, file], run.newest_checkpoint(), [file])


def blind(folder: Path, run: Run) -> Asked:
    return of_run("blind", folder, run, ["--trials=4", FEW], ["blind.html", "key.json"])


def invert(folder: Path, run: Run) -> Asked:
    sound = recording(folder / "song.wav")
    names = [f"epoch_0001_song{end}" for end in ("_nearest.wav", "_recording.png", ".latent.safetensors")]
    return of_run("invert", folder, run, [sound, "--steps=1", FEW], [*names, "index.html"])._replace(read=sound)


def sample(folder: Path, run: Run) -> Asked:
    names = ["epoch_0001_seed_0000.wav", "epoch_0001_seed_0000.png", "index.html"]
    return of_run("sample", folder, run, ["--n=1", FEW], names)


def interpolate(folder: Path, run: Run) -> Asked:
    names = ["epoch_0001_seeds_0_1_001.wav", "epoch_0001_seeds_0_1_000.png", "index.html"]
    return of_run("interpolate", folder, run, ["--steps=1", FEW], names)


def directions(folder: Path, run: Run) -> Asked:
    names = ["epoch_0001_seed_0000_axis_01_02.wav", "epoch_0001_seed_0000_axis_01_01.png", "index.html"]
    return of_run("directions", folder, run, ["--n=1", "--steps=2", FEW], names)


WITHOUT_RUN = (encode, decode, decode_report, ingest, listen, listen_link)
WITH_RUN = (evaluate, export, blind, invert, sample, interpolate, directions)


@pytest.fixture
def asked(request, tmp_path, monkeypatch) -> Asked:
    ask = request.param
    if ask in WITHOUT_RUN:
        return ask(tmp_path)
    # Of what a run is measured with there is too little here.
    rows = {"noise": {"frechet_mel_n20": 1.0, "copy_rate_mel_texture_0": 0.5}}
    measured = type("Measured", (), {"n_block": 100, "rows": lambda *_: rows})
    monkeypatch.setattr(evaluation, "Evaluation", lambda *_: measured())
    monkeypatch.setattr(evaluation, "table", lambda rows: "a table")
    run = request.getfixturevalue("endless")
    (run.folder / "evaluation.json").unlink(missing_ok=True)
    return ask(tmp_path, run)


def run_verb(asked: Asked, *more: str) -> int:
    return main([*map(str, asked.arguments), *more])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_users(path: Path) -> None:
    """A file of somebody else that opens as what its name says, where it says that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".wav":
        recording(path)
    elif path.suffix == ".png":
        Image.fromarray(np.zeros((65, 64), np.uint8)).save(path)
    else:
        texts = {".html": "<!doctype html><title>Sounds of me</title>", ".json": '{"format": "mine", "noise": {}}'}
        path.write_text(texts.get(path.suffix, "mine"))


@pytest.mark.parametrize("asked", [*WITHOUT_RUN, *WITH_RUN], indirect=True)
@pytest.mark.parametrize("n_paths", [1, pytest.param(None, marks=pytest.mark.slow)], ids=["first", "all"])
def test_what_is_somebody_elses_is_asked_for(
    asked: Asked, n_paths: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in asked.written[:n_paths]:
        make_users(path)
        before = files(tmp_path)
        kept = path.read_bytes()
        assert run_verb(asked) == 2, path
        said = capsys.readouterr()
        assert path.read_bytes() == kept
        assert files(tmp_path) == before
        assert said.err.count("\n") == 1
        assert "--overwrite" in said.err
        assert str(path) in said.err
        assert said.out == ""
        path.unlink()
        # A link to nowhere, and one to a file that the link is not to reach.
        for there in (tmp_path / "nowhere", tmp_path / "elsewhere"):
            path.symlink_to(there)
            assert run_verb(asked) == 2, path
            assert "is a link, so it is left alone" in capsys.readouterr().err
            assert path.readlink() == there
            path.unlink()
            (tmp_path / "elsewhere").write_bytes(b"")
        (tmp_path / "elsewhere").unlink()
        # Neither a folder nor an input is replaced, whatever is asked.
        path.mkdir()
        assert run_verb(asked, "--overwrite") == 2, path
        assert "is a folder, which no file can replace" in capsys.readouterr().err
        path.rmdir()
        kept = asked.read.read_bytes()
        for link in (os.link, os.symlink):
            link(asked.read.resolve(), path)
            assert run_verb(asked, "--overwrite") == 2, path
            assert "is a file that this command reads" in capsys.readouterr().err
            assert asked.read.read_bytes() == path.read_bytes() == kept
            path.unlink()
    linked = tmp_path / "linked"
    linked.write_bytes(b"mine")
    first, *others = asked.written
    first.symlink_to(linked)
    for path in others:
        make_users(path)
    before = {path: path.read_bytes() for path in others}
    assert run_verb(asked, "--overwrite") == 0
    assert linked.read_bytes() == b"mine"
    assert not first.is_symlink()
    assert first.stat().st_size > 4
    # The files of a store that is being built are gone when it is.
    assert not [path for path, content in before.items() if path.exists() and path.read_bytes() == content]


@pytest.mark.parametrize("asked", [encode, decode, decode_report, ingest, listen_link], indirect=True)
def test_own_outputs_are_replaced(asked: Asked) -> None:
    assert run_verb(asked) == 0
    there = [path for path in asked.written if path.exists()]
    before = [path.stat().st_ino for path in there]
    # So that encode and ingest have something to do.
    later = asked.read.stat().st_mtime_ns + 10**10
    os.utime(asked.read, ns=(later, later))
    assert run_verb(asked) == 0
    changed = [path.name for path, inode in zip(there, before, strict=True) if path.stat().st_ino != inode]
    assert changed == [path.name for path in there if path.name != "lock"]


def test_an_own_page_is_written_again_and_a_strangers_is_not(endless, tmp_path, capsys):
    words = ["sample", str(endless.folder), "--n=1", FEW, f"--output={tmp_path}"]
    assert main(words) == 0
    assert main([*words, "--seed=1"]) == 0
    page = tmp_path / "index.html"
    assert page.read_text().count("<audio") == 2
    # As versions without the tag wrote it.
    page.write_text(page.read_text().replace('<meta name="generator" content="gan: sounds of a folder">\n', ""))
    assert "generator" not in page.read_text()
    assert PAGE.found_in(page)
    assert main([*words, "--seed=2"]) == 0
    page.write_text('<!doctype html>\n<meta name="generator" content="gan listen">\n')
    assert main([*words, "--seed=3"]) == 2
    assert "index.html is no page of sounds of gan, so it is left alone" in capsys.readouterr().err
    assert main([*words, "--seed=2"]) == 2
    assert "seed_0002.wav is there already; give --overwrite, another --seed" in capsys.readouterr().err


def test_a_recording_beside_its_picture_is_kept_and_compared_with(tmp_path, write_image, capsys):
    write_image(tmp_path / "song.png")
    song = recording(tmp_path / "song.wav")
    before = song.read_bytes()
    words = ["decode", str(tmp_path / "song.png"), FEW]
    for options in ([], ["--reference", str(song)], ["--reference", f"{tmp_path}/./song.wav", "--overwrite"]):
        assert main([*words, *options]) == 2
        assert song.read_bytes() == before
    assert "song.wav is a file that this command reads" in capsys.readouterr().err.splitlines()[-1]
    # An own output is a reference as good as any.
    own = ["-o", str(tmp_path / "own.wav")]
    assert main([*words, *own]) == 0
    assert main([*words, *own, "--reference", str(tmp_path / "own.wav")]) == 2


def test_of_several_pictures_those_are_skipped(tmp_path, write_image, capsys):
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    mine = recording(tmp_path / "b.wav").read_bytes()
    assert main(["decode", str(tmp_path), FEW]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"skipped {tmp_path / 'b.png'}: {tmp_path / 'b.wav'} is no sound of gan decode")
    assert said[-1] == "1 of 3 pictures were skipped"
    assert (tmp_path / "b.wav").read_bytes() == mine
    assert has_comment(tmp_path / "a.wav", "gan decode of a.png")
    assert has_comment(tmp_path / "c.wav", "gan decode of c.png")
    assert main(["decode", str(tmp_path), FEW, "--overwrite"]) == 0
    assert has_comment(tmp_path / "b.wav", "gan decode of b.png")


def test_of_several_recordings_those_are_skipped(tmp_path, capsys):
    images = tmp_path / "images"
    for name in ("one", "two"):
        (tmp_path / "sounds").mkdir(exist_ok=True)
        recording(tmp_path / "sounds" / f"{name}.wav")
    words = ["encode", f"{tmp_path}/sounds", str(images), "--sample_rate=8000", "--window_seconds=0.2", "--n_fft=128"]
    # In the midst, where nothing is before it.
    make_users(images / "one.wav.0002.png")
    before = (images / "one.wav.0002.png").read_bytes()
    assert main(words) == 1
    said = capsys.readouterr()
    assert "one.wav.0002.png is no image of gan encode, so it is left alone" in said.err
    assert "--overwrite" in said.err
    assert "1 recordings were skipped" in said.err
    assert sorted(path.name for path in images.iterdir()) == [
        "one.wav.0002.png",
        *(f"two.wav.{n:04d}.png" for n in range(3)),
    ]
    # Behind the last one it is in nobody's way, and is not taken for one that is left over.
    (images / "one.wav.0002.png").rename(images / "two.wav.0003.png")
    assert main([*words, "--floor_db=-90"]) == 0
    assert (images / "two.wav.0003.png").read_bytes() == before
    # And what was ours before it was damaged is still.
    (images / "two.wav.0001.png").write_bytes(b"half")
    assert main([*words, "--floor_db=-90"]) == 0
    assert (images / "two.wav.0001.png").stat().st_size > 100


def test_inputs_that_would_become_one_file(tmp_path, monkeypatch, capsys, write_image):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one, two, three = (tmp_path / name for name in ("one.png", "two.jpg", "three.png"))
    real, link, other = tmp_path / "real" / "a.wav", tmp_path / "link" / "a.wav", tmp_path / "real" / "A.WAV"
    assert shared_outputs({one: real, two: link, three: other}) == {two: one}
    assert shared_outputs({one: real, two: tmp_path / "link" / ".." / "real" / "a.wav"}) == {two: one}
    assert shared_outputs({one: real, two: tmp_path / "real" / "b.wav"}) == {}
    ignoring: list[Path] = []
    monkeypatch.setattr(outputs, "_ignores_case", lambda folder: not ignoring.append(folder))
    assert shared_outputs({one: real, two: tmp_path / "real" / "b.wav"}) == {}
    assert ignoring == []
    assert shared_outputs({one: real, three: other}) == {three: one}
    composed, apart = tmp_path / "real" / "caf\u00e9.wav", tmp_path / "real" / "cafe\u0301.wav"
    assert shared_outputs({one: composed, three: apart}) == {three: one}
    for name in ("song.png", "SONG.png"):
        write_image(tmp_path / "pictures" / name)
    assert main(["decode", str(tmp_path / "pictures"), FEW]) == 2
    assert "would both become" in capsys.readouterr().err
    for name in ("song.wav", "SONG.wav"):
        (tmp_path / "sounds").mkdir(exist_ok=True)
        recording(tmp_path / "sounds" / name)
    assert main(["encode", str(tmp_path / "sounds"), str(tmp_path / "images"), "--sample_rate=8000"]) == 1
    assert "its images would be those of" in capsys.readouterr().err
    assert len(list((tmp_path / "images").iterdir())) == 1


def test_what_else_is_no_place_for_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match=r"pipe\.wav is a pipe or a device"):
        Outputs(overwrite=True).check(tmp_path / "pipe.wav")
    with pytest.raises(
        NameRefused, match=r"cannot be written \(File name too long\): a name of 260 bytes, 255 is usual"
    ):
        Outputs().check(tmp_path / f"{'ü' * 128}.wav")
    with pytest.raises(NameRefused, match=r"cannot be written \(File name too long\): a path of \d{4} bytes, 4096 is"):
        Outputs().check(tmp_path.joinpath(*["a" * 200] * 21, "a.wav"))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a link to nothing; name another folder"):
        refuse_unwritable(tmp_path / "gone" / "deep")
    (tmp_path / "runs").mkdir()
    run = new_run(tmp_path / "runs")
    run.folder.symlink_to(tmp_path / "nowhere")
    assert new_run(tmp_path / "runs").folder != run.folder


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.flac", "PCM_16")]
)
def test_sounds_say_what_made_them(tmp_path, name, subtype):
    path = tmp_path / name
    comment = "gan decode of " + "sn\u00f6" * 60
    write_recording(path, music(100), RATE, subtype, comment=comment)
    assert has_comment(path, comment)
    with soundfile.SoundFile(path) as file:
        assert file.comment == comment
    # A name of a file that is no text.
    write_recording(path, music(100), RATE, subtype, comment="gan decode of " + os.fsdecode(b"?\xff"))
    assert has_comment(path, "gan decode of ?")
    assert not has_comment(path, "gan sample")
    path.write_bytes(path.read_bytes()[:10])
    assert not has_comment(path, "gan decode")
    assert not has_comment(tmp_path / "none.wav", "gan decode")


def test_files_of_others_beside_a_page_stay(tmp_path):
    run = make_run(tmp_path / "run", n_epochs=2, n_samples=1)
    write = partial(run_verb, Asked(["listen", run, "--output", tmp_path / "page.html"], run, []))
    folder = tmp_path / "page_sounds"
    folder.mkdir()
    assert write() == 0
    # An empty folder was nobody's business.
    assert folder.is_dir()
    for name in ("run_fast.js", "run_7_references.js"):
        (folder / name).write_text("// mine")
    assert write("--link") == 0
    (folder / "run_3_epoch_0001.js").write_text("heard({})")
    assert write() == 0
    assert sorted(path.name for path in folder.iterdir()) == ["run_7_references.js", "run_fast.js"]


def test_a_page_of_no_sounds_has_the_mark(tmp_path):
    assert PAGE.found_in(write_page(tmp_path))
    assert not PAGE.found_in(tmp_path / "none.html")
