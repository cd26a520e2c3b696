"""A page of players: the sounds of a folder beside their pictures, opened from disk without a server."""

from html import escape
from pathlib import Path
from urllib.parse import quote

from gan.files import atomic_write
from gan.outputs import generator_tag, page_mark

INDEX = "index.html"

_GENERATOR = "gan: sounds of a folder"
# Pages of versions before the tag begin so.
PAGE = page_mark("page of sounds of gan", _GENERATOR, "<title>Sounds of ", "height: 14rem; filter: brightness(0.75)")

# Of a comment that is shown: a FLAC file's may be 16 MB.
_MOST_LETTERS = 1000
_SUFFIXES = {".wav", ".flac"}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{generator}
<title>{title}</title>
<style>
body {{ font: 1rem/1.4 system-ui, sans-serif; max-width: 64rem; margin: 1rem auto; padding: 0 1rem; }}
figure {{ margin: 0 0 2rem; }}
/* Images hold 120 dB, most sounds 80: so much is black. */
img {{ display: block; width: 100%; height: 14rem; filter: brightness(0.75) contrast(2); }}
audio {{ width: 100%; }}
</style>
<h1>{title}</h1>
{sounds}
</html>
"""
_SOUND = """<figure>
<figcaption>{name}<br><small>{comment}</small></figcaption>
<img src="{picture}" alt="Spectrogram of {name}, low frequencies at the bottom" loading="lazy">
<audio controls preload="metadata" src="{sound}" aria-label="{name}"></audio>
</figure>"""


def write_page(folder: Path) -> Path:
    """Write a page with a player and a picture for each sound file of a folder that has a picture of its name.

    Args:
        folder: The folder; the page lies in it and names files relative to itself.

    Returns:
        The page.
    """
    from gan.sound.recording import open_as_named

    sounds = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES):
        picture = path.with_suffix(".png")
        if picture.exists():
            try:
                with open_as_named(path) as file:
                    comment = file.comment[:_MOST_LETTERS]
            except (OSError, RuntimeError, ValueError):
                # What else lies in the folder: a player that stays silent is enough.
                comment = ""
            words = {"name": path.name, "comment": comment}
            links = {"picture": picture.name, "sound": path.name}
            sounds.append(
                _SOUND.format(
                    **{key: escape(text) for key, text in words.items()},
                    **{key: quote(text) for key, text in links.items()},
                )
            )
    page = folder / INDEX
    with atomic_write(page) as part:
        part.write_text(
            _PAGE.format(
                generator=generator_tag(_GENERATOR),
                title=escape(f"Sounds of {folder.resolve().parent.name}"),
                sounds="\n".join(sounds),
            ),
            encoding="utf-8",
            errors="replace",
        )
    return page
