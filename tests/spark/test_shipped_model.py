"""A model that Spark brings to the executors: no path is shared, and the driver finds it by the same name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pyspark.sql import SparkSession

from spark_vector_sink import search
from spark_vector_sink.spark import embed, write
from tests.fake_server import FakeServer
from tests.spark.conftest import OWN_SPARK, run_script
from tests.spark.places import HAS_DATA_SOURCES

pytestmark = pytest.mark.spark

EXACT = {"device": "cpu", "dtype": "float32"}
TEXTS = ["the quick brown fox", "a vector database stores points", "snow", "dogs run after a ball"]
SCRIPT = """
import json
import os

from spark_vector_sink.spark import write

given = json.loads(os.environ["TEST_GIVEN"])
spark.sparkContext.addArchive(given["archive"] + "#packed")
df = spark.createDataFrame(list(enumerate(given["texts"])), "id bigint, text string").coalesce(1)
options = {"model": "packed", **given["options"]}
write(df, "written", **options)
if given["data source"]:
    df.write.format("vectorsink").options(**options).mode("append").save("saved")
"""


def library(folder: Path) -> npt.NDArray[np.float32]:
    """The library's own vectors of TEXTS."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.stack([model.encode_document(text, show_progress_bar=False, convert_to_numpy=True) for text in TEXTS])


def is_there(server: FakeServer, collection: str, folder: Path) -> None:
    """All points are right, and can be asked without Spark by saying where the model is."""
    points = server.points(collection)
    assert sorted(points, key=str) == [0, 1, 2, 3]
    assert np.abs(np.stack([points[key].vectors[""] for key in range(4)]) - library(folder)).max() <= 1e-5
    options: dict[str, Any] = {"url": server.url, "grpc_port": server.grpc_port, "model": str(folder), **EXACT}
    assert len(search(collection, "snow", **options)) == len(TEXTS)


@OWN_SPARK
def test_an_archive_in_a_cluster(tmp_path: Path, tiny_model: Path, fake_server: FakeServer) -> None:
    """`addArchive("model.zip#packed")` and `model=packed`: by both doors the vectors are the library's own."""
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", tiny_model)
    options = {"url": fake_server.url, "grpc_port": fake_server.grpc_port, **EXACT}
    given = {"archive": archive, "texts": TEXTS, "options": options, "data source": HAS_DATA_SOURCES}
    done = run_script(tmp_path, SCRIPT, "local-cluster[1,1,1024]", environment={"TEST_GIVEN": json.dumps(given)})
    assert done.returncode == 0, done.stderr
    for collection in ["written", *["saved"] * HAS_DATA_SOURCES]:
        is_there(fake_server, collection, tiny_model)


def test_a_folder(spark: SparkSession, tmp_path: Path, tiny_model: Path, fake_server: FakeServer) -> None:
    """`addFile(…, recursive=True)` and its name; Spark takes a folder of this machine only where it has no other
    one."""
    folder = shutil.copytree(tiny_model, tmp_path / "model-in-a-folder")
    spark.sparkContext.addFile(str(folder), recursive=True)
    df = spark.createDataFrame(list(enumerate(TEXTS)), "id bigint, text string").coalesce(1)
    rows = df.select("id", embed("text", model=folder.name, **EXACT).alias("vector")).orderBy("id").collect()
    assert np.abs(np.array([row.vector for row in rows], np.float32) - library(folder)).max() <= 1e-5
    report = write(df, "articles", url=fake_server.url, grpc_port=fake_server.grpc_port, model=folder.name, **EXACT)
    assert (report.written, report.stored_points) == (4, 4)
    is_there(fake_server, "articles", tiny_model)
