"""Say how to load the model, or the dense and the sparse model, that the options name or that a collection
remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from spark_vector_sink.encode import loader, model_files
from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.errors import CollectionError, EncodingError, OptionError
from spark_vector_sink.options import IN_IDENTITY, NO_MODEL, SinkOptions, marked
from spark_vector_sink.store.collection_metadata import SPARSE, VectorMetadata, Vectors, of_kind


def spec(options: SinkOptions, shipped: Path | None = None) -> tuple[EncoderSpec, int | None]:
    """Return how to load the model, or both models, and the length of the dense vectors: None where the model's files
    do not tell it, 0 where all vectors are sparse."""
    if options.encoder is not None:
        return EncoderSpec(
            identity=f"encoder {options.encoder}", model="", factory=options.encoder, device=options.device
        ), None
    sparse = None if options.sparse_model is None else _sparse_encoder(options, shipped)
    if options.model == NO_MODEL and sparse is not None:
        return sparse, 0
    files = model_files.read(options.model, options.model_revision, shipped)
    if options.prompt_name is not None and options.prompt_name not in files.prompts:
        raise EncodingError(
            f"option 'prompt_name' = {options.prompt_name!r} is no prompt of the model; it has: "
            f"{', '.join(sorted(files.prompts)) or 'none'}"
        )
    if options.truncate_dim is not None and files.dimension is not None and options.truncate_dim > files.dimension:
        raise EncodingError(
            f"option 'truncate_dim' = {options.truncate_dim} is more than the model's {files.dimension} dimensions"
        )
    if files.sparse:
        raise EncodingError(
            f"option 'model' = {options.model!r} is a sparse encoder; give it as option 'sparse_model', with "
            "model=none if it is the only one"
        )
    prompt = files.prompts[options.prompt_name] if options.prompt_name is not None else options.prompt
    changes = {name: getattr(replace(options, prompt=prompt), name) for name in marked(IN_IDENTITY)}
    identity = " ".join([files.name, *(f"{name}={value!r}" for name, value in changes.items() if value is not None)])
    chosen = _of_files(
        files,
        identity,
        options,
        token_budget=options.token_budget,
        prompt=prompt,
        normalize=options.normalize,
        truncate_dim=options.truncate_dim,
        max_tokens=options.max_tokens,
        sparse=sparse,
    )
    return chosen, options.truncate_dim or files.dimension


def measured(encoder: EncoderSpec, shipped: Path | None = None) -> tuple[EncoderSpec, int]:
    """Load the model and return its spec and dimension, where its files tell no dimension. It is loaded on the CPU,
    because the driver may have no GPU, or only one that belongs to the tasks."""
    loaded = loader.load(replace(encoder, device="cpu"), files=str(shipped) if shipped else None)
    loader.unload()
    return replace(encoder, identity=loaded.identity), loaded.dimension


def _sparse_encoder(options: SinkOptions, shipped: Path | None) -> EncoderSpec:
    """Return how to load the sparse model. Options of the dense model (prompts, max_tokens, token_budget) do not apply
    to it."""
    files = model_files.read(str(options.sparse_model), None, shipped)
    if not files.sparse:
        raise EncodingError(
            f"option 'sparse_model' = {options.sparse_model!r} is no sparse encoder of Sentence Transformers"
        )
    return _of_files(files, files.name, options, is_sparse=True)


def _of_files(files: model_files.ModelFiles, identity: str, options: SinkOptions, **more: Any) -> EncoderSpec:
    """Return how to load the model of these files, on the device and in the arithmetic of the options."""
    return EncoderSpec(
        identity,
        files.place,
        files.revision,
        device=options.device,
        dtype=options.dtype,
        trust_remote_code=options.trust_remote_code,
        shipped=files.shipped,
        **more,
    )


def remembered(vectors: Vectors, options: SinkOptions, name: str) -> EncoderSpec:
    """Return the model, or both models, that a collection was filled with. Raises CollectionError where a model at its
    place today is a different one.

    vectors: the vectors of one job in the collection `name`. options: `model` and `sparse_model` say where the models
    are now.
    """
    first, sparse = vectors[0], of_kind(SPARSE, vectors)
    if not first.place and not first.encoder:
        raise CollectionError(
            f"'{name}' was filled with ready-made vectors (option 'vector_column'); its model is not known, so no "
            "question can be asked in words; ask with a vector: search(…, vector=[…])"
        )
    if first.encoder:
        if "model" in options.given:
            raise OptionError(f"'{name}' was filled by the encoder {first.encoder}; leave option 'model' out")
        return EncoderSpec(str(first.model), "", factory=first.encoder, device=options.device)
    beside = None
    if sparse is not None:
        files = _found(sparse, "sparse_model", options, name)
        beside = _of_files(files, str(sparse.model), options, is_sparse=True)
        if first is sparse:
            return beside
    settings = first.settings
    return _of_files(
        _found(first, "model", options, name),
        str(first.model),
        options,
        normalize=settings.get("normalize"),
        truncate_dim=settings.get("truncate_dim"),
        max_tokens=settings.get("max_tokens"),
        sparse=beside,
    )


def _found(vector: VectorMetadata, option: str, options: SinkOptions, name: str) -> model_files.ModelFiles:
    """Return the files of one remembered model, from where the model is today."""
    moved, identity = option in options.given, str(vector.model)
    if moved and vector.revision:
        raise OptionError(
            f"'{name}' was filled with the hub model {identity}, and is asked with the same; leave option "
            f"'{option}' out"
        )
    files = model_files.read(getattr(options, option) if moved else str(vector.place), vector.revision)
    if files.name != identity.split(" ", 1)[0]:
        raise CollectionError(
            f"'{name}' was filled with the model {identity}, but {files.place!r} is {files.name} today; give its "
            f"place as option '{option}'"
        )
    return files
