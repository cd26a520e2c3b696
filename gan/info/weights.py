"""What a safetensors file of this program is: an exported generator, a latent, or weights of the phase's network."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gan.errors import InputError
from gan.info.description import Description, command, duration, grid, n_bytes
from gan.sound.settings import SpectrogramSettings

Sizes = Mapping[str, list[int]]

_PLAY = (
    "import torch; from pathlib import Path; from gan.exported import Exported; "
    "from gan.sound.recording import write_recording; "
    "e = Exported.load(Path({path!r})); w = e.waveforms(torch.randn(1, e.generator.latent_dim){labels}); "
    "write_recording(Path('new.wav'), w[0].numpy(), e.settings.sample_rate)"
)


def describe_weights(path: Path) -> Description:
    """Describe a safetensors file by its header; no tensor is read.

    Raises:
        InputError: If it cannot be read or is of something else.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            sizes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({type(error).__name__}: {error})") from error
    found = metadata.get("format")
    if found not in _KINDS:
        of = f"the format {found!r}" if found else "no format that is named"
        raise InputError(
            f"{path}: safetensors of {of}, where a generator of `gan export`, a latent of `gan invert` or weights of "
            "`gan train-phase` were expected"
        )
    described = _KINDS[found](path, metadata, sizes)
    described.facts.insert(-1, ("size", n_bytes(path.stat().st_size)))
    return described


def decode_with(weights: Path) -> str:
    """The command that hears weights of the phase's network."""
    return command("gan", "decode", "PICTURES", "--phase", "DeepGriffinLim", "--phase.weights", weights)


def _generator(path: Path, metadata: Mapping[str, str], sizes: Sizes) -> Description:
    network = json.loads(metadata["network"])
    settings = SpectrogramSettings.from_dict(json.loads(metadata["settings"]))
    scale, class_names = json.loads(metadata["scale"]), json.loads(metadata["class_names"])
    n_freqs, n_frames = network["init_args"]["image_size"]
    described = Description(path, "generator of `gan export`")
    described.add("about", metadata["about"])
    described.add("network", f"{network['class_path']}, {_n_weights(sizes):,} weights")
    described.add("grid", grid(settings))
    seconds = n_frames * settings.hop_length / settings.sample_rate
    described.add("images", f"{n_freqs} x {n_frames} ({duration(seconds)}), {scale['range_db']:g} dB")
    described.add("labels", ", ".join(class_names))
    labels = ", torch.tensor([0])" if class_names else ""
    described.add("next", command("python", "-c", _PLAY.format(path=str(path), labels=labels)))
    return described


def _latent(path: Path, metadata: Mapping[str, str], sizes: Sizes) -> Description:
    described = Description(path, "latent of `gan invert`")
    described.add("about", metadata["about"])
    described.add("length", f"{sizes['latent'][1]} numbers")
    described.add("label", json.loads(metadata["label"]) or "")
    # Where `gan invert` writes, if nothing else is said.
    run = path.parent.parent
    described.add("next", command("gan", "sample", run if (run / "config.yaml").is_file() else "RUN", "--latent", path))
    return described


def _phase(path: Path, metadata: Mapping[str, str], sizes: Sizes) -> Description:
    described = Description(path, "weights of `gan train-phase`")
    about: dict[str, Any] = json.loads(metadata["about"])
    described.add("about", *(f"{name}: {_words(what)}" for name, what in about.items()))
    hidden = " and ".join(map(str, json.loads(metadata["hidden"])))
    described.add("network", f"{_n_weights(sizes):,} weights, {hidden} hidden units")
    described.add("next", decode_with(path))
    return described


def _words(what: Any) -> str:
    return "; ".join(map(str, what)) if isinstance(what, list) else str(what)


def _n_weights(sizes: Sizes) -> int:
    # Without what batch normalisation counts.
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(math.prod(size) for name, size in sizes.items() if not name.endswith(statistics))


# The formats' names are those of gan.exported, gan.evaluate.latents and gan.sound.phase.steps, which import torch.
_KINDS: dict[str, Callable[[Path, Mapping[str, str], Sizes], Description]] = {
    "generator 1": _generator,
    "latent 1": _latent,
    "phase steps 1": _phase,
}
