"""The curves of a run, read from its TensorBoard files without the sounds in them."""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from gan.run import Run

Curve = dict[int, float]

# Bytes of a record above which it holds no scalar but sound, a picture or text.
_MOST_BYTES = 4096
# Of a run; one of ours has some thirty.
_MOST_CURVES = 300
# Of a tag.
_MOST_LETTERS = 200
# A record is its length (8 bytes), a checksum (4), itself and a checksum (4).
_HEADER, _CHECKSUM = struct.Struct("<Q4x"), 4


def read_curves(run: Run) -> dict[str, Curve]:
    """Values by batches seen, of every scalar of a run.

    TensorBoard's own reader needs 16 s for a run of a hundred epochs, whose sounds are 100 MB: it computes, in Python,
    the checksum of every byte. Here long records are passed over unread: 0.01 s.

    Args:
        run: The run. A file that ends in the middle of a record, as of a training that goes on, is read up to there.

    Returns:
        By tag. Values that are not numbers are left out, and so are more curves, or longer tags, than any run has.
        Where a run was resumed the later values are taken, and earlier ones of what it trained on after the checkpoint
        are dropped.
    """
    curves: dict[str, Curve] = {}
    for path in sorted(run.folder.glob("events.out.tfevents.*")):
        resumed = False
        for tag, step, value in _scalars(path):
            if not resumed:
                for curve in curves.values():
                    for later in [each for each in curve if each >= step]:
                        del curve[later]
                resumed = True
            if math.isfinite(value) and len(tag) <= _MOST_LETTERS and (tag in curves or len(curves) < _MOST_CURVES):
                curves.setdefault(tag, {})[step] = value
    return {tag: curve for tag, curve in curves.items() if curve}


def _scalars(path: Path) -> Iterator[tuple[str, int, float]]:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    size = path.stat().st_size
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            (length,) = _HEADER.unpack(header)
            end = file.tell() + length + _CHECKSUM
            if end > size:
                return
            if length <= _MOST_BYTES:
                try:
                    event = Event.FromString(file.read(length))
                except DecodeError:
                    return
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        yield value.tag, event.step, value.simple_value
            file.seek(end)
