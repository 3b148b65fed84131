"""Collections whose vectors are no float32: what a server makes of numbers there, and that no vector is stored as
another one."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import grpc as q

from spark_vector_sink import reembed, search
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import BadRowError, CollectionError
from spark_vector_sink.rows.vectors import Wanted, unlike
from tests.contract.raw import Qdrant, point, unnamed
from tests.jobs import Place, points_on, server_place
from tests.models import model_of

__all__ = ["model_of"]

QUANTISED = {"quantization_config": {"scalar": {"type": "int8"}}}
BYTES, HALVES = {"vectors": {"datatype": "uint8"}}, {"vectors": {"datatype": "float16"}}
WHOLE, HALF = [[1.0, 0.0, 255.0, 7.0]], [[0.1, 65_504.0, 0.0, 1.0]]
OPTIMISED = {"optimizers_config": q.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1)}
EXTREMES = [
    [1, 0, 255, 7],
    [1.9, -3, 300, 0.4],
    [0.3, 0.2, -0.5, 0.9],
    [0, 256, 0, 0],
    [-1, 0, 0, 0],
    [65_504, 0, 0, 1],
    [65_519, 0, 0, 1],
    [65_520, 0, 0, 1],
    [7e4, 0, 0, 1e-9],
    [3e-8, 2e-8, 0, 0],
    [2e-8, 2e-8, 0, 0],
    [1e-30, 2e-30, 0, 0],
    [1e-37, 2e-37, 0, 0],
    [3e30, 4e30, 0, 0],
    [2.3e38, 2.3e38, 0, 0],
    [2.5e38, 2.5e38, 0, 0],
]
"""Vectors that some datatype holds and another does not"""
TEXTS = pa.table({"id": [1, 2], "text": ["bread", "butter"]})


def rows(*vectors: list[float], **columns: Any) -> pa.Table:
    """Rows of ready-made vectors of four doubles."""
    return pa.table({"id": list(range(len(vectors))), "v": pa.array(vectors, pa.list_(pa.float64())), **columns})


def place_on(qdrant: Qdrant, config: dict[str, Any] | None = None, **options: Any) -> Place:
    more = {} if config is None else {"collection_config": config}
    return server_place(
        qdrant.server, qdrant.name("c"), **{"vector_column": "v", "dimension": 4, "versioned": False, **more, **options}
    )


def model(tiny_model: Path) -> dict[str, Any]:
    return {"vector_column": None, "dimension": None, "model": str(tiny_model), "device": "cpu"}


def made(qdrant: Qdrant, datatype: int, *, distance: int = q.Distance.Dot, size: int = 4) -> str:
    """The name of a collection of the user's own."""
    params = q.VectorParams(size=size, distance=distance, datatype=datatype)
    name = qdrant.name("own")
    qdrant.call(
        "Collections/Create", q.CreateCollection(collection_name=name, vectors_config=q.VectorsConfig(params=params))
    )
    return name


def datatype_of(qdrant: Qdrant, place: Place) -> int:
    return int(qdrant.info(place.options["path"]).config.params.vectors_config.params.datatype)


@pytest.mark.parametrize("distance", [q.Distance.Dot, q.Distance.Euclid, q.Distance.Cosine])
def test_a_server_makes_other_numbers_of_those_that_are_no_bytes(qdrant: Qdrant, distance: int) -> None:
    """uint8 cuts fractions off and stops at 0 and 255, whatever the distance, and says nothing."""
    name = made(qdrant, q.Datatype.Uint8, distance=distance)
    qdrant.upsert(
        name,
        point(1, unnamed(1.9, -3.0, 300.0, 0.4)),
        point(2, unnamed(0.3, 0.2, -0.5, 0.9)),
        point(3, unnamed(3.0, 4.0, 0.0, 255.0)),
    )
    assert {key: found.vectors[""].tolist() for key, found in qdrant.points(name).items()} == {
        1: [1, 0, 255, 0],
        2: [0, 0, 0, 0],
        3: [3, 4, 0, 255],
    }


