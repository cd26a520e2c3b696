"""An option that is null and cannot be is refused in one line, which says what it may be."""

from pathlib import Path

import pytest
import yaml
from conftest import SMALL_RUN, _write_image
from torch import Tensor

import train
from gan.commands.main import main
from gan.commands.train_phase import PhaseCLI
from gan.errors import InputError
from gan.model.losses import Hinge
from gan.nulls import refuse_nulls
from gan.trained import load_run
from gan.training import run_training

ROOT = Path(__file__).parent.parent
# What is off, unknown or left to somebody else when it is null.
MAY_BE_NULL = {
    "data.top_db", "data.labels", "data.validation", "data.resident", "data.store", "data.figures.n_fft",
    "data.figures.hop_length", "data.figures.win_length", "data.figures.seconds", "data.figures.y_axis",
    "data.figures.n_mels", "data.figures.max_hz", "data.figures.colormap", "data.figures.upside_down",
    "data.figures.box", "data.figures.values", "model.augment", "model.lr_scheduler", "model.gradient_clip",
    "listen.phase.init_args.weights", "checkpoint.every_minutes", "trainer.default_root_dir", "trainer.max_epochs",
    "trainer.log_every_n_steps", "trainer.num_sanity_val_steps",
}  # fmt: skip


class _Unmade:
    """Makes nothing: only the command line is parsed."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass

    def train(self) -> None:
        pass


class Parsed(_Unmade, train.GANCLI):
    pass


class ParsedPhase(_Unmade, PhaseCLI):
    pass


class Margin(Hinge):
    """A loss of somebody's own."""

    def __init__(self, margin: float = 1.0, floor: float | None = None, floors: tuple[float, ...] = ()) -> None:
        self.margin = margin


class Wide(Margin):
    """One that hands on what it does not know."""

    def __init__(self, **kwargs: float) -> None:
        super().__init__(**kwargs)

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return real_logits.mean()


def leaves(part: dict, within: str = "") -> list[str]:
    """Whole names of all options."""
    found = []
    for name, value in part.items():
        found += leaves(value, f"{within}{name}.") if isinstance(value, dict) else [within + name]
    return found


