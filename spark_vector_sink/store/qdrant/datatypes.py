"""Check whether a collection can hold the job's vectors: a datatype that is not float32 changes some numbers, and the
server does not report it.

`uint8` cuts the fraction off and takes the nearest of 0 to 255, also where the distance is cosine, for which vectors of
all other datatypes are first scaled to length 1. `float16` turns numbers beyond its range into infinity. The `turbo`
datatypes keep a vector's length as float32 beside a few bits for each number. A sparse vector is kept as float32; its
datatype is the datatype of its index, and as `uint8` the index can hold any weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from spark_vector_sink.store.collection import CollectionSpec

FLOAT32, UINT8, FLOAT16 = "float32", "uint8", "float16"
KNOWN = frozenset((FLOAT32, UINT8, FLOAT16, "turbo4", "turbo8", "turbo16"))
KNOWN_OF_SPARSE = frozenset((FLOAT32, UINT8, FLOAT16))

Dense = Mapping[str, models.VectorParams]
Sparse = Mapping[str, models.SparseVectorParams]


def asked_for(spec: CollectionSpec) -> tuple[Dense, Sparse]:
    """Return the vectors of a collection that is still to be created, as option `collection_config` has them; none
    where they are wrong, which `config_problems` reports."""
    given, of_sparse = spec.config.get("vectors", {}), spec.config.get("sparse_vectors", {})
    try:
        dense = (
            {spec.vector_name: models.VectorParams(**{**given, "size": 1, "distance": models.Distance.DOT})}
            if spec.dense
            else {}
        )
        return dense, {
            spec.sparse_vector_name: models.SparseVectorParams(**of_sparse)
        } if spec.sparse_vector_name else {}
    except (ValidationError, TypeError):
        return {}, {}


def to_be_checked(dense: Dense, sparse: Sparse, spec: CollectionSpec) -> dict[str, str]:
    """Return the job's vectors whose numbers must be checked, with their datatypes, for `Target.datatypes`."""
    own, own_sparse = of_dense(dense, spec), of_sparse(sparse, spec)
    found = {spec.vector_name: own} if own == UINT8 or (own != FLOAT32 and spec.distance != "cosine") else {}
    return {**found, str(spec.sparse_vector_name): own_sparse} if own_sparse == FLOAT16 else found


def problems_there(name: str, dense: Dense, sparse: Sparse, spec: CollectionSpec) -> Iterator[str]:
    """Yield the problems of writing the job's vectors to an existing collection."""
    return _problems(
        f"the collection '{name}' holds", "write to a collection of float32 or float16", dense, sparse, spec
    )


def problems_to_come(spec: CollectionSpec, replaced: str = "") -> Iterator[str]:
    """Yield the problems of writing the job's vectors to a collection that is still to be created; replaced: the name
    of an overwrite, whose datatype is kept where the job names none."""
    whose = f"the new version of '{replaced}' would hold" if replaced else "option 'collection_config' asks for"
    way_out = (
        'give collection_config={"vectors": {"datatype": "float32"}}, or float16'
        if replaced
        else "leave the datatype out (float32), or ask for float16"
    )
    return _problems(whose, way_out, *asked_for(spec), spec)


def _problems(whose: str, way_out: str, dense: Dense, sparse: Sparse, spec: CollectionSpec) -> Iterator[str]:
    own, own_sparse, smaller = (
        of_dense(dense, spec),
        of_sparse(sparse, spec),
        "a quantization_config makes those smaller, too",
    )
    if own == UINT8 and spec.fractions:
        yield (
            f"{whose} vectors of uint8, whole numbers from 0 to 255, and {spec.fractions} makes fractions, which "
            f"would be stored as zeros; {way_out}: {smaller}"
        )
    elif own not in KNOWN:
        yield (
            f"{whose} vectors of {own}, a datatype that this sink does not know, so it cannot say what becomes of "
            f"numbers there; {way_out}: {smaller}"
        )
    if own_sparse not in KNOWN_OF_SPARSE:
        yield (
            f"{whose} sparse vectors of {own_sparse}, which no index of sparse vectors can have; take float32, "
            "float16 or uint8"
        )


def of_dense(dense: Dense, spec: CollectionSpec) -> str:
    """Return the datatype of the job's dense vector; a vector that does not exist yet is created with the server's
    default."""
    there = dense.get(spec.vector_name) if spec.dense else None
    return _name(there.datatype if there is not None else None)


def of_sparse(sparse: Sparse, spec: CollectionSpec) -> str:
    """Return the datatype of the index of the job's sparse vector."""
    there = sparse.get(spec.sparse_vector_name) if spec.sparse_vector_name else None
    return _name(there.index.datatype if there is not None and there.index is not None else None)


def _name(datatype: Any) -> str:
    return FLOAT32 if datatype is None else str(getattr(datatype, "value", datatype))