def test_a_server_makes_infinity_and_zero_of_what_is_no_half(qdrant: Qdrant) -> None:
    """float16 reaches up to 65,504 and down to 6e-8."""
    name = made(qdrant, q.Datatype.Float16)
    qdrant.upsert(name, point(1, unnamed(65_504.0, 70_000.0, 1e-9, -1e5)))
    assert qdrant.points(name)[1].vectors[""].tolist() == [65_504, float("inf"), 0, float("-inf")]


@pytest.mark.parametrize("distance", ["Dot", "Euclid", "Manhattan", "Cosine"])
@pytest.mark.parametrize("datatype", ["Float32", "Uint8", "Float16", "Turbo4", "Turbo8", "Turbo16"])
def test_what_the_engine_makes_nothing_of_is_found(tmp_path: Path, datatype: str, distance: str) -> None:
    """Every datatype, whether a server knows it yet or not, as the embedded engine has it: what it keeps as zeros, as
    no number or, of bytes, otherwise is a bad row, and nothing that it keeps."""
    edge = pytest.importorskip("qdrant_edge")
    if not hasattr(edge.VectorStorageDatatype, datatype):
        pytest.skip(f"the installed engine knows no {datatype}")
    kind = edge.EdgeVectorParams(
        4, getattr(edge.Distance, distance), datatype=getattr(edge.VectorStorageDatatype, datatype)
    )
    shard = edge.EdgeShard.create(str(tmp_path), edge.EdgeConfig(vectors={"": kind}))
    name = datatype.lower()
    is_scaled = distance == "Cosine" and name != "uint8"
    sent = Wanted(4, is_scaled=is_scaled).sent(pa.array(EXTREMES, pa.list_(pa.float64())))
    shard.update(edge.UpdateOperation.upsert_points([edge.Point(n, row.tolist(), {}) for n, row in enumerate(sent)]))
    for record in shard.retrieve(list(range(len(sent))), with_payload=False, with_vector=True):
        stored = np.array(record.vector)
        bad = (
            not np.isfinite(stored).all()
            or not stored.any()
            or (name == "uint8" and not np.array_equal(stored, sent[record.id]))
        )
        found = unlike(sent[record.id : record.id + 1], "float32" if is_scaled else name)
        assert (found is not None) == bad, (sent[record.id], stored)


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid"])
@pytest.mark.parametrize(
    "given",
    [
        [0.5, 1.0, 2.0, 3.0],
        [-1.0, 1.0, 2.0, 3.0],
        [256.0, 1.0, 2.0, 3.0],
        [1e30, 0.0, 0.0, 0.0],
        [1e-30, 0.0, 0.0, 0.0],
    ],
)
def test_numbers_that_are_no_bytes_make_a_bad_row(qdrant: Qdrant, given: list[float], distance: str) -> None:
    """With its key, the number and what would fit, whatever the distance."""
    words = (
        rf"key '1' cannot be written: column 'v' gives a vector with {given[0]:g} in it, and the collection "
        r"stores uint8: whole numbers from 0 to 255"
    )
    with pytest.raises(BadRowError, match=words.replace("+", r"\+")):
        place_on(qdrant, BYTES, distance=distance).write(rows(WHOLE[0], given))


@pytest.mark.parametrize("distance", ["cosine", "dot"])
def test_bytes_are_stored_as_they_are(qdrant: Qdrant, distance: str, tmp_path: Path) -> None:
    """The rows beside them are rejected, and one before a bad row of its key keeps its place."""
    place = place_on(qdrant, BYTES, distance=distance, rejects_path=str(tmp_path / "rejects"))
    table = rows(WHOLE[0], [0.1, 0.2, 0.3, 0.4], [9.0, 0.0, 0.0, 0.0], [1.5, 0.0, 0.0, 0.0]).set_column(
        0, "id", pa.array([1, 2, 3, 3])
    )
    report = place.write(table)
    assert (report.written, report.rejected, report.superseded) == (2, 2, 0)
    found = points_on(qdrant.server, place.options["path"])
    assert {key: found[key].vectors[""].tolist() for key in found} == {1: WHOLE[0], 3: [9, 0, 0, 0]}


