"""A generator in one file, which sounds without Lightning, a run's folder or its data.

from gan.exported import Exported
exported = Exported.load(Path("generator.safetensors"))
waveforms = exported.waveforms(torch.randn(4, exported.generator.latent_dim))
"""

import dataclasses
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan.errors import InputError
from gan.plain import made_of
from gan.sound.inversion import waveform_from_image
from gan.sound.phase.deep import DeepGriffinLim
from gan.sound.phase.reconstructor import PhaseMethod
from gan.sound.settings import SpectrogramSettings
from gan.sound.spectrogram import ImageScale
from gan.tensors import Format, with_weights

_FORMAT = Format("generator 1", "a generator", "generator of `gan export`, or one of another version")
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
            "format": _FORMAT.name,
            "network": json.dumps(self.network),
            "settings": json.dumps(self.settings.to_dict()),
            "scale": json.dumps(dataclasses.asdict(self.scale)),
            "class_names": json.dumps(self.class_names),
            "about": self.about,
        }

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        _FORMAT.write(path, self.generator.state_dict(), self.metadata())

    @classmethod
    def load(cls, path: Path) -> "Exported":
        """Read what `save` wrote; nothing of the file is run.

        Raises:
            InputError: If it is missing, damaged, something else, or of a class that is not this package's.
        """
        with _FORMAT.read(path) as (metadata, weights):
            network = json.loads(metadata["network"])
            # Imported before it is made without memory: what its module makes of tensors is to have some.
            kind = _class_of(network, path)
            return cls(
                with_weights(lambda: kind(**network["init_args"]), weights),
                network,
                SpectrogramSettings.from_dict(json.loads(metadata["settings"])),
                made_of(ImageScale, json.loads(metadata["scale"]), "scale"),
                made_of(tuple[str, ...], json.loads(metadata["class_names"]), "class_names"),
                metadata["about"],
            )


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
