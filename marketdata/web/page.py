"""Files of the page that people look at: markets for everybody, and an operator's view.

The files are hand-written HTML, CSS and modules of JavaScript in ``static``, and one library that draws charts in
``static/vendor``, as its npm package has it. A browser loads nothing from elsewhere: ``HEADERS`` forbid it.
"""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

#: Path of the page, and its first file.
PLACE: Final = "/page/"
_INDEX: Final = "index.html"
_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}

#: The library that draws candles: npm package, version, file in it, and SHA-256 of that file.
CHARTS: Final = (
    "lightweight-charts",
    "5.2.1",
    "dist/lightweight-charts.standalone.production.mjs",
    "1bb1ee79f9d4dd17261b53d930f7a8995748276f80e7ba0e24412b5068062f5f",
)
CHARTS_FILE: Final = "vendor/lightweight-charts.mjs"

#: Headers of each file: scripts, styles and connections of this server alone, nothing inline, and no frame around it.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class PageFile(NamedTuple):
    """A file as it is served. ``tag``: entity tag of its bytes."""

    content: bytes
    media_type: str
    tag: str


def page_files() -> dict[str, PageFile]:
    """Files by the path behind ``PLACE``; the first one is under "" too. Raises OSError."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in _TYPES and path.is_file():
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.relative_to(_FOLDER).as_posix()] = PageFile(content, _TYPES[path.suffix], tag)
    return found | {"": found[_INDEX]}