def test_a_collection_of_the_users_own_is_looked_at(qdrant: Qdrant) -> None:
    """Its datatype counts, whatever the job's `collection_config` says."""
    name = made(qdrant, q.Datatype.Uint8)
    place = server_place(qdrant.server, name, vector_column="v", distance="dot", collection_config=HALVES)
    with pytest.raises(BadRowError, match=r"with 0\.25 in it, and the collection stores uint8"):
        place.write(rows([0.25, 1, 1, 1]))
    assert place.write(rows(WHOLE[0])).written == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([70_000.0, 1, 1, 1], "with 70000 in it, and the collection stores float16: numbers up to 65,504"),
        ([1e-9, 1e-10, 0, 0], "numbers next to 0, and"),
    ],
)
def test_a_vector_that_float16_cannot_hold_is_a_bad_row(qdrant: Qdrant, given: list[float], words: str) -> None:
    """What would be infinite, and what would be zeros only."""
    with pytest.raises(BadRowError, match=f"key '1' cannot be written: column 'v' gives a vector .*{words}"):
        place_on(qdrant, HALVES, distance="dot").write(rows(HALF[0], given))


def test_the_datatype_travels_to_the_tasks(qdrant: Qdrant) -> None:
    """In the plan that Spark pickles for them."""
    place = place_on(qdrant, BYTES)
    plan = committer.prepare(planning.plan(place.options, rows(WHOLE[0]).schema))
    assert pickle.loads(pickle.dumps(plan)).ready_made == Wanted(4, is_scaled=False, datatype="uint8")


def test_float16_loses_digits_only(qdrant: Qdrant) -> None:
    """What is a half goes in as it is; and where the distance is cosine anything does, because it is scaled first."""
    place = place_on(qdrant, HALVES, distance="dot")
    place.write(rows(HALF[0]))
    assert np.allclose(points_on(qdrant.server, place.options["path"])[0].vectors[""], HALF[0], rtol=1e-3)
    place = place_on(qdrant, HALVES, path=qdrant.name("cosine"))
    assert place.write(rows([3e30, 4e30, 0, 0], [3e-9, 4e-9, 0, 0], [70_000, 0, 0, 0])).written == 3
    assert [round(hit.score, 2) for hit in place.nearest([0.6, 0.8, 0, 0])] == [1.0, 1.0, 0.6]


def test_what_a_model_makes_is_no_byte(qdrant: Qdrant, tiny_model: Path) -> None:
    """Refused before the job, in one line that says what fits, whoever made the collection."""
    found = place_on(qdrant, BYTES).check(TEXTS, **model(tiny_model)).problems
    assert found == (
        "option 'collection_config' asks for vectors of uint8, whole numbers from 0 to 255, and a model makes "
        "fractions, which would be stored as zeros; "
        "leave the datatype out (float32), or ask for float16: a quantization_config makes those smaller, too",
    )
    name = made(qdrant, q.Datatype.Uint8, size=32)
    place = server_place(qdrant.server, name, distance="dot", **model(tiny_model))
    with pytest.raises(
        CollectionError,
        match=f"the collection '{name}' holds vectors of uint8, .*; write to a collection of float32 or "
        "float16: a quant",
    ):
        place.write(TEXTS)
    assert qdrant.count(name) == 0


@pytest.mark.parametrize("config", [HALVES, QUANTISED, {**HALVES, **QUANTISED}], ids=["float16", "quantised", "both"])
def test_what_fits_is_written(qdrant: Qdrant, tiny_model: Path, config: dict[str, Any]) -> None:
    """Each that the line names."""
    place = place_on(qdrant, config)
    assert place.write(TEXTS, **model(tiny_model)).written == 2
    assert [
        answer.key
        for answer in search(
            f"{qdrant.server.url}/{place.options['path']}", "butter", 1, grpc_port=qdrant.server.grpc_port
        )
    ] == [2]


