"""`python train.py` as a user runs it, small: a run folder, its sounds, resuming, and what it says of bad input."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from conftest import SMALL_RUN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from gan.data import demo
from gan.errors import InputError
from gan.run import Run, newest_run
from gan.sound.phase.steps import PhaseSteps
from gan.trained import load_run, untrained

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SMALL = [
    *SMALL_RUN,
    "--listen.n_samples=2",
    "--listen.n_references=2",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_image):
    """A folder with images of 12 recordings, and a run of an epoch once a test has asked for that."""
    folder = tmp_path_factory.mktemp("made")
    for index in range(12):
        write_image(folder / "images" / f"{index:02d}.png", n_frames=64, seed=index)
    return folder


@pytest.fixture
def here(tmp_path, made, monkeypatch):
    """A working folder with images of 12 recordings."""
    shutil.copytree(made / "images", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_train(monkeypatch):
    """`run_train(*arguments)`: train.py in this process; returns the exit code."""
    # Of how Lightning calls jsonargparse.
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

    started = [0]

    def run(*arguments: str) -> int:
        # TensorBoard orders a run's files by the second they were begun in.
        while int(time.time()) == started[0]:
            time.sleep(0.02)
        started[0] = int(time.time())
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        try:
            return train.main()
        except SystemExit as stop:
            return stop.code

    return run


@pytest.fixture
def begun(here, made, run_train) -> Run:
    """A run of an epoch in the working folder, a copy of one that several tests share."""
    if not (made / "runs").exists():
        assert run_train("--data.images=images", *SMALL, "--trainer.max_epochs=1") == 0
        shutil.copytree("runs", made / "runs")
    else:
        shutil.copytree(made / "runs", "runs")
    return newest_run(Path("runs"))


def events(run: Run) -> EventAccumulator:
    accumulator = EventAccumulator(str(run.folder), size_guidance={"scalars": 0, "audio": 0, "images": 0})
    return accumulator.Reload()


def steps(run: Run, tag: str) -> list[int]:
    accumulator = events(run)
    kinds = {"audio": accumulator.Audio, "image": accumulator.Images}
    return [event.step for event in kinds.get(tag.split("/", maxsplit=1)[0], accumulator.Scalars)(tag)]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.newest_checkpoint(), weights_only=True)["state_dict"]


def test_a_run(here, run_train, capsys):
    assert run_train("--data.images=images", *SMALL, "--trainer.max_epochs=2") == 0
    run = newest_run(Path("runs"))
    said = capsys.readouterr().out
    assert f"run: {run.folder}" in said
    assert "tensorboard --logdir runs --samples_per_plugin audio=1000,images=1000" in said
    assert "11 to train on and 1 to validate with in images, crops of 64 x 64 (0.26 s)" in said
    assert "epoch 2 of 2" in said

    # Two batches of four of eleven images, twice; one x axis for everything.
    assert {path.name for path in run.checkpoint_folder.iterdir()} == {"epoch_0000.ckpt", "epoch_0001.ckpt"}
    for tag in ("loss/generator", "loss/discriminator", "logits/real", "logits/fake", "logits/validation"):
        assert steps(run, tag) == [2, 4], tag
    for tag in ("audio/sample_0", "audio/sample_1", "image/sample_0", "image/sample_1"):
        assert steps(run, tag) == [2, 4], tag
    assert steps(run, "audio/inverted_1") == steps(run, "image/inverted_1") == [0]

    # Everything that makes sound of the model is in the folder.
    trained = load_run(run)
    assert trained.batches_seen == 4
    assert trained.settings.sample_rate == 8000
    latents = torch.randn(2, trained.gan.latent_dim)
    assert trained.gan.sample(latents).shape == (2, 1, 64, 64)
    config = yaml.safe_load(run.config.read_text())
    assert config["data"]["batch_size"] == 4
    assert "resume" not in config


def test_weights_of_the_phase_are_read_once(here, run_train, monkeypatch):
    load, read = PhaseSteps.load, []
    monkeypatch.setattr(PhaseSteps, "load", lambda path: read.append(path) or load(path))
    assert run_train("--data.images=images", *SMALL, "--trainer.max_epochs=3", "--watchdog.grace_batches=0") == 0
    # By what is listened to and by the watchdog, however many epochs there are.
    assert len(read) == 2


def assert_same_weights(found: Run, expected: Run) -> dict[str, torch.Tensor]:
    """Bit for bit; returns them."""
    states = weights(found), weights(expected)
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(states[0][name], value, rtol=0, atol=0)
        else:
            assert str(states[0][name]) == str(value), name
    return states[1]


def test_resuming_equals_never_having_stopped(here, run_train):
    arguments = ["--data.images=images", *SMALL, "--seed_everything=5"]
    assert run_train(*arguments, "--trainer.max_epochs=3", "--trainer.default_root_dir=whole") == 0
    assert run_train(*arguments, "--trainer.max_epochs=1", "--trainer.default_root_dir=parts") == 0
    whole, parts = newest_run(Path("whole")), newest_run(Path("parts"))
    assert run_train("--resume", "--trainer.default_root_dir=parts", "--trainer.max_epochs=2") == 0
    assert run_train("--resume", str(parts.folder), "--trainer.max_epochs=3") == 0
    assert [path.name for path in Path("parts").iterdir()] == [parts.folder.name]
    expected = assert_same_weights(parts, whole)
    for tag in ("loss/generator", "audio/sample_0", "image/sample_1", "logits/validation"):
        assert steps(parts, tag) == steps(whole, tag) == [2, 4, 6]
    assert steps(parts, "audio/inverted_0") == [0]
    curves = [[event.value for event in events(run).Scalars("loss/discriminator")] for run in (whole, parts)]
    assert curves[0] == curves[1]
    # And the comparison can fail: another seed, other weights.
    assert run_train(*arguments[:-1], "--trainer.max_epochs=3", "--trainer.default_root_dir=other") == 0
    other = weights(newest_run(Path("other")))
    assert any((other[name] != value).any() for name, value in expected.items())


# Everything that has a state, an order or random draws of its own.
EVERYTHING = [
    "--data.normalization=per_frequency",
    "--data.validation_fraction=0.5",
    "--data.labels=^([ab])",
    "--data.conditional=true",
    "--model.augment=gan.model.augment.Augment",
    "--model.augment.init_args.probability=0.5",
    "--model.augment.init_args.images_to_certainty=400",
    "--model.n_discriminator_steps=2",
    "--model.lr_scheduler=torch.optim.lr_scheduler.CosineAnnealingLR",
    "--model.lr_scheduler.init_args.T_max=5",
    "--watchdog.grace_batches=0",
    "--evaluate.every_n_epochs=1",
    "--evaluate.n_images=20",
]


@pytest.mark.slow
def test_resuming_equals_never_having_stopped_with_everything_on(tmp_path, write_image, run_train, monkeypatch, capsys):
    """Five batches an epoch, so that it stops between the steps of the generator and between penalties."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gan.evaluate.classifier._N_STEPS", 10)
    for index in range(44):
        write_image(Path("images") / f"{'ab'[index % 2]}{index:02d}.png", n_frames=64, seed=index)
    arguments = ["--data.images=images", *SMALL, *EVERYTHING, "--seed_everything=5"]
    assert run_train(*arguments, "--trainer.max_epochs=3", "--trainer.default_root_dir=whole") == 0
    said = [capsys.readouterr().out]
    assert run_train(*arguments, "--trainer.max_epochs=1", "--trainer.default_root_dir=parts") == 0
    whole, parts = newest_run(Path("whole")), newest_run(Path("parts"))
    for epoch in (2, 3):
        assert run_train("--resume", str(parts.folder), f"--trainer.max_epochs={epoch}") == 0
    said.append(capsys.readouterr().out)
    expected = assert_same_weights(parts, whole)
    # It has adapted, and is not switched off: 60 images are too few for that.
    probability = expected["augment._extra_state"]["probability"]
    assert probability != 0.5
    assert 0.3 < probability < 0.7
    logged = [events(run) for run in (whole, parts)]
    assert logged[0].Tags() == logged[1].Tags()
    assert {"metric/accuracy", "metric/frechet_mel_n20", "loss/penalty"} <= set(logged[0].Tags()["scalars"])
    assert {"audio/sample_1_b", "audio/sample_1_b_neighbour"} <= set(logged[0].Tags()["audio"])
    for tag in set(logged[0].Tags()["scalars"]) - {"time/epoch"}:
        curves = [[(event.step, event.value) for event in each.Scalars(tag)] for each in logged]
        assert curves[0] == curves[1], tag
    for tag in logged[0].Tags()["audio"]:
        sounds = [[(event.step, event.encoded_audio_string) for event in each.Audio(tag)] for each in logged]
        assert sounds[0] == sounds[1], tag
    # What says how long it took, and what every start writes.
    for tag in set(logged[0].Tags()["tensors"]) - {"run/text_summary", "custom_scalars__config__"}:
        texts = [[(event.step, event.tensor_proto.string_val) for event in each.Tensors(tag)] for each in logged]
        assert texts[0] == texts[1], tag
    warned = [[line for line in each.splitlines() if line.startswith("watchdog: ")] for each in said]
    assert warned[0] == warned[1] != []
    best = [torch.load(run.best_checkpoint, weights_only=True)["batches_seen"] for run in (whole, parts)]
    assert best[0] == best[1]


