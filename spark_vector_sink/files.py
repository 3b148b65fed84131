"""Find and write files: local paths as people write them, and places on any filesystem that Arrow knows, such as
`s3://bucket/folder`."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.fs

from spark_vector_sink.errors import shorten


def local(text: str) -> Path:
    """Return the path with `~` expanded to a home directory; the path of an unknown user stays unchanged."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file() raises where a directory above may not be entered


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - as above


def located(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the filesystem of a place, and the path in it. Raises OSError or ArrowException where Arrow does not know
    the filesystem, or the filesystem does not answer."""
    if _is_url(place):
        filesystem, path = pyarrow.fs.FileSystem.from_uri(place)
        return filesystem, path
    return pyarrow.fs.LocalFileSystem(), absolute(place)


def write_whole(place: str, content: bytes) -> None:
    """Write a file so that a reader finds either the old content or all of the new content. Raises OSError or
    ArrowException."""
    filesystem, path = located(place)
    beside = path
    if filesystem.type_name == "local":  # elsewhere a file appears only when it is closed
        path = beside = str(Path(path).resolve())  # a link stays a link
        is_plain = is_file(Path(path)) or not Path(path).exists()  # and a device stays a device
        if is_plain and os.access(Path(path).parent, os.W_OK):
            beside = f"{path}.part"
    with filesystem.open_output_stream(beside) as file:
        file.write(content)
    if beside != path:
        filesystem.move(beside, path)


def absolute(place: str) -> str:
    """Return a place in a form that every process understands, whatever its working directory."""
    return place if _is_url(place) else str(local(place).absolute())


def shown(place: str) -> str:
    """Return a place for a message, without the part before an @, which may be a password."""
    return repr(shorten(place.rpartition("@")[2], 200))


def _is_url(place: str) -> bool:
    return "://" in place or place.lower().startswith("file:")
