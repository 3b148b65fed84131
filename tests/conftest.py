"""Fixtures for all tests: a fake Qdrant for each test that wants one, a fake and a real one for all of them, and no key
in the environment."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from spark_vector_sink.store.qdrant import address, connection
from spark_vector_sink.store.qdrant.connection import Connection
from tests.fake_server import FakeServer
from tests.hangs import HANGS_AFTER_SECONDS
from tests.real_server import FoundServer, NoServerError, RealServer, find_binary, find_server

KEY_AT_START = os.environ.get("QDRANT_API_KEY")
"""Belongs to QDRANT_URL; no test sees it in the environment."""

PACKAGES = ("pyspark", "pyarrow", "qdrant-client", "grpcio", "sentence-transformers", "torch")


def pytest_report_header() -> list[str]:
    """What the tests run on; nothing is imported for it."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    real = os.environ.get("QDRANT_URL") or find_binary() or "no QDRANT_URL and no binary; Docker is tried"
    return [
        f"versions: python {platform.python_version()}, java {_java_version()}, {', '.join(found)}",
        f"real Qdrant: {real}",
    ]


def _java_version() -> str:
    """From the file that a JDK keeps beside its binaries: starting a JVM for it would take longer than most tests."""
    java = shutil.which("java")
    home = os.environ.get("JAVA_HOME") or (str(Path(java).resolve().parents[1]) if java else None)
    if home is None:
        return "absent"
    try:
        lines = (Path(home) / "release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"of unknown version in {home}"
    return next(
        (line.split("=", 1)[1].strip('"') for line in lines if line.startswith("JAVA_VERSION=")), "of unknown version"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spark's tests first: a single one may take minutes, and where several processes share the tests the last to begin
    should be a short one.

    Where a real Qdrant is at hand, a test that asks it is not run on the fake one too: that both answer alike is what
    `test_servers_agree` is for. `-k fake` runs those.
    """
    items.sort(key=lambda item: item.get_closest_marker("spark") is None)
    if os.environ.get("QDRANT_URL") or find_binary():
        known = {item.nodeid for item in items}
        kept, asked_of_the_real_one = list[pytest.Item](), list[pytest.Item]()
        for item in items:
            twin = _twin(item.nodeid)
            has_twin = twin != item.nodeid and twin in known and "servers_agree" not in item.nodeid
            (asked_of_the_real_one if has_twin else kept).append(item)
        config.hook.pytest_deselected(items=asked_of_the_real_one)
        items[:] = kept


def _twin(test: str) -> str:
    """The same test on the real server."""
    return re.sub(r"(?<=[\[-])fake(?=[\]-])", "real", test)


@pytest.fixture(scope="session")
def qdrant_server() -> Iterator[FoundServer | RealServer]:
    """A real Qdrant, shared by all tests, so collections need names of their own. Without one the test is skipped, and
    the summary says why."""
    try:
        server = find_server(KEY_AT_START)
    except NoServerError as error:
        if os.environ.get("QDRANT_URL") or find_binary():
            raise  # a server was named, or is here, so its silence is an error
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(autouse=True, scope="session")
def _patient() -> Iterator[None]:
    """On a busy machine a server may not answer for longer than a job asks it before it begins; tests of just that say
    how long."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(address, "PROBE_SECONDS", HANGS_AFTER_SECONDS)
        patched.setattr(connection, "PATIENCE_SECONDS", HANGS_AFTER_SECONDS)
        patched.setattr(Connection.__init__, "__defaults__", (HANGS_AFTER_SECONDS,))
        yield


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """An empty fake Qdrant without faults; see tests/fake_server.py."""
    with FakeServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_fake() -> Iterator[FakeServer]:
    """One fake server for all tests that script no faults, as there is one real server: collections need names of their
    own."""
    with FakeServer() as server:
        yield server


@pytest.fixture(autouse=True, scope="module")
def _frozen() -> Iterator[None]:
    """What is there already is no garbage: the sink collects some after each model that it lets go, and a process that
    tests holds a million objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the developer's environment must not decide how a test ends."""
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
