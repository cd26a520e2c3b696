"""`gan sample RUN` on the command line, small."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from gan.commands.main import main
from gan.listen.page import write_page
from gan.run import Run
from gan.sound.codec import decode_image
from gan.sound.spectrogram import magnitude_from_waveform
from gan.trained import load_run

RATE = 8000


def sample(run: Run | Path, *arguments: str, iterations: int = 4) -> int:
    path = run.folder if isinstance(run, Run) else run
    return main(["sample", str(path), *arguments, f"--phase.n_iter={iterations}"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_sounds_pictures_and_page(endless, capsys):
    assert sample(endless, "--n=2", "--seconds=1.5", "--seed=3", iterations=32) == 0
    folder = endless.folder / "samples"
    stem = "epoch_0001_seed_000"
    assert names(folder) == [*(f"{stem}{n}_1.5s.{kind}" for n in (3, 4) for kind in ("png", "wav")), "index.html"]
    said = capsys.readouterr().out.splitlines()
    assert said[-3] == f"{folder / f'{stem}3_1.5s.wav'}: 1.50 s"
    assert said[-1] == f"to listen, open {folder / 'index.html'}"
    comment = f"run {endless.folder.name}, checkpoint epoch_0001.ckpt, batch 4, seed 4"
    with soundfile.SoundFile(folder / f"{stem}4_1.5s.wav") as file:
        assert (file.samplerate, file.channels, file.subtype) == (RATE, 1, "PCM_16")
        assert file.comment == comment
        waveform = file.read(dtype="float32")
    assert len(waveform) == 12000
    # It is the sound of its picture, which `gan decode` reads.
    magnitude, header = decode_image(folder / f"{stem}4_1.5s.png")
    assert header.n_frames == header.settings.n_frames(12000)
    with Image.open(folder / f"{stem}4_1.5s.png") as picture:
        assert picture.info["Description"] == comment
    reached = magnitude_from_waveform(torch.from_numpy(waveform), header.settings)[:, 4:-4]
    error_db = 20 * torch.log10(torch.linalg.norm(reached - magnitude[:, 4:-4]) / torch.linalg.norm(magnitude[:, 4:-4]))
    assert float(error_db) < -3  # what was never a sound has no phase that fits it well
    page = (folder / "index.html").read_text()
    assert page.count("<audio controls") == 2
    assert f'src="{stem}3_1.5s.wav"' in page
    assert comment in page
    assert main(["decode", str(folder / f"{stem}4_1.5s.png"), "-o", "back.wav", "--phase.n_iter=1"]) == 0
    assert len(soundfile.read("back.wav")[0]) == 12000 // header.settings.hop_length * header.settings.hop_length


def test_the_same_seed_makes_the_same_file_and_a_longer_one_goes_on(endless):
    assert sample(endless, "--n=3", "--seconds=0.5", "--output=three") == 0
    assert sample(endless, "--n=1", "--seconds=0.5", "--seed=2", "--output=one") == 0
    for kind in ("wav", "png"):
        name = f"epoch_0001_seed_0002_0.5s.{kind}"
        assert (Path("three") / name).read_bytes() == (Path("one") / name).read_bytes()
    first, other = (soundfile.read(f"three/epoch_0001_seed_000{n}_0.5s.wav")[0] for n in (0, 1))
    assert np.corrcoef(first, other)[0, 1] < 0.99
    # Blocks, and the limits of what a short one needs.
    assert sample(endless, "--n=1", "--seconds=6", "--seed=2", "--output=one") == 0
    short, long = (decode_image(Path("one") / f"epoch_0001_seed_0002_{s}s.png")[0] for s in ("0.5", "6"))
    assert long.shape[1] > 10 * short.shape[1]
    # Each picture is written in steps of its own loudest cell.
    torch.testing.assert_close(long[:, : short.shape[1]], short, rtol=1e-3, atol=1e-6)


def test_labels_truncation_and_format(conditional):
    run = conditional
    assert sample(run, "--n=4", "--format=flac", "--output=all") == 0
    kinds = [f"epoch_0001_seed_000{n}_{('bell', 'low-drum')[n % 2]}.flac" for n in range(4)]
    assert [name for name in names(Path("all")) if name.endswith("flac")] == kinds
    assert sample(run, "--n=1", "--seed=1", "--format=flac", "--output=alone") == 0
    assert (Path("alone") / kinds[1]).read_bytes() == (Path("all") / kinds[1]).read_bytes()
    assert sample(run, "--n=2", "--label=low drum", "--truncation=0.0", "--output=drum") == 0
    first, second = (Path("drum") / f"epoch_0001_seed_000{n}_low-drum_truncation_0.wav" for n in (0, 1))
    assert (soundfile.read(first)[0] == soundfile.read(second)[0]).all()
    with soundfile.SoundFile(first) as file:
        assert file.comment.endswith("seed 0, label low drum, truncation 0")
    # By the model itself.
    trained = load_run(run)
    with torch.no_grad():
        image = trained.gan.sample(torch.zeros(1, trained.gan.latent_dim), torch.tensor([1]))[0, 0]
    magnitude, header = decode_image(first.with_suffix(".png"))
    level_db = 20 * torch.log10(magnitude[:-1])
    expected = trained.scale.top_db + (image - 1) / 2 * trained.scale.range_db
    torch.testing.assert_close(level_db, expected[:, : header.n_frames], rtol=0, atol=0.01)


def test_the_best_checkpoint_is_taken_if_there_is_one(conditional):
    checkpoint = conditional.newest_checkpoint()
    conditional.best_checkpoint.write_bytes(checkpoint.read_bytes())
    try:
        assert sample(conditional, "--n=1", "--output=best") == 0
        assert sample(checkpoint, "--n=1", "--output=best") == 0
    finally:
        conditional.best_checkpoint.unlink()
    assert {name for name in names(Path("best")) if name.endswith("wav")} == {
        "best_seed_0000_bell.wav",
        "epoch_0001_seed_0000_bell.wav",
    }


def test_nothing_is_replaced_without_a_word(endless, capsys):
    assert sample(endless, "--n=2", "--output=kept") == 0
    before = {path.name: path.stat().st_mtime_ns for path in Path("kept").iterdir()}
    capsys.readouterr()
    assert sample(endless, "--n=4", "--output=kept") == 2
    assert "seed_0000.wav is there already; give --overwrite" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in Path("kept").iterdir()} == before
    assert sample(endless, "--n=1", "--output=kept", "--overwrite") == 0
    assert (Path("kept") / "epoch_0001_seed_0000.wav").stat().st_mtime_ns != before["epoch_0001_seed_0000.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n=0"], "n is 0; it must be 1 or more"),
        (["--seconds=0"], "seconds is 0.0; it must be above 0"),
        (["--seconds=-1"], "seconds is -1.0; it must be above 0"),
        (["--seconds=1e-30"], "seconds is 1e-30, less than a sample; it must be 0.000125 or more"),
        (["--n=1000000000000"], "1000000000000 sounds of 0.252 s are 70000000.0 hours; if that is meant, say so"),
        (["--latent=0"], "0: no such file; latent is a file of `gan invert`, seed a number"),
        (["--output=images/bell/00.png"], "images/bell/00.png: cannot be written, images/bell/00.png is a file"),
        (["--output=images/bell/00.png/deep"], "00.png/deep: cannot be written, images/bell/00.png is a file; name a"),
        (["--seconds=3600"], "8 sounds of 3600 s are 8.0 hours; if that is meant, say so with --long"),
        (["--truncation=-1"], "truncation is -1.0; it must lie in [0, 2]"),
        (["--label=bell"], "label is bell, but this run was not told the labels"),
        (["--device=abacus"], "device is abacus"),
    ],
)
def test_bad_options(endless, capsys, arguments, message):
    assert sample(endless, *arguments) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not list(Path().glob("*/*/samples/*0000.wav"))


def test_bad_runs(conditional, capsys, tmp_path):
    assert sample(conditional, "--label=horn") == 2
    assert "label is horn; this run knows bell, low drum" in capsys.readouterr().err
    assert sample(conditional, "--seconds=5") == 2
    assert re.search(r"makes images of 64 frames, 0\.25 s; .* configs/endless\.yaml", capsys.readouterr().err)
    damaged = conditional.folder / "checkpoints" / "damaged.ckpt"
    damaged.write_bytes(conditional.newest_checkpoint().read_bytes()[:5000])
    try:
        assert sample(damaged) == 2
    finally:
        damaged.unlink()
    assert "damaged.ckpt: cannot be read as a checkpoint" in capsys.readouterr().err
    for path in (tmp_path, tmp_path / "none", tmp_path / "none.ckpt"):
        assert sample(path) == 2
        assert f"{path}: no" in capsys.readouterr().err


class Players(HTMLParser):
    """The sources and texts of a page, as a browser understands them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name == "src" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_are_no_markup(tmp_path):
    name = '<script>x"&%20'
    soundfile.write(tmp_path / f"{name}.wav", np.zeros(10), RATE)
    Image.new("L", (1, 1)).save(tmp_path / f"{name}.png")
    soundfile.write(tmp_path / "alone.wav", np.zeros(10), RATE)
    page = Players(write_page(tmp_path).read_text())
    assert page.sources == [f"%3Cscript%3Ex%22%26%2520.{kind}" for kind in ("png", "wav")]
    assert "script" not in page.tags
    assert f"{name}.wav" in page.text
    assert "alone" not in page.text
