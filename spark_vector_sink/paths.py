"""Local paths as people write them. What cannot be looked at is not there, and never an exception: whoever asks says what is wrong in its own words."""

from __future__ import annotations

import os
from pathlib import Path


def local(text: str) -> Path:
    """The path, with `~` as a home directory; that of a user whom nobody knows stays as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file() raises where a directory above may not be entered


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - as above
