"""`gan export`: the generator of a run in one file."""

from collections.abc import Sequence
from pathlib import Path

from gan.commands.parser import parser_of
from gan.errors import InputError
from gan.outputs import Outputs


def export(run: Path, output: Path, overwrite: bool = False) -> int:
    """Write the generator of a run to one file that sounds without the run, its data and Lightning.

    The best checkpoint is exported if there is one, else the newest. NAME.safetensors holds the averaged weights, what
    the network is made of, and how its images become sound; `gan.exported.Exported.load` reads it, and nothing in it is
    run. NAME.onnx holds the network itself, from latents (and labels) to images of a crop, for programs that know no
    torch; its metadata say which levels and which grid images are of. It is run once by onnxruntime and compared.

    Args:
        run: A run's folder, or one of its checkpoints.
        output: The file to write, NAME.safetensors or NAME.onnx.
        overwrite: Replace a file that is there.

    Returns:
        Exit code.
    """
    if output.suffix not in (".safetensors", ".onnx"):
        raise InputError(
            f"{output}: name it {output.stem}.safetensors or {output.stem}.onnx, which are what is written"
        )
    from gan.run import checkpoints_of

    folder, checkpoints = checkpoints_of(run)
    Outputs([folder.config, *checkpoints.values()], overwrite, "give --overwrite or another name").check(output)
    from gan.exported import Exported
    from gan.trained import load_best

    trained = load_best(run)
    generator = trained.gan.ema.module
    exported = Exported(generator, trained.network, trained.settings, trained.scale, trained.class_names, trained.about)
    if output.suffix == ".onnx":
        from gan.onnx import write_onnx

        write_onnx(exported, output)
    else:
        exported.save(output)
    n_weights = sum(weight.numel() for weight in generator.parameters())
    print(f"{output}: {n_weights / 1e6:.1f} M weights, {output.stat().st_size / 1e6:.1f} MB, of {trained.about}")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Parse the command line of `gan export` and run it."""
    parser = parser_of(export)
    parser.add_argument("run", type=Path, metavar="RUN", help="A run's folder, or one of its checkpoints.")
    parser.add_argument("output", type=Path, metavar="OUT", help="The file to write, NAME.safetensors or NAME.onnx.")
    parser.add_argument("--overwrite", action="store_true", help="Replace a file that is there.")
    return export(**parser.parse_args(list(arguments)).as_dict())
