"""A model that Spark brings to the executors, as a folder or as an archive: no path is shared, and the driver finds it by the same name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spark_vector_sink import search
from tests.fake_server import FakeServer
from tests.spark.conftest import run_script
from tests.spark.places import HAS_DATA_SOURCES

pytestmark = pytest.mark.spark

SCRIPT = """
import json
import os

from spark_vector_sink.spark import embed, write

given = json.loads(os.environ["TEST_GIVEN"])
spark.sparkContext.addFile(given["folder"], recursive=True)
spark.sparkContext.addArchive(given["archive"] + "#packed")
df = spark.createDataFrame(list(enumerate(given["texts"])), "id bigint, text string").repartition(2)
how = {"device": "cpu", "dtype": "float32"}
told = {}
for name in ("tiny", "packed"):
    told[name] = [list(row.vector) for row in df.select("id", embed("text", model=name, **how).alias("vector")).orderBy("id").collect()]
    report = write(df, "written_" + name, url=given["url"], grpc_port=given["port"], model=name, **how)
    told[name + " stored"] = report.stored_points
if given["data source"]:
    options = {"url": given["url"], "grpc_port": given["port"], "model": "packed", **how}
    df.write.format("vectorsink").options(**options).mode("append").save("saved")
print("TOLD", json.dumps(told))
"""

TEXTS = ["the quick brown fox", "a vector database stores points", "snow", "dogs run after a ball"]


def test_a_model_that_spark_ships(tmp_path: Path, tiny_model: Path, fake_server: FakeServer) -> None:
    """`addFile` of a folder and `addArchive`, by both doors and by `embed()`: the vectors are the library's own, and later searches, which have no
    Spark, are told where the model is."""
    from sentence_transformers import SentenceTransformer

    folder = shutil.copytree(tiny_model, tmp_path / "shipped" / "tiny")
    archive = shutil.make_archive(str(tmp_path / "shipped" / "model"), "zip", tiny_model)
    given = {
        "folder": str(folder), "archive": archive, "texts": TEXTS, "url": fake_server.url, "port": fake_server.grpc_port, "data source": HAS_DATA_SOURCES,
    }  # fmt: skip
    done = run_script(tmp_path, SCRIPT, "local-cluster[1,1,1024]", environment={"TEST_GIVEN": json.dumps(given)})
    assert done.returncode == 0, done.stderr
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("TOLD ")).removeprefix("TOLD "))
    model = SentenceTransformer(str(tiny_model), device="cpu")
    wanted = np.stack([model.encode_document(text, show_progress_bar=False) for text in TEXTS])
    for name in ("tiny", "packed"):
        assert np.abs(np.array(told[name], np.float32) - wanted).max() <= 1e-5
        assert told[f"{name} stored"] == len(TEXTS)
    for collection in ["written_tiny", "written_packed", *["saved"] * HAS_DATA_SOURCES]:
        points = fake_server.points(collection)
        assert sorted(points) == [0, 1, 2, 3]
        assert np.abs(np.array([points[key].vectors[""] for key in range(4)], np.float32) - wanted).max() <= 1e-5
        options = {"url": fake_server.url, "grpc_port": fake_server.grpc_port, "model": str(tiny_model), "device": "cpu", "dtype": "float32"}
        assert len(search(collection, "snow", **options)) == len(TEXTS)
