"""The path below which a proxy offers the service: `/hone` for https://example.org/hone/."""

import re

SEGMENTS = re.compile(r"(/[A-Za-z0-9._~-]+)*")
OURS = ("v1", "assets", "docs", "openapi.json", "healthz", "readyz")


def root_path(text: str) -> str:
    """The path without a slash at its end, empty for the root of the host; ValueError says what is wrong with it.

    A path that begins like one of ours is ambiguous: nobody could tell whether a proxy has removed it or not.
    """
    path = text.rstrip("/")
    if not SEGMENTS.fullmatch(path):
        raise ValueError(f"{text!r} is no path such as /hone: '/' and letters, digits, '.', '_', '~' or '-'")
    first, *_ = path.removeprefix("/").split("/")
    if first in OURS or {".", ".."} & set(path.split("/")):
        raise ValueError(f"{text!r} cannot be told from a path of Hone's own (/{', /'.join(OURS)}); choose another")
    return path
