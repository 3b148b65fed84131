"""Files: local paths as people write them, and places on any filesystem that Arrow knows, `s3://bucket/folder` too."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.fs

from spark_vector_sink.errors import shorten


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


def located(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The filesystem, and the path in it. Raises OSError or ArrowException where Arrow knows none, or it does not
    answer."""
    if _is_url(place):
        filesystem, path = pyarrow.fs.FileSystem.from_uri(place)
        return filesystem, path
    return pyarrow.fs.LocalFileSystem(), absolute(place)


def write_whole(place: str, content: bytes) -> None:
    """Write a file so that a reader finds what was there before, or all of the new. Raises OSError or
    ArrowException."""
    filesystem, path = located(place)
    beside = path
    if filesystem.type_name == "local":  # elsewhere a file is there when it is closed
        path = beside = str(Path(path).resolve())  # a link stays one
        is_plain = is_file(Path(path)) or not Path(path).exists()  # and so does a device
        if is_plain and os.access(Path(path).parent, os.W_OK):
            beside = f"{path}.part"
    with filesystem.open_output_stream(beside) as file:
        file.write(content)
    if beside != path:
        filesystem.move(beside, path)


def absolute(place: str) -> str:
    """The place as every process understands it, whatever its working directory."""
    return place if _is_url(place) else str(local(place).absolute())


def shown(place: str) -> str:
    """A place in a message: without what stands before an @, which may be a password."""
    return repr(shorten(place.rpartition("@")[2], 200))


def _is_url(place: str) -> bool:
    return "://" in place or place.lower().startswith("file:")
