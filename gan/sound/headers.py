"""Headers of sound files that libsndfile takes at their word: lengths that their writers never filled in, and tags."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

_Order = Literal["big", "little"]

# The first bytes of a chunk: its name and its size.
_CHUNK = 8
_RIFF_START = 12
_MOST_CHUNKS = 100
_MOST_HEADER = 1 << 20
_LARGEST_32 = 0xFFFFFFFF
_LARGEST_64 = 0xFFFFFFFFFFFFFFFF
_AU_START = 24
_CAF_START = 8
_CAF_CHUNK = 12
_ID3_START = 10
_ID3_FOOTER_FLAG = 0x10
_ID3V1 = 128
_APE_FOOTER = 32


def as_closed(path: Path) -> io.RawIOBase | None:
    """Open a sound file of a writer that could not seek back, as if its length stood in its header.

    Such writers leave 0 where the length belongs, or the largest number, and write samples up to the end of the file.
    What libsndfile does not mend itself is mended here, while the file is read: WAV and RF64 of length 0, WAV files
    beyond what 32 bits can say, Sun's AU of length 0, Core Audio's CAF of length 0 or -1.

    Args:
        path: A file of any kind.

    Returns:
        The file with another header; None for every other file.

    Raises:
        OSError: If it cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(_RIFF_START)
        length = path.stat().st_size
        if start[:4] in (b"RIFF", b"RIFX", b"RF64") and start[8:] == b"WAVE":
            found = _closed_wav(file, start, length)
        elif start[:4] == b".snd":
            found = _closed_au(file, length)
        elif start[:4] == b"caff":
            found = _closed_caf(file, length)
        else:
            found = None
    return None if found is None else _Spliced(path, *found)


def holds_tags_only(path: Path) -> bool:
    """Whether there is nothing in a file but the tags (ID3, APE) that stand around the sound of an mp3."""
    with path.open("rb") as file:
        begin, end = 0, path.stat().st_size
        while (head := _at(file, begin, _ID3_START))[:3] == b"ID3" and len(head) == _ID3_START:
            # Seven bits a byte, so that no byte looks like the start of sound.
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            begin += _ID3_START + size + (_ID3_START if head[5] & _ID3_FOOTER_FLAG else 0)
        if end - begin >= _ID3V1 and _at(file, end - _ID3V1, 3) == b"TAG":
            end -= _ID3V1
        foot = _at(file, end - _APE_FOOTER, _APE_FOOTER) if end - begin >= _APE_FOOTER else b""
        if foot[:8] == b"APETAGEX":
            # The size in the footer is without the header, which there need not be.
            end -= int.from_bytes(foot[12:16], "little")
            if _at(file, max(0, end - _APE_FOOTER), 8) == b"APETAGEX":
                end -= _APE_FOOTER
        is_tagged = begin > 0 or end < path.stat().st_size
        return is_tagged and not _at(file, begin, max(0, min(end - begin, _MOST_HEADER))).strip(b"\0")


def _closed_wav(file: BinaryIO, start: bytes, length: int) -> tuple[bytes, int] | None:
    """The header that a WAV file would have, and where its samples begin; None if it has that already."""
    header, size64, form = bytearray(start), None, b""
    order: _Order = "big" if start[:4] == b"RIFX" else "little"
    for name, size, place in _chunks(file, _RIFF_START, length, order):
        content = place + _CHUNK
        if name == b"data":
            rest = length - content
            unknown = size in (0, _LARGEST_32) if size64 is None else size64 in (0, _LARGEST_64)
            # libsndfile knows what the largest number means, unless the file is still longer.
            if not (unknown and rest > 0) or (size64 is None and size == _LARGEST_32 and rest <= _LARGEST_32):
                return None
            # There is no RF64 with the large bytes first.
            too_long = order == "big" and rest >= _LARGEST_32
            if too_long or (size == 0 and _are_chunks(file, content, length, order)):
                return None
            if rest < _LARGEST_32 and size64 is None:
                header[4:8] = min(len(header) + rest, _LARGEST_32 - 1).to_bytes(4, order)
                return bytes(header) + b"data" + rest.to_bytes(4, order), content
            sizes = (_RIFF_START + 36 + len(form) + rest).to_bytes(8, "little") + rest.to_bytes(8, "little") + bytes(12)
            return b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + sizes + form + b"data\xff\xff\xff\xff", content
        if len(header) + size > _MOST_HEADER:
            return None
        chunk = _at(file, place, _CHUNK + size + size % 2)
        header += chunk
        if name == b"ds64":
            size64 = int.from_bytes(chunk[16:24], "little")
        elif name == b"fmt ":
            form = chunk
    return None


def _closed_au(file: BinaryIO, length: int) -> tuple[bytes, int] | None:
    header = _at(file, 0, _AU_START)
    begin = int.from_bytes(header[4:8], "big")
    if len(header) < _AU_START or header[8:12] != bytes(4) or not _AU_START <= begin < min(length, _MOST_HEADER):
        return None
    return header[:8] + b"\xff" * 4 + _at(file, 12, begin - 12), begin


def _closed_caf(file: BinaryIO, length: int) -> tuple[bytes, int] | None:
    place = _CAF_START
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, _CAF_CHUNK)
        size = int.from_bytes(head[4:], "big", signed=True)
        content = place + _CAF_CHUNK
        if head[:4] == b"data":
            if size not in (0, -1) or content + 4 >= length:
                return None
            return _at(file, 0, place) + b"data" + (length - content).to_bytes(8, "big"), content
        if len(head) < _CAF_CHUNK or not 0 <= size <= _MOST_HEADER:
            return None
        place = content + size
    return None


def _chunks(file: BinaryIO, place: int, end: int, order: _Order) -> Iterator[tuple[bytes, int, int]]:
    """Name, size and place of the chunks of a RIFF file, one after the other."""
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, _CHUNK)
        if len(head) < _CHUNK or place >= end:
            return
        size = int.from_bytes(head[4:], order)
        yield head[:4], size, place
        place += _CHUNK + size + size % 2


def _are_chunks(file: BinaryIO, place: int, end: int, order: _Order) -> bool:
    """Whether a file goes on with whole chunks, and nothing else, to its end."""
    for name, size, here in _chunks(file, place, end, order):
        if not (name.isascii() and name.decode().isprintable()):
            return False
        place = here + _CHUNK + size
    return end - 1 <= place <= end


def _at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    file.seek(place)
    return file.read(n_bytes)


class _Spliced(io.RawIOBase):
    """A file with another beginning, for reading.

    Args:
        path: The file.
        header: What it begins with instead.
        begin: Which of its bytes is the first after that.
    """

    def __init__(self, path: Path, header: bytes, begin: int) -> None:
        super().__init__()
        self._header = header
        self._begin = begin
        self._place = 0
        self._file = path.open("rb")
        self._length = len(header) + path.stat().st_size - begin

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._place = max(0, offset + (0, self._place, self._length)[whence])
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read as much as fits, or as there is."""
        view = memoryview(buffer).cast("B")
        content = self._header[self._place :][: len(view)]
        if len(content) < len(view):
            self._file.seek(self._begin + max(0, self._place - len(self._header)))
            content += self._file.read(len(view) - len(content))
        view[: len(content)] = content
        self._place += len(content)
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
