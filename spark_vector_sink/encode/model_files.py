"""Find a model's files without loading it: the place of the model, its version, and its settings.

The driver reads them, so that a job is checked, and its collection created, without importing torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spark_vector_sink import files
from spark_vector_sink.encode import model_config
from spark_vector_sink.encode.model_config import ModelSettings
from spark_vector_sink.errors import EncodingError, MissingPackageError


@dataclass(frozen=True, kw_only=True)
class ModelFiles(ModelSettings):
    """A model's place, its version, and the settings from its files."""

    place: str
    """name to load: a hub name, a folder's absolute path, or the folder's name among the files that Spark ships"""
    revision: str | None
    """commit of a hub model; None for a folder"""
    name: str
    """`org/model@commit`, or `sha256:…` of a folder's content; never a path"""
    shipped: bool = False
    """True where Spark ships the folder"""


def read(model: str, revision: str | None, shipped: Path | None = None) -> ModelFiles:
    """Look the model up: a folder, else the name of a folder in `shipped`, where Spark puts the files that it ships to
    tasks, else a name on the hub. Raises EncodingError, with a message of one line, where nothing is found, or the
    model is damaged."""
    folder = files.local(model)
    is_shipped = (
        shipped is not None
        and not folder.is_absolute()
        and not files.is_folder(folder)
        and files.is_folder(shipped / model)
    )
    folder = shipped / model if shipped is not None and is_shipped else folder
    if files.is_folder(folder):
        if not files.is_file(folder / "modules.json") and not files.is_file(folder / "config.json"):
            raise EncodingError(
                f"the folder {model!r} holds no model: neither modules.json nor config.json is in it, as far as "
                "it can be read"
            )
        if revision is not None:
            raise EncodingError(f"option 'model_revision' has no effect with the folder {model!r}; leave it out")
        commit, place = None, model if is_shipped else str(folder.absolute())
        name = f"sha256:{_content(folder)[:32]}"
    elif folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EncodingError(f"the model folder {model!r} does not exist on this machine; correct option 'model'")
    else:
        folder, commit = _hub_folder(model, revision)
        place = model
        name = f"{model}@{commit}"
    settings = model_config.read(folder)
    return ModelFiles(place=place, revision=commit, name=name, shipped=is_shipped, **vars(settings))


def _hub_folder(model: str, revision: str | None) -> tuple[Path, str]:
    """Return the folder on this machine with the hub's small files of this model, and the commit that they belong
    to."""
    try:
        import huggingface_hub as hub
    except ImportError:
        raise MissingPackageError("sentence-transformers", "encode") from None
    repository = model if "/" in model else f"sentence-transformers/{model}"
    try:
        snapshot = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=["*.json"]))
    except Exception as error:
        at = f" at revision {revision!r}" if revision else ""
        raise EncodingError(
            f"the model {model!r}{at} cannot be had: no folder of that name is here, it is not in this "
            "machine's cache, "
            f"and the hub does not give it ({type(error).__name__}); give a folder as option 'model', or check "
            "name and network"
        ) from error
    return snapshot, snapshot.name


def _content(folder: Path) -> str:
    try:
        return _digest(folder, _stamp(folder))
    except OSError as error:
        raise EncodingError(f"the model folder {str(folder)!r} cannot be read: {error}") from error


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    return tuple(
        (str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in _files(folder)
    )


@cache
def _digest(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    """Return the SHA-256 over names and bytes of the files that decide the vectors. stamp: part of the cache key, so
    that an unchanged folder is read once."""
    total = hashlib.sha256()
    for path in _files(folder):
        content = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
        total.update(f"{path.relative_to(folder).as_posix()}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a model, without its description, hidden files and exports to other runtimes."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if (
            path.is_file()
            and parts[0] not in ("onnx", "openvino")
            and path.suffix != ".md"
            and not any(part.startswith(".") for part in parts)
        ):
            yield path
