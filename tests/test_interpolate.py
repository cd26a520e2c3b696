"""`gan interpolate RUN` on the command line, small."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gan.commands.interpolate import between, slerp
from gan.commands.main import main
from gan.run import Run
from gan.sound.codec import decode_image


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interpolate(run: Run, *arguments: str) -> int:
    return main(["interpolate", str(run.folder), *arguments, "--phase.n_iter=2"])


def test_slerp_by_hand():
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for share in (0.0, 0.25, 0.5, 1.0):
        angle = share * math.pi / 2
        torch.testing.assert_close(slerp(x, y, share), torch.tensor([[math.cos(angle), math.sin(angle)]]))
    torch.testing.assert_close(slerp(x, 3 * x, 0.5), 2 * x)
    torch.testing.assert_close(slerp(x, -x, 0.25), 0.5 * x)
    torch.testing.assert_close(slerp(x, 0 * x, 0.25), 0.75 * x)
    # In many dimensions the straight way is too short.
    latents = torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(0))
    assert float(slerp(*latents, 0.5).norm()) == pytest.approx(float(latents.norm(dim=2).mean()), rel=0.02)
    assert float(torch.lerp(*latents, 0.5).norm()) < 0.75 * float(latents.norm(dim=2).mean())


def test_several_ends():
    ends = torch.tensor([[0.0], [1.0], [5.0]])
    for share, expected in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.25, 2.0), (2.0, 5.0)):
        assert float(between(ends, share, torch.lerp)) == expected


def test_a_series(endless, capsys):
    assert interpolate(endless, "--seeds", "3", "1", "2", "--steps=4", "--output=series") == 0
    stems = [f"epoch_0001_seeds_3_1_2_{place:03d}" for place in range(9)]
    assert names(Path("series")) == [f"{stem}.{kind}" for stem in stems for kind in ("png", "wav")] + ["index.html"]
    # Its ends are what `gan sample` makes.
    for seed, place in ((3, 0), (1, 4), (2, 8)):
        assert (
            main(["sample", str(endless.folder), "--n=1", f"--seed={seed}", "--output=ends", "--phase.n_iter=2"]) == 0
        )
        sound, end = Path("series") / f"{stems[place]}.wav", Path("ends") / f"epoch_0001_seed_000{seed}.wav"
        np.testing.assert_allclose(soundfile.read(sound)[0], soundfile.read(end)[0], atol=2e-3)
    with soundfile.SoundFile(Path("series") / f"{stems[5]}.wav") as file:
        assert file.comment.endswith("seeds 3, 1, 2, at 1.25")
    pictures = [decode_image(Path("series") / f"{stem}.png")[0].clamp_min(1e-5).log() for stem in stems]
    ways = [float((later - earlier).norm()) for earlier, later in pairwise(pictures)]
    assert max(ways[:4]) < 0.6 * float((pictures[4] - pictures[0]).norm())
    assert "to listen, open series/index.html" in capsys.readouterr().out


def test_one_sound(endless):
    assert interpolate(endless, "--seeds", "3", "1", "--seconds=12", "--output=one") == 0
    picture, header = decode_image(Path("one") / "epoch_0001_seeds_3_1_12s.png")
    assert header.n_frames == header.settings.n_frames(12 * 8000)
    assert soundfile.info(Path("one") / "epoch_0001_seeds_3_1_12s.wav").duration == 12
    # Staying where it begins is another sound, and the more so the longer it lasts; blocks of 256 frames have no seam.
    assert interpolate(endless, "--seeds", "3", "3", "--seconds=12", "--output=one") == 0
    stayed, _ = decode_image(Path("one") / "epoch_0001_seeds_3_3_12s.png")
    way = (picture.clamp_min(1e-5).log() - stayed.clamp_min(1e-5).log()).square().mean(0).sqrt()
    assert float(way[:16].mean()) < 0.3 * float(way[-200:].mean())
    jumps = (way[1:] - way[:-1]).abs()
    assert float(jumps[255::256].max()) < 3 * float(jumps.max(dim=0).values)


def test_labels(conditional):
    assert interpolate(conditional, "--seeds", "5", "--labels", "bell", "low drum", "--steps=2", "--output=labels") == 0
    stem = "epoch_0001_seeds_5_5_bell_low-drum"
    assert [name for name in names(Path("labels")) if name.endswith("wav")] == [f"{stem}_00{n}.wav" for n in range(3)]
    for label, place in (("bell", 0), ("low drum", 2)):
        options = ["--n=1", "--seed=5", f"--label={label}", "--output=ends", "--phase.n_iter=2", "--overwrite"]
        assert main(["sample", str(conditional.folder), *options]) == 0
        end = Path("ends") / f"epoch_0001_seed_0005_{label.replace(' ', '-')}.wav"
        np.testing.assert_allclose(soundfile.read(Path("labels") / f"{stem}_00{place}.wav")[0], soundfile.read(end)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1"], "1 seeds and 0 labels; give two seeds or more"),
        (["--steps=0"], "steps is 0; it must be 1 or more"),
        (["--seconds=-1"], "seconds is -1.0; it must be above 0"),
        (["--steps=1000000000000"], "1000000000001 sounds of 0.252 s are 70000000.0 hours; if that is meant, say so"),
        (["--seconds=9999"], "1 sounds of 9999 s are 2.8 hours; if that is meant, say so with --long"),
        (["--labels", "bell", "bell"], "label is bell, but this run was not told the labels"),
    ],
)
def test_bad_options(endless, capsys, arguments, message):
    assert interpolate(endless, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (endless.folder / "travels").exists()


def test_bad_options_with_labels(conditional, capsys):
    for arguments, message in (
        ([], "labels is not given; this run knows bell, low drum"),
        (["--labels", "horn"], "label is horn; this run knows bell, low drum"),
        (["--seeds", "1", "2", "3", "--labels", "bell", "bell"], "3 seeds and 2 labels"),
        (["--labels", "bell", "--seconds=5"], "this run's generator makes crops only"),
    ):
        assert interpolate(conditional, *arguments) == 2
        assert message in capsys.readouterr().err
