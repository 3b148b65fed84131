"""Load a model and cache it, one in each process: the next task of the process uses the cached model."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spark_vector_sink.encode import device, memory, model_files
from spark_vector_sink.encode.encoder import Encoder, EncoderSpec
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import AUTO

_lock = threading.RLock()


_loaded: tuple[tuple[EncoderSpec, str], Encoder] | None = None


def load(
    spec: EncoderSpec, *, gpus: Sequence[str] = (), threads: int | None = None, files: str | None = None
) -> Encoder:
    """Return the encoder for `spec`, loaded once in this process; an encoder for another spec or device that was loaded
    before is unloaded.

    gpus: addresses of the GPUs that Spark has given to the task. threads: CPU threads that the task may use; None
    leaves the threads alone. files: the folder in which Spark puts the files that it ships. Raises EncodingError, with
    a message of one line, where the model cannot be loaded.
    """
    global _loaded
    with _lock, memory.without_collections():
        if spec.factory is not None:
            from spark_vector_sink.encode import user_encoder

            factory = user_encoder.factory(spec.factory)
            chosen = device.choose(spec.device, gpus) if user_encoder.takes_device(factory) else AUTO
        else:
            chosen = device.choose(spec.device, gpus)
            if threads is not None:
                device.use_threads(threads)
        key = (spec, chosen)
        if _loaded is not None and _loaded[0] == key:
            return _loaded[1]
        unload()  # before the next model takes its memory
        encoder = (
            user_encoder.made(spec.factory, factory, chosen)
            if spec.factory is not None
            else _model(spec, chosen, files)
        )
        _loaded = (key, encoder)
        return encoder


def unload() -> None:
    """Unload the encoder and free its memory: a driver that has only asked for a dimension does not need it any
    more."""
    global _loaded
    with _lock:
        if _loaded is not None:
            before, _loaded = _loaded[0][1], None
            memory.give_back(before)


def _model(spec: EncoderSpec, chosen: str, files: str | None) -> Encoder:
    if spec.sparse is not None:
        from spark_vector_sink.encode.hybrid import HybridEncoder

        return HybridEncoder(_model(replace(spec, sparse=None), chosen, files), _model(spec.sparse, chosen, files))
    placed = _placed(spec, files)
    if spec.is_sparse:
        from spark_vector_sink.encode.sparse_encoder import SparseSentenceEncoder

        return SparseSentenceEncoder(placed, chosen)
    from spark_vector_sink.encode.sentence_transformer import SentenceTransformerEncoder

    return SentenceTransformerEncoder(placed, chosen)


def _placed(spec: EncoderSpec, files: str | None) -> EncoderSpec:
    """Return the spec with the model's folder on this machine. Raises EncodingError where the folder does not hold the
    same files as on the driver, because vectors of two models would be stored under one name."""
    if not spec.shipped and not Path(spec.model).is_absolute():
        return spec
    folder = Path(files or "", spec.model) if spec.shipped else Path(spec.model)
    host = socket.gethostname()
    if not folder.is_dir():
        way_out = (
            "ship it again"
            if spec.shipped
            else "put it at the same path on every executor, ship it with Spark (see 'model'), or give a hub name"
        )
        raise EncodingError(f"the model folder {spec.model!r} is not on host {host}; {way_out}")
    here = model_files.read(str(folder), None).name
    if here != spec.identity.split(" ", 1)[0]:
        raise EncodingError(
            f"the model folder {spec.model!r} on host {host} holds {here}, the driver's is {spec.identity}; put the "
            "same model on every machine"
        )
    return replace(spec, model=str(folder))
