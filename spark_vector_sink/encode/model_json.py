"""Read a model's small files, JSON and the header of its weights. Any problem with a file becomes an error of one line
that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from spark_vector_sink.errors import EncodingError

T = TypeVar("T")
LONGEST_HEADER = 100_000_000
"""Longest header in bytes that the safetensors format allows."""


def mapping(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the JSON object in a file of the folder; None where there is no such file."""
    return _parsed(folder, name, dict, "object")


def sequence(folder: Path, name: str) -> list[Any] | None:
    """Return the JSON list in a file of the folder; None where there is no such file."""
    return _parsed(folder, name, list, "list")


def needed(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a file that a model needs. Raises EncodingError where the file is missing."""
    value = mapping(folder, name)
    if value is None:
        raise EncodingError(f"the model's file {name} is missing; copy or download the whole model")
    return value


def shape(folder: Path, name: str, tensors: tuple[str, ...]) -> list[int] | None:
    """Return the shape of the first of these tensors that a safetensors file has; None without the file, or without the
    tensors."""
    try:
        with (folder / name).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= LONGEST_HEADER else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(name, error) from error
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise damaged(name, "it does not begin as a safetensors file; copy or download it again")
    found = next((header[tensor] for tensor in tensors if tensor in header), None)
    if found is None:
        return None
    sizes = found.get("shape") if isinstance(found, dict) else None
    if not isinstance(sizes, list) or not all(positive(size) for size in sizes):
        raise damaged(name, "its header tells no shapes")
    return sizes


def positive(value: Any) -> int | None:
    """Return the value where it is an integer from 1 on, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def damaged(name: str, reason: str) -> EncodingError:
    return EncodingError(f"the model's file {name} is damaged: {reason}")


def _parsed(folder: Path, name: str, kind: type[T], kind_name: str) -> T | None:
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(name, error) from error
    if not isinstance(value, kind):
        raise damaged(name, f"it holds no JSON {kind_name}")
    return value


def _unreadable(name: str, error: Exception) -> EncodingError:
    return EncodingError(f"the model's file {name} cannot be read: {error}")
