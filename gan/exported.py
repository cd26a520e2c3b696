"""A generator in one file, which sounds without Lightning, a run's folder or its data.

from gan.exported import Exported
exported = Exported.load(Path("generator.safetensors"))
waveforms = exported.waveforms(torch.randn(4, exported.generator.latent_dim))
"""

import dataclasses
import json
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gan.errors import InputError
from gan.files import atomic_write
from gan.plain import made_of
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale

_FORMAT = "generator 1"
# A file names the class to be made; others' would be code of whoever wrote it.
_OWN = "gan.model."


@dataclass(frozen=True)
class Exported:
    """A generator and all that turns its images into sound.

    Attributes:
        generator: The averaged generator, in eval mode; latents (batch, latent_dim), and labels (batch,) if it has
            classes, to images.
        network: What it is made of: "class_path" and "init_args".
        settings: The grid of its images.
        scale: Which levels its images' -1 and 1 are.
        class_names: Names of the labels; none if it was told none.
        about: Where it comes from, for people.
    """

    generator: nn.Module
    network: dict[str, Any]
    settings: SpectrogramSettings
    scale: ImageScale
    class_names: tuple[str, ...]
    about: str

    @torch.no_grad()
    def images(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate.

        Args:
            latents: Shape (batch, latent_dim), standard normal.
            labels: Shape (batch,), int64, places in `class_names`; None without classes.

        Returns:
            Shape (batch, 1, n_freqs, n_frames), in [-1, 1].
        """
        images: Tensor = self.generator(latents, *([] if labels is None else [labels]))
        return images

    def waveforms(self, latents: Tensor, labels: Tensor | None = None, phase: PhaseMethod = DeepGriffinLim) -> Tensor:
        """Generate sound, at the level that the recordings had.

        Args:
            latents: As of `images`.
            labels: As of `images`.
            phase: How the phase is found.

        Returns:
            Shape (batch, n_samples), float32; full scale is 1, and louder sounds are not cut.
        """
        return waveform_from_image(self.images(latents, labels), self.scale, phase(self.settings))

    def metadata(self) -> dict[str, str]:
        """All but the weights, as text."""
        return {
            "format": _FORMAT,
            "network": json.dumps(self.network),
            "settings": json.dumps(self.settings.to_dict()),
            "scale": json.dumps(dataclasses.asdict(self.scale)),
            "class_names": json.dumps(self.class_names),
            "about": self.about,
        }

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.generator.state_dict().items()}
        with atomic_write(path) as part:
            part.write_bytes(save(weights, self.metadata()))

    @classmethod
    def load(cls, path: Path) -> "Exported":
        """Read what `save` wrote; nothing of the file is run.

        Raises:
            InputError: If it is missing, damaged, something else, or of a class that is not this package's.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise InputError(f"{path}: holds no generator of `gan export`, or one of another version")
                network = json.loads(metadata["network"])
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                # Imported before: what its module makes of tensors is not to be without memory.
                kind = _class_of(network, path)
                # First without memory, of which a few wrong numbers could ask for any amount; whatever they are worth.
                with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                    kind(**network["init_args"]).load_state_dict(weights, assign=True)
                generator = kind(**network["init_args"])
                generator.load_state_dict(weights)
                return cls(
                    generator.eval().requires_grad_(False),
                    network,
                    SpectrogramSettings.from_dict(json.loads(metadata["settings"])),
                    made_of(ImageScale, json.loads(metadata["scale"]), "scale"),
                    made_of(tuple[str, ...], json.loads(metadata["class_names"]), "class_names"),
                    metadata["about"],
                )
        except InputError as error:
            raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from error
        except Exception as error:  # What the file says of its network leads its class into anything.
            raise InputError(f"{path}: cannot be read as a generator ({type(error).__name__}: {error})") from error


def _class_of(network: dict[str, Any], path: Path) -> type[nn.Module]:
    module, _, name = str(network["class_path"]).rpartition(".")
    if not module.startswith(_OWN):
        raise InputError(
            f"{path}: its generator is {network['class_path']}, which is not of this package and is not imported on a "
            "file's word; load the weights into it with safetensors"
        )
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{path}: its generator is {network['class_path']}, which this version has not") from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise InputError(f"{path}: its generator is {network['class_path']}, which is no network")
    return kind
