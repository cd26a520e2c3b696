"""What a run is, in a few lines."""

from pathlib import Path
from typing import Any

from torch import Tensor

from gan.errors import InputError
from gan.plain import made_of, shown
from gan.run import Run
from gan.saved import ImagesOfRun, load_of_gan

_MOST_LABELS = 12
_MOST_OPTIONS = 12


def about(run: Run) -> dict[str, str]:
    """Lines that say what a run was trained on, what it is made of and how far it is, by what they are about.

    What only a checkpoint knows is left out where there is none.

    Raises:
        InputError: If the configuration cannot be read.
    """
    if not run.config.exists():
        return {}
    config = run.read_config()
    data, model = config["data"], config["model"]
    # Of a page that is passed on nobody needs to know where on a disk it was made.
    lines = {"data": "/".join(shown(part) for part in Path(str(data.get("images"))).parts[-2:])}
    networks = {name: _class(model.get(name)) for name in ("generator", "discriminator")}
    training = f"batches of {shown(data.get('batch_size'))}, seed {shown(config.get('seed_everything'))}"
    state: dict[str, Any] = {}
    try:
        path = run.newest_checkpoint()
        found = load_of_gan(path)
        images = ImagesOfRun.of(found, path)
    except InputError:
        lines["checkpoint"] = "none yet, or none that can be read"
    else:
        state, settings, (n_freqs, n_frames) = found, images.settings, images.image_size
        seconds = (n_frames - 1) * settings.hop_length / settings.sample_rate
        lines["crops"] = (
            f"{n_freqs} x {n_frames} ({seconds:.2f} s at {settings.sample_rate / 1000:g} kHz, n_fft "
            f"{settings.n_fft}, hop_length {settings.hop_length}), {images.scale.range_db:g} dB"
        )
        if labels := images.class_names:
            told = "the networks know them" if data.get("conditional") else "the networks do not know them"
            more = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
            lines["labels"] = f"{', '.join(map(shown, labels[:_MOST_LABELS]))}{more}; {told}"
    if weights := state.get("state_dict"):
        for name, text in networks.items():
            # Beside them there may be plain data.
            own = [each for key, each in weights.items() if key.startswith(f"{name}.") and isinstance(each, Tensor)]
            networks[name] = f"{text}, {sum(map(Tensor.numel, own)) / 1e6:.2g} M weights"
    if state:
        epoch = made_of(int, state.get("epoch", 0), f"{path}: epoch")
        training = f"{shown(epoch + 1)} epochs, {shown(state['batches_seen'])} batches, {training}"
    lines |= networks
    lines["loss"] = " + ".join(_class(model[name]) for name in ("loss", "penalty", "augment") if model.get(name))
    lines["training"] = training
    return lines


def _class(given: Any) -> str:
    """A class of a configuration with its plain options, for people."""
    if not isinstance(given, dict) or not isinstance(given.get("init_args") or {}, dict):
        return "something unknown"
    options = [
        f"{shown(name)} {shown(value)}"
        for name, value in (given.get("init_args") or {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    more = [f"{len(options) - _MOST_OPTIONS} more"] if len(options) > _MOST_OPTIONS else []
    text = ", ".join(options[:_MOST_OPTIONS] + more)
    name = shown(given.get("class_path")).removeprefix("gan.model.")
    return f"{name} ({text})" if text else name
