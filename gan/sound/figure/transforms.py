"""Pictures of other transforms than an STFT or mel bands, told by their number of rows."""

from pathlib import Path

from gan.errors import InputError

# librosa's defaults, and usual ones, where no STFT and no mel spectrogram has as many rows.
_TRANSFORMS = {
    12: "a chromagram",
    13: "MFCCs",
    20: "MFCCs",
    84: "a constant-Q transform",
    252: "a constant-Q transform",
}


def refuse_other_transforms(path: Path, n_rows: int) -> None:
    """Refuse a picture of something that keeps too little of a sound, or is not inverted here.

    Args:
        path: The file, for messages.
        n_rows: Its equal rows.

    Raises:
        InputError: If so many rows are usual for another transform.
    """
    if (name := _TRANSFORMS.get(n_rows)) is not None:
        raise InputError(
            f"{path}: its {n_rows} equal rows look like {name}, which cannot be made sound; draw the STFT or mel bands "
            "(--y_axis linear or mel if it is these)"
        )