def test_an_epoch_that_begins_within_another_is_whole(here, run_train, monkeypatch):
    """Each ends with batch statistics for the average and with a validation, wherever the one before was cut."""
    told = []
    for name in ("calibrate_average", "on_validation_epoch_end", "on_train_epoch_end"):
        done = getattr(train.GAN, name)
        monkeypatch.setattr(
            train.GAN, name, lambda gan, name=name, done=done: (told.append((name, gan.batches_seen)), done(gan))[1]
        )
    # Two steps a batch, five batches an epoch.
    options = ["--data.images=images", *SMALL, "--data.batch_size=2"]
    assert run_train(*options, "--trainer.max_steps=14", "--trainer.max_epochs=3") == 0
    assert run_train("--resume", "--trainer.max_steps=-1", "--trainer.max_epochs=4") == 0
    ends = [seen for name, seen in told if name == "on_train_epoch_end"]
    assert ends == [5, 7, 12, 17]
    assert [seen for name, seen in told if name == "calibrate_average" and seen] == ends
    assert [seen for name, seen in told if name == "on_validation_epoch_end" and seen] == [5, 12, 17]


@pytest.mark.slow
def test_killed_run_goes_on_with_its_last_whole_epoch(here):
    """As a program, killed from outside; `test_restarts.py` kills at given moments."""
    command = [sys.executable, str(ROOT / "train.py"), "--data.images=images", *SMALL, "--trainer.max_epochs=10000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("epoch 3 "))
        process.kill()
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    run = newest_run(Path("runs"))
    state = torch.load(run.newest_checkpoint(), weights_only=True)
    assert state["batches_seen"] >= 4
    resume = [sys.executable, str(ROOT / "train.py"), "--resume", f"--trainer.max_epochs={state['epoch'] + 3}"]
    result = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    seen = steps(run, "audio/sample_0")
    assert seen == list(range(2, state["batches_seen"] + 5, 2)), "every epoch once, no gap, no overlap"
    assert steps(run, "loss/generator") == seen


def test_ctrl_c_says_how_to_go_on(here, run_train, monkeypatch, capfd):
    step = train.GAN.training_step

    def struck(gan: train.GAN, batch: object, batch_idx: int) -> None:
        if gan.batches_seen == 2:
            signal.raise_signal(signal.SIGINT)
        step(gan, batch, batch_idx)

    monkeypatch.setattr(train.GAN, "training_step", struck)
    assert run_train("--data.images=images", *SMALL, "--trainer.max_epochs=10000") == 130
    run = newest_run(Path("runs"))
    said = capfd.readouterr().err
    assert "SIGINT: stopping after this batch; Ctrl-C again ends at once" in said
    assert torch.load(run.checkpoints()[0], weights_only=True)["batches_seen"] == 3
    assert f"train.py: stopped after batch 3; `python train.py --resume {run.folder}` goes on\n" in said


def test_fresh_start_never_writes_into_a_run(begun, run_train):
    before = {path: path.stat().st_mtime_ns for path in begun.folder.rglob("*")}
    assert run_train("--data.images=images", *SMALL, "--trainer.max_epochs=1") == 0
    assert len(list(Path("runs").iterdir())) == 2
    assert {path: path.stat().st_mtime_ns for path in begun.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.images=nowhere"], "nowhere: no such folder; make images with `gan encode RECORDINGS nowhere`"),
        ([f"--data.n_frames={2**62}"], "longer than every image of images: the longest has 64; set data.n_frames to"),
        (["--data.n_frames=128"], "longer than every image of images: the longest has 64"),
        (["--data.n_frames=50"], "set data.n_frames to a multiple of 8"),
        (["--data.batch_size=12"], "more than the 11 crops of an epoch"),
        (["--data.batch_size=0"], "data.batch_size is 0"),
        (["--data.batch_size=many"], "many"),
        (["--data.colour=red"], "data.colour"),
        (["--config=nowhere.yaml"], "nowhere.yaml"),
        (["--resume"], "nothing to resume: no run in runs has a checkpoint"),
        (["--resume", "nowhere"], "nowhere: no such run"),
        (["--resume=images"], "images: no checkpoint in it"),
        (["--model.generator.class_path=gan.nowhere.Net"], "gan.nowhere"),
        (["--model.generator.init_args.latent_dim=0"], "latent_dim is 0; it must be 1 or more"),
        ([f"--model.generator.init_args.latent_dim={10**15}"], "there is not enough memory; a smaller data.batch_size"),
        (["--seed_everything=-1"], "seed_everything is -1; it must lie in [0, 4294967295]"),
        ([f"--seed_everything={10**12}"], "seed_everything is 1000000000000; it must lie in [0, 4294967295]"),
        *(
            ([f"--trainer.{name}=0"], f"trainer.{name} is 0, with which nothing can be trained; give 1 or more")
            for name in ("max_epochs", "max_steps", "limit_train_batches", "log_every_n_steps", "val_check_interval")
        ),
        (["--trainer.precision=bf16-true"], "trainer.precision is bf16-true; weights stay in float32"),
        (["--data.num_workers=-1"], "data.num_workers is -1; it must lie in [0, 128]"),
        (["--trainer.fast_dev_run=2"], "trainer.fast_dev_run keeps nothing to listen to"),
        (["--trainer.accelerator=abacus"], "trainer: You selected an invalid accelerator name"),
        (["--trainer.devices=-1"], "trainer: `devices` selected with `CPUAccelerator` should be an int > 0"),
        (["--trainer.default_root_dir=images/00.png"], "cannot be written, images/00.png is a file; name a folder"),
        (["--listen.phase.init_args.relaxation=3"], "relaxation is 3.0; it must lie between 0 and 2"),
        (["--listen.phase.init_args.weights=nowhere"], "nowhere: cannot be read as weights"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(here, run_train, capsys, arguments, message):
    given = [] if arguments[0].startswith("--resume") else ["--data.images=images", *SMALL]
    assert run_train(*given, *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("train.py: ")
    assert said.count("\n") == 1
    assert not Path("runs").exists()


def test_other_images_and_networks_are_refused_on_resume(begun, run_train, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.name != ".lock"}
    capsys.readouterr()
    assert run_train("--resume", "--data.n_frames=32", "--trainer.max_epochs=2") == 2
    assert "image_size [64, 64]" in capsys.readouterr().err
    assert run_train("--resume", "--model.generator.init_args.base_channels=8", "--trainer.max_epochs=2") == 2
    said = capsys.readouterr().err
    assert "the checkpoint is of other networks" in said
    assert said.count("\n") == 1
    changing = ("*tfevents*", ".lock")
    after = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if not any(map(path.match, changing))}
    assert {path: time for path, time in before.items() if path in after and path.is_file()} == {
        path: time for path, time in after.items() if path.is_file()
    }


def test_damaged_checkpoint_is_named(begun, run_train, capsys):
    checkpoint = begun.newest_checkpoint()
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert run_train("--resume", "--trainer.max_epochs=2") == 2
    said = capsys.readouterr().err
    assert str(checkpoint) in said
    assert "cannot be read as a checkpoint" in said
    with pytest.raises(InputError, match="cannot be read"):
        load_run(newest_run(Path("runs")))


def test_checkpoint_is_read_as_numbers_only(here, begun, run_train):
    class Evil:
        def __reduce__(self):
            return Path.touch, (here / "executed",)

    state = torch.load(begun.newest_checkpoint(), weights_only=True)
    torch.save(state | {"evil": Evil()}, begun.newest_checkpoint())
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_run(begun)
    assert run_train("--resume", "--trainer.max_epochs=2") == 2
    assert not (here / "executed").exists()


OWN_NETWORKS = """
import torch

class Louder(torch.nn.Module):
    latent_dim = 3

    def __init__(self, image_size: tuple[int, int], gain: float = 1.0) -> None:
        super().__init__()
        self.image_size, self.gain = image_size, gain
        self.levels = torch.nn.Linear(3, image_size[0])

    def forward(self, latents):
        return torch.tanh(self.gain * self.levels(latents))[:, None, :, None].expand(-1, 1, *self.image_size)

class Mean(torch.nn.Module):
    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.judge = torch.nn.Linear(image_size[0], 1)

    def forward(self, images):
        return self.judge(images.mean((1, 3)))[:, 0]
"""


def test_networks_of_ones_own_need_not_know_of_labels(here, run_train, monkeypatch):
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "own_networks.py").write_text(OWN_NETWORKS)
    monkeypatch.syspath_prepend(here / "elsewhere")
    Path("own.yaml").write_text(
        "model: {generator: {class_path: own_networks.Louder, init_args: {gain: 0.5}}, "
        "discriminator: {class_path: own_networks.Mean}}"
    )
    options = [option for option in SMALL if "base_channels" not in option]
    assert run_train("--config=own.yaml", "--data.images=images", *options, "--trainer.max_epochs=1") == 0
    run = newest_run(Path("runs"))
    gan = load_run(run).gan
    assert type(gan.generator).__name__ == "Louder"
    assert (gan.generator.gain, gan.n_classes, gan.latent_dim) == (0.5, 0, 3)
    latents = torch.ones(2, 3)
    averaged = gan.ema.module.levels
    levels = torch.tanh(0.5 * (averaged.weight.sum(1) + averaged.bias))
    torch.testing.assert_close(gan.sample(latents), levels.detach()[:, None].expand(2, 1, 64, 64))
    # They are not told the labels, even if there are some.
    assert untrained(run, run.newest_checkpoint()).n_classes == 0
    assert run_train("--resume", "--trainer.max_epochs=2") == 0


def test_untrained_networks_are_those_that_the_run_began_with(here, run_train):
    still = ["--model.generator_lr=0", "--model.discriminator_lr=0", "--seed_everything=3"]
    labels = ["--data.labels=^(.)", "--data.conditional=true"]
    for options in ([], labels):
        assert run_train("--data.images=images", *SMALL, *still, *options, "--trainer.max_epochs=1") == 0
        run = newest_run(Path("runs"))
        before = torch.get_rng_state()
        gan = untrained(run, run.newest_checkpoint())
        torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)
        assert gan.n_classes == (2 if options else 0)
        trained = dict(load_run(run).gan.named_parameters())
        for name, weight in gan.named_parameters():
            torch.testing.assert_close(weight, trained[name], rtol=0, atol=0)


def test_images_of_the_users_own_are_found(here, run_train, capsys):
    Path("data").mkdir()
    Path("images").rename("data/spectrograms")
    assert run_train(*SMALL, "--trainer.max_epochs=1") == 0
    assert "in data/spectrograms, crops" in capsys.readouterr().out


def test_without_images_the_demo_set_is_made(tmp_path, run_train, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = demo.make_demo
    monkeypatch.setattr(demo, "make_demo", lambda folder: made(folder, n_sounds=16))
    assert run_train(*SMALL, "--trainer.max_epochs=1") == 0
    said = capsys.readouterr().out
    assert "no images in data/spectrograms: making the demo set in data/demo and training on that" in said
    run = newest_run(Path("runs"))
    # The recordings are where the images say, so the listener hears them too.
    assert steps(run, "audio/real_0") == steps(run, "image/real_0") == [0]
    assert run_train(*SMALL, "--trainer.max_epochs=1") == 0
    assert "making the demo set" not in capsys.readouterr().out


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_built_and_runs_a_batch(config, tmp_path, run_train, monkeypatch, encode_noise):
    # Recipes are for images of any size.
    settings = {"minute": (22050, 2048, 512), "default": (16000, 512, 128)}.get(config.stem, (8000, 256, 64))
    encode_noise(tmp_path / "images", *settings, seconds=7 if config.stem == "minute" else 1.1, n_files=3)
    for kind, names in (("a", "01"), ("b", "2")) if config.stem == "conditional" else ():
        (tmp_path / "images" / kind).mkdir()
        for name in names:
            (tmp_path / "images" / f"{name}.png").rename(tmp_path / "images" / kind / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", str(config)] if config.stem != "default" else []
    assert (
        run_train(
            *arguments,
            "--data.images=images",
            "--data.batch_size=2",
            "--trainer.max_epochs=1",
            "--trainer.log_every_n_steps=1",
            "--trainer.accelerator=cpu",
        )
        == 0
    )
    trained = load_run(newest_run(Path("runs")))
    assert trained.batches_seen == 1
    expected = {"minute": (1024, 256), "default": (256, 128)}.get(config.stem, (128, 128))
    labels = torch.tensor([1]) if config.stem == "conditional" else None
    assert trained.gan.sample(torch.randn(1, trained.gan.latent_dim), labels).shape[2:] == expected


def test_default_config_is_complete(tmp_path, write_image, monkeypatch):
    """Each option of our own classes stands in default.yaml, with a value of its own."""
    import inspect

    from gan.data.datamodule import ImageData
    from gan.listen.callbacks import Listen
    from gan.listen.evaluate import Evaluate
    from gan.listen.watchdog import Watchdog
    from gan.model.gan import GAN

    config = yaml.safe_load((ROOT / "configs" / "default.yaml").read_text())
    linked = {"self", "seed", "images"}
    sections = {"data": ImageData, "model": GAN, "listen": Listen, "watchdog": Watchdog, "evaluate": Evaluate}
    for section, owner in sections.items():
        options = set(inspect.signature(owner.__init__).parameters) - linked
        if section in {"watchdog", "evaluate"}:
            options -= {"phase"}  # listen's
        assert set(config[section]) == options, section
    json.dumps(config)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "cannot be read as a configuration (maximum recursion"),
        (b"data: \xff", "cannot be read as a configuration ('utf-8' codec can't decode"),
        (b"a: " + b"9" * 5000, "cannot be read as a configuration (Exceeds the limit"),
        (b"data: !!python/object/apply:os.mkdir [a]", "cannot be read as a configuration (could not determine"),
        (b"trainer: 3", "trainer is 3, where its options were expected"),
        (b'watchdog: "\\0"', "watchdog is '\\x00', where its options were expected"),
    ],
    ids=["deep", "bytes", "digits", "tag", "number", "null"],
)
def test_files_that_are_no_configurations_are_named(tmp_path, capsys, content, words):
    path = tmp_path / "given.yaml"
    path.write_bytes(content)
    assert train.run_training(train.GANCLI, ["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"train.py: {path}: ")
    assert words in said
    assert said.count("\n") == 1


def test_a_class_that_may_be_left_out_says_what_is_wrong(in_folder_of_runs, capsys):
    options = ["--data.images=images", "--model.augment=gan.model.augment.Augment"]
    options += ["--model.augment.init_args.target=1.2"]
    assert train.run_training(train.GANCLI, [*SMALL_RUN, *options]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "train.py: model.augment's target is 1.2; it must lie between -1 and 1, 0.6 is usual"
