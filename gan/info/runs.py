"""What a run or one of its checkpoints is; nothing of its configuration is imported."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

from gan.info.description import Description, command, count, duration, grid, n_bytes
from gan.info.pictures import STORE, contents_of
from gan.info.weights import decode_with
from gan.plain import made_of, shown
from gan.run import Run
from gan.saved import check_of_gan, is_within_epoch, load_checkpoint
from gan.sound.settings import SpectrogramSettings

# What a state dict holds besides weights.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
# Entries of a list of a checkpoint.
_MOST_SHOWN = 20
# As `gan train-phase` calls them.
_PHASE_WEIGHTS = "phase_steps.safetensors"


def describe_run(folder: Path) -> Description:
    """Describe a run's folder, of train.py or of `gan train-phase`.

    Raises:
        InputError: If its config or newest checkpoint cannot be read.
    """
    run = Run(folder)
    config = run.read_config()
    train = _training(config)
    described = Description(folder, f"run of `{train}`")
    found, saved = run.whole_epochs(), run.checkpoints()
    if not found:
        described.add("data", _data(config))
        resume = f"go on: {train} {command('--resume', folder)}" if saved else "there is no checkpoint"
        described.add("state", "stopped before its first epoch ended, or in it", resume)
        return described
    state = _state(found[0])
    if "StepData" in state:
        _add_phase_training(described, config, state)
    else:
        _add_gan(described, config, state)
    _add_progress(described, config, state, saved[0], train)
    if run.best_checkpoint.is_file():
        best = _state(run.best_checkpoint)
        described.add("best", f"{_distance(best)} at epoch {_epochs(best)}, {run.best_checkpoint.name}")
    described.add("watchdog", *_symptoms(state))
    described.add("size", n_bytes(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())))
    options = "--samples_per_plugin audio=1000,images=1000"
    pages = [] if "StepData" in state else [command("gan", "listen", folder)]
    described.add("listen", *pages, f"{command('tensorboard', '--logdir', folder)} {options}")
    if "StepData" in state:
        weights = folder / _PHASE_WEIGHTS
        described.add("next", decode_with(weights))
    else:
        described.add("next", command("gan", "sample", folder), command("gan", "evaluate", folder))
    return described


def describe_checkpoint(path: Path) -> Description:
    """Describe a checkpoint.

    Raises:
        InputError: If it cannot be read or is of something else.
    """
    state = _state(path)
    described = Description(path, "checkpoint")
    run = Run(path.parent.parent)
    config = run.read_config() if run.config.is_file() else {}
    alone = "not in a run's folder, whose config.yaml says what its networks are"
    described.add("run", str(run.folder) if config else alone)
    described.add("within" if is_within_epoch(state) else "after", f"epoch {_epochs(state)}, batch {_batches(state):,}")
    if "StepData" in state:
        _add_phase_training(described, config, state)
    else:
        _add_gan(described, config, state)
        if _distance(state):
            described.add("best", f"{_distance(state)}, the least until then")
        described.add("watchdog", *_symptoms(state))
    described.add("size", n_bytes(path.stat().st_size))
    if config and "StepData" not in state:
        described.add("next", command("gan", "sample", path), command("gan", "evaluate", path))
    elif config:
        described.add("next", f"{_training(config)} {command('--resume', run.folder)}")
    return described


def describe_runs(folder: Path) -> Description:
    """Describe a folder of runs: a line for each, the newest last."""
    runs = sorted((path.parent for path in folder.glob("*/config.yaml")), key=lambda path: path.stat().st_mtime)
    described = Description(folder, f"folder of {count(len(runs), 'run')}")
    for run in runs[-20:]:
        checkpoints = Run(run).checkpoints()
        described.add(run.name, checkpoints[0].name if checkpoints else "no checkpoint")
    described.add("next", command("gan", "info", runs[-1]))
    return described


def _state(path: Path) -> dict[str, Any]:
    state = load_checkpoint(path, mmap=True)
    if not (isinstance(state, dict) and {"StepData", "state_dict", "epoch", "global_step"} <= set(state)):
        check_of_gan(state, path)
    made_of(int, state["epoch"], f"{path}: epoch")
    return state


def _training(config: dict[str, Any]) -> str:
    return "gan train-phase" if "recordings" in config.get("data", {}) else "python train.py"


def _data(config: dict[str, Any]) -> str:
    data = config["data"]
    path = Path(str(data.get("recordings", data.get("images"))))
    if not path.exists():
        return f"{path} (not there from here)"
    contents = contents_of(Path(data.get("store") or path / STORE))
    return f"{path}, {contents}" if contents else str(path)


def _add_gan(described: Description, config: dict[str, Any], state: dict[str, Any]) -> None:
    data = state["ImageData"]
    settings = SpectrogramSettings.from_dict(data["settings"])
    n_freqs, n_frames = data["image_size"]
    seconds = n_frames * settings.hop_length / settings.sample_rate
    described.add("data", _data(config) if config else "")
    described.add("grid", grid(settings))
    scale = data["scale"]
    each = ", each frequency by itself" if scale["mean_db"] is not None else ""
    described.add("crops", f"{n_freqs} x {n_frames} ({duration(seconds)}), {scale['range_db']:g} dB{each}")
    told = config.get("data", {}).get("conditional")
    if data["class_names"]:
        described.add("labels", f"{', '.join(data['class_names'])}{'' if told else ' (the networks are not told)'}")
    networks = [f"{name} {_weights(state, name):,} weights" for name in ("generator", "discriminator")]
    described.add("networks", ", ".join(networks))


def _add_phase_training(described: Description, config: dict[str, Any], state: dict[str, Any]) -> None:
    described.add("data", _data(config) if config else "", count(len(state["StepData"]["recordings"]), "recording"))
    described.add("network", f"{_weights(state, 'network'):,} weights")


def _add_progress(
    described: Description, config: dict[str, Any], state: dict[str, Any], checkpoint: Path, train: str
) -> None:
    done, wanted = _epochs(state), config["trainer"].get("max_epochs")
    seconds = state.get("callbacks", {}).get("Pace", {}).get("seconds")
    each = "" if seconds is None else f", {duration(seconds)} an epoch"
    described.add("done", f"{shown(done)} of {shown(wanted)} epochs, {_batches(state):,} batches{each}")
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(checkpoint.stat().st_mtime))
    resume = f"{train} {command('--resume', described.path)}"
    if wanted is None or wanted < 0 or done < wanted:
        left = "" if seconds is None or not wanted or wanted < 0 else f", {duration((wanted - done) * seconds)} to go"
        described.add("state", f"runs or was stopped, last checkpoint {written}{left}", f"go on: {resume}")
    else:
        described.add("state", f"ended {written}", f"go on: {resume} --trainer.max_epochs {2 * done}")


def _epochs(state: dict[str, Any]) -> int:
    return int(state["epoch"]) + 1


def _batches(state: dict[str, Any]) -> int:
    return int(state.get("batches_seen", state["global_step"]))


def _weights(state: dict[str, Any], network: str) -> int:
    return sum(
        weight.numel()
        for name, weight in state["state_dict"].items()
        if name.startswith(f"{network}.") and not name.endswith(_STATISTICS)
    )


def _distance(state: dict[str, Any]) -> str:
    """The best distance so far; nothing without one."""
    best = state.get("callbacks", {}).get("Evaluate", {}).get("best", {})
    return ", ".join(f"{shown(name)} {value:.4g}" for name, value in islice(best.items(), _MOST_SHOWN))


def _symptoms(state: dict[str, Any]) -> list[str]:
    found = state.get("callbacks", {}).get("Watchdog", {}).get("open", {})
    return [f"{shown(name)}: {shown(text, 1000)}" for name, text in islice(found.items(), _MOST_SHOWN)]
