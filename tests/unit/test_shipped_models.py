"""Models that Spark ships: found by name among the files that came with the job, on the driver and in a task."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spark_vector_sink.driver import model_spec
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import SinkOptions

CPU = {"device": "cpu", "dtype": "float32"}


@pytest.fixture
def shipped(tmp_path: Path, tiny_model: Path) -> Path:
    """What a driver has after `addFile` of the folder `tiny` and `addArchive` of a file that holds it, as `packed`."""
    shutil.copytree(tiny_model, tmp_path / "driver" / "tiny")
    shutil.copytree(tiny_model, tmp_path / "driver" / "packed" / "inside")
    return tmp_path / "driver"


def options(**given: str) -> SinkOptions:
    return SinkOptions.of_model(CPU | given)


@pytest.mark.parametrize("name", ["tiny", "packed/inside"])
def test_a_shipped_model_goes_by_its_name(shipped: Path, tiny_model: Path, tmp_path: Path, name: str) -> None:
    """Every machine has it in another folder, so none is in the plan; its identity is that of its content."""
    spec, dimension = model_spec.spec(options(model=name), shipped)
    assert (spec.model, spec.shipped, dimension) == (name, True, 32)
    assert spec.identity == model_spec.spec(options(model=str(tiny_model)))[0].identity
    moved = shutil.move(shipped, tmp_path / "task")
    encoder = loader.load(pickle.loads(pickle.dumps(spec)), files=str(moved))
    assert encoder.identity == spec.identity
    assert encoder.encode(encoder.tokenise(["dog"])).vectors.shape == (1, 32)


def test_a_folder_here_comes_first(
    shipped: Path, model_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means what it means to everything else on the driver."""
    here = tmp_path / "here"
    shutil.copytree(model_of("bert-mean"), here / "tiny")
    monkeypatch.chdir(here)
    spec, _ = model_spec.spec(options(model="tiny"), shipped)
    assert (spec.model, spec.shipped) == (str(here / "tiny"), False)


def test_a_model_that_did_not_arrive(shipped: Path, tmp_path: Path) -> None:
    """The task says on which host, and what to do."""
    spec, _ = model_spec.spec(options(model="tiny"), shipped)
    with pytest.raises(EncodingError, match=r"^the model folder 'tiny' is not on host .*; ship it again$"):
        loader.load(spec, files=str(tmp_path / "elsewhere"))
    with pytest.raises(EncodingError, match="ship it again"):
        loader.load(spec)


def test_another_model_of_the_name(shipped: Path, model_of: Callable[[str], Path], tmp_path: Path) -> None:
    """Vectors of two models under one name would be compared with each other."""
    spec, _ = model_spec.spec(options(model="tiny"), shipped)
    shutil.copytree(model_of("bert-mean"), tmp_path / "task" / "tiny")
    with pytest.raises(
        EncodingError, match=r"^the model folder 'tiny' on host .* holds sha256:.*, the driver's is sha256:"
    ):
        loader.load(spec, files=str(tmp_path / "task"))


def test_a_folder_that_holds_no_model(shipped: Path) -> None:
    """An archive with one folder more inside is a likely mistake."""
    with pytest.raises(EncodingError, match=r"^the folder 'packed' holds no model"):
        model_spec.spec(options(model="packed"), shipped)


def test_both_models_can_be_shipped(shipped: Path, model_of: Callable[[str], Path]) -> None:
    """The sparse one too."""
    shutil.copytree(model_of("splade"), shipped / "words")
    spec, dimension = model_spec.spec(options(model="tiny", sparse_model="words"), shipped)
    assert spec.sparse is not None
    assert (spec.sparse.model, spec.sparse.shipped, dimension) == ("words", True, 32)
    encoder = loader.load(spec, files=str(shipped))
    made = encoder.encode(encoder.tokenise(["dog", "cat"]))
    assert made.sparse is not None
    assert (made.vectors.shape, len(made.sparse)) == ((2, 32), 2)