def test_vectors_that_are_given_length_one_are_no_bytes(qdrant: Qdrant) -> None:
    """normalize=true is a reason before the job, not one of each row."""
    problems = place_on(qdrant, BYTES, normalize=True).check(rows(WHOLE[0])).problems
    assert len(problems) == 1
    assert "uint8, whole numbers from 0 to 255, and normalize=true makes fractions" in problems[0]


def test_an_encoder_of_the_users_own_may_make_bytes(qdrant: Qdrant) -> None:
    """What it makes is known row by row."""
    own = {"vector_column": None, "dimension": None}
    assert place_on(qdrant, BYTES).write(TEXTS, encoder="tests.fakes:Bytes", **own).written == 2
    with pytest.raises(
        BadRowError,
        match=r"key '1' cannot be written: column 'text' gives a vector with 0\.\d+ in it, and the collection "
        r"stores uint8",
    ):
        place_on(qdrant, BYTES, path=qdrant.name("four")).write(TEXTS, encoder="tests.fakes:Four", **own)


def test_an_overwrite_keeps_the_datatype(qdrant: Qdrant, tiny_model: Path) -> None:
    """Where the job names none; so what cannot be held there is refused, and by the name of another datatype it is
    not."""
    place = place_on(qdrant, BYTES, versioned=True)
    place.write(rows(WHOLE[0]))
    bare = Place(
        {name: value for name, value in place.options.items() if name not in ("collection_config", "versioned")}
    )
    with pytest.raises(BadRowError, match="the collection stores uint8"):
        bare.write(rows([0.5, 1, 1, 1]), mode="overwrite")
    assert bare.write(rows([1, 2, 3, 4]), mode="overwrite").written == 1
    assert datatype_of(qdrant, place) == q.Datatype.Uint8
    with pytest.raises(
        CollectionError,
        match=r"the new version of 'c_\w+' would hold vectors of uint8, .* give "
        r"collection_config=.*float32.*, or float16",
    ):
        bare.write(TEXTS, mode="overwrite", **model(tiny_model))
    assert bare.write(TEXTS, mode="overwrite", collection_config=HALVES, **model(tiny_model)).written == 2
    assert datatype_of(qdrant, place) == q.Datatype.Float16


def test_reembed_keeps_the_datatype_and_refuses_it_where_it_cannot_hold_a_model(
    qdrant: Qdrant, tiny_model: Path
) -> None:
    """As a job does; another one is given by `collection_config`."""
    place = place_on(qdrant, BYTES, versioned=True)
    place.write(TEXTS, encoder="tests.fakes:Bytes", vector_column=None, dimension=None)
    where, port = f"{qdrant.server.url}/{place.options['path']}", qdrant.server.grpc_port
    with pytest.raises(
        CollectionError, match="would hold vectors of uint8, whole numbers from 0 to 255, and a model makes fractions"
    ):
        reembed(where, str(tiny_model), device="cpu", grpc_port=port)
    assert reembed(where, str(tiny_model), device="cpu", grpc_port=port, collection_config=HALVES).written == 2
    assert datatype_of(qdrant, place) == q.Datatype.Float16
    assert reembed(where, str(tiny_model), device="cpu", grpc_port=port, normalize=False).written == 2
    assert datatype_of(qdrant, place) == q.Datatype.Float16


def test_another_vector_beside_bytes_may_be_a_models(qdrant: Qdrant, tiny_model: Path) -> None:
    """A merge adds it as float32, and only the vectors of the job are looked at."""
    place = place_on(qdrant, BYTES, versioned=True, vector_name="bytes", existing="merge", collection_config=None)
    first = Place({**place.options, "collection_config": BYTES})
    first.write(rows(WHOLE[0], [1, 1, 1, 1]))
    second = Place({name: value for name, value in first.options.items() if name != "collection_config"})
    assert second.write(TEXTS, **model(tiny_model), vector_name="mini").written == 2
    with pytest.raises(BadRowError, match="the collection stores uint8"):
        second.write(rows([0.5, 1, 1, 1]))
    with pytest.raises(CollectionError, match="holds vectors of uint8"):
        second.write(TEXTS, **model(tiny_model), vector_name="bytes", adopt_collection=True)


