"""`gan invert RUN RECORDING`: the search on a generator that is known, the command, and what it leaves."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import music
from safetensors.torch import save_file

from gan.commands.main import main
from gan.errors import InputError
from gan.evaluate.latents import Latent, find_latent
from gan.sound.codec import decode_image
from gan.trained import load_run


class Linear:
    """Images of 8 x 8 frames, in [-1, 1], of latents of 6 numbers and two classes."""

    device = torch.device("cpu")
    n_classes = 2

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(3)
        weights = 0.3 * torch.randn(6, 64, generator=source)
        shift = torch.randn(2, 64, generator=source)

        class Network(torch.nn.Module):
            def forward(self, latents, labels=None):
                images = latents @ weights + (0 if labels is None else shift[labels])
                return images.tanh().reshape(-1, 1, 8, 8)

        self.network = Network()

    @contextmanager
    def averaged(self):
        yield self.network


@pytest.mark.parametrize("n_frames", [8, 5])
def test_its_own_latents_are_found(n_frames):
    gan = Linear()
    latent = torch.tensor([[0.3, -1.2, 0.8, 1.5, -0.4, -0.9]])
    with torch.no_grad():
        target = gan.network(latent, torch.tensor([1]))[..., :n_frames]
    seen = []
    found = find_latent(gan, target, 6, [0, 1], 300, watch=seen.append)
    torch.testing.assert_close(found.latent, latent, rtol=0, atol=0.05)
    assert found.number == 1
    assert found.error < 0.02
    assert found.first_error > 0.1
    assert len(seen) == 300
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == found.error
    with torch.no_grad():
        error = (gan.network(found.latent, torch.tensor([1]))[..., :n_frames] - target).abs().mean()
    assert float(error / (target + 1).abs().mean()) == pytest.approx(found.error, rel=1e-3, abs=1e-6)
    # Only what is asked for is tried.
    assert find_latent(gan, target, 6, [0], 50).number == 0
    again = find_latent(gan, target, 6, [0, 1], 300)
    torch.testing.assert_close(again.latent, found.latent, rtol=0, atol=1e-5)


def test_a_search_leaves_the_model_as_it_was(conditional):
    trained = load_run(conditional)
    gan = trained.gan.train()
    weights = {name: weight.clone() for name, weight in gan.state_dict().items()}
    modes = {name: module.training for name, module in gan.named_modules()}
    target = torch.zeros(1, 1, *gan.sample(torch.zeros(1, gan.latent_dim), torch.tensor([0])).shape[-2:])

    def stop(error: float) -> None:
        assert not gan.ema.training
        raise KeyboardInterrupt

    find_latent(gan, target, gan.latent_dim, [0, 1], n_steps=2)
    with pytest.raises(KeyboardInterrupt):
        find_latent(gan, target, gan.latent_dim, [0, 1], n_steps=2, watch=stop)
    assert {name: module.training for name, module in gan.named_modules()} == modes
    for name, weight in gan.state_dict().items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)


def test_a_file_comes_back(tmp_path):
    kept = Latent(torch.randn(1, 7), "low drum", "a recording")
    kept.save(tmp_path / "kept.safetensors")
    back = Latent.load(tmp_path / "kept.safetensors")
    torch.testing.assert_close(back.latent, kept.latent, rtol=0, atol=0)
    assert (back.label, back.about) == ("low drum", "a recording")
    save_file({"latent": torch.zeros(1, 7)}, tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "kept.safetensors").read_bytes()[:-5])
    for name, message in (
        ("other", "holds no latent of `gan invert`"),
        ("torn", "cannot be read as a latent"),
        ("none", "cannot be read as a latent"),
    ):
        with pytest.raises(InputError, match=message):
            Latent.load(tmp_path / f"{name}.safetensors")


def invert(run, *arguments: str) -> int:
    return main(["invert", str(run.folder), *arguments, "--phase.n_iter=2"])


@pytest.fixture
def recording(in_folder_of_runs) -> Path:
    path = Path("song.wav")
    soundfile.write(path, music(30000, 1, 8000), 8000)
    return path


def test_what_is_found_is_sampled_and_travelled_to(conditional, recording, capsys):
    assert invert(conditional, str(recording), "--steps=40", "--label=low drum", "--output=found", "--overwrite") == 0
    said = capsys.readouterr().out
    kept = Path("found") / "epoch_0001_song.latent.safetensors"
    assert f"{kept}: pictures differ by " in said
    found = Latent.load(kept)
    assert found.label == "low drum"
    assert "nearest to song.wav from 0 s on" in found.about
    # The recording's picture is that of its sound.
    picture, _ = decode_image(Path("found") / "epoch_0001_song_recording.png")
    assert picture.shape == (65, 64)
    options = [f"--latent={kept}", "--output=found", "--phase.n_iter=2", "--overwrite"]
    assert main(["sample", str(conditional.folder), *options]) == 0
    sound, rate = soundfile.read(Path("found") / "epoch_0001_song_low-drum.wav")
    assert rate == 8000
    np.testing.assert_allclose(sound, soundfile.read(Path("found") / "epoch_0001_song_nearest.wav")[0], atol=1e-4)
    options = ["--seeds", str(kept), "1", "--labels", "low drum", "--steps=2", "--output=way", "--phase.n_iter=2"]
    assert main(["interpolate", str(conditional.folder), *options, "--overwrite"]) == 0
    start, _ = soundfile.read(Path("way") / "epoch_0001_seeds_epoch_0001_song_1_low-drum_low-drum_000.wav")
    np.testing.assert_allclose(start, sound, atol=1e-4)
    assert found.latent.shape == (1, load_run(conditional).gan.latent_dim)


def test_an_endless_run_takes_any_length(endless, recording, capsys):
    options = ["--seconds=1", "--start=0.5", "--steps=20", "--output=long", "--overwrite"]
    assert invert(endless, str(recording), *options) == 0
    assert soundfile.info("long/epoch_0001_song_nearest.wav").duration == 1
    kept = "long/epoch_0001_song.latent.safetensors"
    # Longer than what was found, it goes on; shorter, it stops.
    for seconds in (3, 0.5):
        options = [f"--latent={kept}", f"--seconds={seconds}", "--output=long", "--phase.n_iter=2", "--overwrite"]
        assert main(["sample", str(endless.folder), *options]) == 0
    found, long, short = (
        decode_image(Path("long") / f"epoch_0001_song{name}.png")[0] for name in ("_nearest", "_3s", "_0.5s")
    )
    torch.testing.assert_close(long[:, :240], found[:, :240], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(short, found[:, : short.shape[1]], rtol=1e-3, atol=1e-6)


def test_bad_input(conditional, endless, recording, capsys):
    soundfile.write("silence.wav", np.zeros(8000), 8000)
    invert(endless, str(recording), "--steps=1", "--output=ends", "--overwrite")
    capsys.readouterr()
    for run, arguments, message in (
        (endless, ["none.wav"], "none.wav: cannot be read as sound"),
        (endless, ["silence.wav"], "silence.wav: nothing but silence in 0.25 s from 0 s on"),
        (endless, [str(recording), "--start=60"], "song.wav: nothing but silence in 0.25 s from 60 s on"),
        (endless, [str(recording), "--steps=0"], "steps is 0; it must be 1 or more"),
        (endless, [str(recording), "--start=-1"], "start is -1.0 and seconds None"),
        (endless, [str(recording), "--label=bell"], "this run was not told the labels"),
        (endless, [str(recording), "--seconds=1e30"], "start is 0 and seconds 1e+30, but"),
        (endless, [str(recording), "--start=1", "--seconds=1000000000000"], "song.wav ends after 3.75 s"),
        (conditional, [str(recording), "--seconds=9"], "makes images of 64 frames"),
    ):
        assert invert(run, *arguments, "--output=bad") == 2
        assert message in capsys.readouterr().err
    assert not Path("bad").exists()
    assert main(["sample", str(conditional.folder), "--latent=ends/epoch_0001_song.latent.safetensors"]) == 2
    assert "but this run's have 128; it is another run's" in capsys.readouterr().err
