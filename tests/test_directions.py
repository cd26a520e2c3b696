"""Axes of what is generated: those of a generator whose axes are known, and `gan directions RUN`."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gan.commands.main import main
from gan.evaluate.directions import find_directions
from gan.sound.codec import decode_image


class Linear:
    """Images that are latents times known axes, the first one strongest, and a class that shifts them."""

    latent_dim, n_classes = 12, 0

    def __init__(self, noise: float = 0.0, whole_dim: int | None = None) -> None:
        source = torch.Generator().manual_seed(3)
        self.axes = torch.linalg.qr(torch.randn(12, 12, generator=source))[0]
        self.pictures = torch.linalg.qr(torch.randn(64, 12, generator=source))[0].T
        self.sizes = torch.tensor([8.0, 4.0, 2.0, *[0.1] * 9])
        self.noise = noise
        self.generator = type("Generator", (), {} if whole_dim is None else {"whole_dim": whole_dim})

    def sample(self, latents, labels=None):
        if hasattr(self.generator, "whole_dim"):
            latents = torch.cat([latents[:, :6], 0 * latents[:, 6:]], 1)
        images = (latents @ self.axes * self.sizes) @ self.pictures
        images = images + self.noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(len(latents)))
        return images.reshape(-1, 1, 8, 8)


def test_known_axes_are_found():
    gan = Linear()
    found = find_directions(gan, 3, 2000)
    assert found.axes.shape == (3, 12)
    torch.testing.assert_close(found.axes.norm(dim=1), torch.ones(3))
    # Of a sample of 2000 principal components are a little turned.
    assert (found.axes @ gan.axes[:, :3]).abs().diagonal().min() > 0.99
    torch.testing.assert_close(found.shares, torch.tensor([64.0, 16.0, 4.0]) / 84.09, rtol=0.1, atol=0)
    torch.testing.assert_close(found.followed, torch.ones(3), rtol=0, atol=1e-3)
    torch.testing.assert_close(find_directions(gan, 3, 2000).axes, found.axes, rtol=0, atol=1e-5)
    other = find_directions(gan, 3, 2000, seed=1)
    assert (other.axes @ found.axes.T).abs().diagonal().min() > 0.98


def test_what_does_not_follow_is_said():
    found = find_directions(Linear(noise=100.0), 3, 2000)
    assert float(found.followed.max()) < 0.1


def test_only_the_whole_of_an_endless_generator_is_moved():
    found = find_directions(Linear(whole_dim=6), 2, 2000)
    assert (found.axes[:, 6:] == 0).all()
    assert float(found.followed.min()) > 0.9


@pytest.mark.parametrize("kind", ["endless", "conditional"])
def test_sounds(kind, request, capsys):
    run = request.getfixturevalue(kind)
    options = ["--n=2", "--steps=3", "--seed=4", "--output=axes", "--phase.n_iter=2", "--overwrite"]
    assert main(["directions", str(run.folder), *options]) == 0
    said = capsys.readouterr().out
    assert said.count("%") == 4
    stem = "epoch_0001_seed_0004" + ("_bell" if kind == "conditional" else "")
    sounds = sorted(path.name for path in Path("axes").glob(f"{stem}_axis*.wav"))
    assert sounds == [f"{stem}_axis_0{axis}_0{step}.wav" for axis in (1, 2) for step in (1, 2, 3)]
    with soundfile.SoundFile(Path("axes") / sounds[0]) as file:
        assert file.comment.endswith("axis 1 at -3")
    # The seed's class is that of `gan sample`, and the middle is its sound.
    options = ["--n=1", "--seed=5", "--output=axes", "--phase.n_iter=2", "--overwrite"]
    for command, more in (("sample", []), ("directions", ["--steps=3"])):
        assert main([command, str(run.folder), *options, *more]) == 0
    stem = "epoch_0001_seed_0005" + ("_low-drum" if kind == "conditional" else "")
    made, moved = (soundfile.read(Path("axes") / f"{name}.wav")[0] for name in (stem, f"{stem}_axis_01_02"))
    np.testing.assert_allclose(moved, made, atol=2e-4)
    # The middle is the seed's own sound on every axis; the ends are others.
    pictures = [decode_image((Path("axes") / name).with_suffix(".png"))[0] for name in sounds]
    torch.testing.assert_close(pictures[1], pictures[4], rtol=1e-3, atol=1e-6)
    assert float((pictures[0] / pictures[1]).log().abs().max()) > 0.02
    assert (Path("axes") / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n=0"], "n is 0; it must be 1 or more"),
        (["--n=65"], "n is 65, but the latents of this run have 64 axes"),
        (["--steps=1"], "steps is 1; it must lie in [2, 1000], 5 is usual"),
        (["--steps=1000000000000"], "steps is 1000000000000; it must lie in [2, 1000], 5 is usual"),
        (["--reach=0"], "reach is 0.0; it must lie in (0, 10]"),
        (["--label=bell"], "this run was not told the labels"),
    ],
)
def test_bad_options(endless, capsys, arguments, message):
    assert main(["directions", str(endless.folder), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (endless.folder / "directions").exists()