def test_the_plan_says_the_datatype(qdrant: Qdrant) -> None:
    """Where it is not the usual one."""
    assert "of 4 dimensions, cosine, uint8" in str(place_on(qdrant, BYTES).check(rows(WHOLE[0])))
    assert "of 4 dimensions, cosine\n" in str(place_on(qdrant, {}).check(rows(WHOLE[0]))) + "\n"


def test_a_question_that_is_no_bytes_is_refused(qdrant: Qdrant) -> None:
    """A server would compare with the zeros that it makes of fractions."""
    place = place_on(qdrant, BYTES)
    place.write(rows(WHOLE[0], [0, 9, 0, 0]))
    where, port = f"{qdrant.server.url}/{place.options['path']}", qdrant.server.grpc_port
    with pytest.raises(
        CollectionError,
        match=r"compares vectors of uint8, and the one to search for has 0\.3 in it; ask with whole numbers "
        r"from 0 to 255",
    ):
        search(where, vector=[0.3, 1, 0, 0], grpc_port=port)
    assert [answer.key for answer in search(where, vector=[0, 200, 0, 0], grpc_port=port)] == [1, 0]


@pytest.mark.parametrize("datatype", ["uint8", "float16"])
def test_a_sparse_model_fits_every_index(qdrant: Qdrant, model_of: Callable[[str], Path], datatype: str) -> None:
    """The weights are stored as they are, and the index of a few bits finds them."""
    config = {"sparse_vectors": {"index": {"datatype": datatype}}}
    sparse = {
        "vector_column": None,
        "dimension": None,
        "model": "none",
        "sparse_model": str(model_of("splade")),
        "device": "cpu",
    }
    place, plain = place_on(qdrant, config, **sparse), place_on(qdrant, path=qdrant.name("plain"), **sparse)
    for one in (place, plain):
        assert one.write(TEXTS).written == 2
    found, wanted = (points_on(qdrant.server, one.options["path"]) for one in (place, plain))
    assert {key: point.sparse for key, point in found.items()} == {key: point.sparse for key, point in wanted.items()}
    (best,) = search(f"{qdrant.server.url}/{place.options['path']}", "butter", 1, grpc_port=qdrant.server.grpc_port)
    assert best.key == 2


@pytest.mark.parametrize(("datatype", "apart"), [(q.Datatype.Uint8, 0.02), (q.Datatype.Float16, 0.002)])
def test_an_optimised_index_of_a_few_bits_scores_nearly_the_same(qdrant: Qdrant, datatype: int, apart: float) -> None:
    """Any weight has room in uint8, and those that a model makes in float16; what is read back is what was sent."""
    name, random = qdrant.name("few"), np.random.default_rng(1)
    params = q.SparseVectorParams(index=q.SparseIndexConfig(datatype=datatype))
    qdrant.call(
        "Collections/Create",
        q.CreateCollection(
            collection_name=name, sparse_vectors_config=q.SparseVectorConfig(map={"sp": params}), **OPTIMISED
        ),
    )
    weights = random.uniform(0.01, 4, (300, 8)).astype(np.float32)
    made = (q.Vector(sparse=q.SparseVector(indices=range(8), values=row.tolist())) for row in weights)
    qdrant.upsert(
        name, *(point(n, q.Vectors(vectors=q.NamedVectors(vectors={"sp": one}))) for n, one in enumerate(made))
    )
    qdrant.optimise(name)
    asked = q.Query(nearest=q.VectorInput(sparse=q.SparseVector(indices=range(8), values=[1.0] * 8)))
    hits = qdrant.call("Points/Query", q.QueryPoints(collection_name=name, query=asked, using="sp", limit=300)).result
    assert len(hits) == 300
    assert max(abs(hit.score / weights[hit.id.num].sum() - 1) for hit in hits) < apart
    assert [qdrant.points(name)[7].sparse["sp"][n] for n in range(8)] == weights[7].tolist()