@pytest.fixture(autouse=True)
def no_warnings(monkeypatch):
    """Of Lightning's about arguments that are not the process's own, and of jsonargparse's about Lightning."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


@pytest.fixture
def said(tmp_path, capsys, monkeypatch):
    """`said(config, *options, cli=Parsed)`: exit code and what a training says of a config."""
    monkeypatch.chdir(tmp_path)

    def run(config: str, *options: str, cli=Parsed) -> tuple[int, str]:
        (tmp_path / "given.yaml").write_text(config)
        capsys.readouterr()
        try:
            exit_code = run_training(cli, ["--config=given.yaml", *options])
        except SystemExit as stop:
            exit_code = stop.code
        return exit_code, capsys.readouterr().err.replace("Seed set to 0\n", "")

    return run


def test_every_option_of_the_default_configuration():
    cli = Parsed([])
    refuse_nulls(cli.parser, cli.config)
    names = leaves(yaml.safe_load((ROOT / "configs" / "default.yaml").read_text()))
    # jsonargparse itself refuses a class without a name, and null where it is given on the command line.
    names = [name for name in names if not name.endswith("class_path") and name != "seed_everything"]
    accepted = set()
    for name in names:
        config = cli.config.clone()
        config[name] = None
        try:
            refuse_nulls(cli.parser, config)
            accepted.add(name)
        except InputError as error:
            text = str(error)
            assert text.startswith(f"{name} is null; it must be "), text
            assert text.endswith(f", the default is {cli.config[name]}"), text
    # R1R2's weight has no default, and what is needed and null has gone before.
    assert accepted - {"model.penalty.init_args.weight"} == MAY_BE_NULL


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_shipped_configurations_have_no_such_null(said, name):
    assert said((ROOT / "configs" / name).read_text()) == (0, "")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            "evaluate: {every_n_epochs: null}",
            "evaluate.every_n_epochs is null; it must be a whole number, the default is 10",
        ),
        ("data: {batch_size: ~}", "data.batch_size is null; it must be a whole number, the default is 32"),
        ("data: {equal_levels: }", "data.equal_levels is null; it must be true or false, the default is False"),
        (
            "data: {normalization: null}",
            "data.normalization is null; it must be 'global' or 'per_frequency', the default is global",
        ),
        (
            "data: {figures: {sample_rate: null}}",
            "data.figures.sample_rate is null; it must be a whole number, the default is 22050",
        ),
        ("model: {generator_lr: null}", "model.generator_lr is null; it must be a number, the default is 0.0005"),
        ("model: {betas: null}", "model.betas is null; it must be tuple[float, float], the default is (0.5, 0.999)"),
        (
            "model: {generator: {init_args: {base_channels: null}}}",
            "model.generator.init_args.base_channels is null; it must be a whole number, the default is 8",
        ),
        (
            "model: {penalty: {init_args: {every: null}}}",
            "model.penalty.init_args.every is null; it must be a whole number, the default is 4",
        ),
        (
            "model: {augment: {class_path: gan.model.augment.Augment, init_args: {target: null, probability: null}}}",
            "model.augment.init_args.probability is null; it must be a number, the default is 0.0",
        ),
        (
            "model: {loss: {class_path: test_nulls.Margin, init_args: {margin: null, floor: null}}}",
            "model.loss.init_args.margin is null; it must be a number, the default is 1.0",
        ),
        (
            "model: {loss: {class_path: test_nulls.Wide, init_args: {margin: null}}}",
            "model.loss.init_args.margin is null; it must be a number, the default is 1.0",
        ),
        (
            "model: {lr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR, "
            "init_args: {step_size: 3, gamma: null}}}",
            "model.lr_scheduler.init_args.gamma is null; it must be a number, the default is 0.1",
        ),
        (
            "listen: {phase: {init_args: {n_iter: null}}}",
            "listen.phase.init_args.n_iter is null; it must be a whole number, the default is 16",
        ),
        (
            "trainer: {devices: null}",
            "trainer.devices is null; it must be list[int] or text or a whole number, the default is auto",
        ),
        (
            "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LearningRateMonitor, "
            "init_args: {logging_interval: null, log_momentum: null}}]}",
            "trainer.callbacks[0].init_args.log_momentum is null; it must be true or false, the default is False",
        ),
        (
            "data: {figures: null}",
            "data.figures is null, where its options were expected; leave it out, or give some of them",
        ),
        (
            "data: {figures: [null]}",
            "data.figures is [None], where its options were expected; leave it out, or give some of them",
        ),
        ("trainer:", "given.yaml: trainer is null, where its options were expected"),
    ],
)
def test_null_is_refused(said, config, words):
    assert said(config, "--data.images=.") == (2, f"train.py: {words}\n")


def test_null_on_the_command_line(said):
    for option, words in (
        ("--evaluate.every_n_epochs", "evaluate.every_n_epochs"),
        ("--data.batch_size", "data.batch_size"),
        ("--model.generator.base_channels", "model.generator.init_args.base_channels is null; it must be"),
        ("--listen.phase.n_iter", "listen.phase.init_args.n_iter is null; it must be"),
    ):
        exit_code, text = said("{data: {n_frames: 64}}", option, "null")
        assert exit_code == 2
        assert words in text
        assert text.count("\n") == 1


def test_what_may_be_null_still_may(said):
    config = "{data: {labels: null, top_db: null}, model: {augment: null, penalty: null, lr_scheduler: null}, "
    config += "trainer: {max_epochs: null, callbacks: null}, checkpoint: {every_minutes: null}}"
    assert said(config) == (0, "")


def test_training_of_phase(said):
    for option, default in (("data.sample_rate", "22050"), ("model.lr", "0.005")):
        part, name = option.split(".")
        exit_code, text = said(f"{part}: {{{name}: null}}", "--data.recordings=.", cli=ParsedPhase)
        assert (exit_code, text.count("\n")) == (2, 1)
        assert text.startswith(f"gan train-phase: {option} is null; it must be a ")
        assert text.endswith(f", the default is {default}\n")


def test_commands(tmp_path, capsys):
    _write_image(tmp_path / "a.png")
    assert main(["decode", str(tmp_path / "a.png"), "--phase.n_iter", "null"]) == 2
    said = capsys.readouterr().err
    assert said == "gan decode: phase.init_args.n_iter is null; it must be a whole number, the default is 8\n"
    with pytest.raises(SystemExit) as stopped:
        main(["encode", str(tmp_path), str(tmp_path / "images"), "--n_fft", "null"])
    assert stopped.value.code == 2
    assert 'Parser key "n_fft"' in capsys.readouterr().err


def test_a_run_whose_configuration_was_changed(conditional):
    config = yaml.safe_load(conditional.config.read_text())
    config["model"]["generator"]["init_args"]["base_channels"] = None
    kept = conditional.config.read_text()
    conditional.config.write_text(yaml.safe_dump(config))
    try:
        with pytest.raises(InputError, match=r"config\.yaml: .*base_channels is null; it must be a whole number"):
            load_run(conditional)
    finally:
        conditional.config.write_text(kept)


def test_a_run_without_a_root_is_where_runs_are(in_folder_of_runs):
    made = []

    class Made(train.GANCLI):
        def train(self) -> None:
            made.append(self.run.folder.parent)

    Path("root.yaml").write_text("trainer: {default_root_dir: null}")
    assert run_training(Made, [*SMALL_RUN, "--data.images=images", "--config=root.yaml"]) == 0
    assert made == [Path("runs")]
