"""docker/ as its README says: the image is built, the cluster starts, and the demo runs on it to its end. Needs a
Docker engine, and a network to build."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]  # the first build fetches torch and Spark

ROOT = Path(__file__).parents[2]
PROJECT = "spark-vector-sink-tests"
APART = """
services:
  qdrant: { ports: !override ["127.0.0.1::6333", "127.0.0.1::6334"] }
  spark-master: { ports: !reset [] }
"""
"""Ports of its own, besides containers and volumes of its own: a Qdrant that the developer runs is left alone."""


class Compose:
    """`docker compose` with the project's file, apart from what else runs here."""

    def __init__(self, folder: Path) -> None:
        (folder / "apart.yaml").write_text(APART, encoding="utf-8")
        files = ["--file", str(ROOT / "docker" / "compose.yaml"), "--file", str(folder / "apart.yaml")]
        self.command = ["docker", "compose", "--project-name", PROJECT, *files]

    def __call__(self, *arguments: str, seconds: float = 600) -> str:
        """Its standard output; what it and the services said is in the error where it fails."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode != 0:
            logs = subprocess.run(
                [*self.command, "--profile", "*", "logs", "--tail", "40"], capture_output=True, text=True, check=False
            )
            raise AssertionError(
                f"docker compose {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n{logs.stdout[-8000:]}"
            )
        return done.stdout


def why_not() -> str | None:
    """Why nothing can be run in containers here; None where it can."""
    for what, command in (("engine that answers", ["docker", "info"]), ("Compose", ["docker", "compose", "version"])):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"no Docker {what}: {error}"
        if done.returncode != 0:
            return (
                f"no Docker {what}: "
                f"{done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.stdout.strip()}"
            )
    return None


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """An image that has just been built, and in the end no container, network or volume of ours."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    made = Compose(tmp_path_factory.mktemp("compose"))
    try:
        made("build", "demo", seconds=3000)
        yield made
    finally:
        made("--profile", "*", "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="module")
def said(compose: Compose) -> str:
    """What the demo prints at its first run, which starts all that it needs."""
    return compose("run", "--rm", "-T", "demo", seconds=1200)


def test_the_demo_runs_to_its_end(said: str) -> None:
    """`docker compose run --rm demo`: each question's best answer is the documentation that a reader would look for."""
    answers = [block.splitlines()[1].split()[1] for block in said.split("\n\n")[1:4]]
    assert [answer.partition(".")[0] for answer in answers] == ["csv", "subprocess", "threading"]
    assert "run it again, and nothing will be duplicated" in said


def test_two_workers_did_it(compose: Compose, said: str) -> None:
    """All services are healthy, and two of them are workers that the master knows."""
    states = [json.loads(line) for line in compose("--profile", "*", "ps", "--format", "json").splitlines()]
    assert sorted((state["Service"], state["Health"]) for state in states) == [
        ("qdrant", "healthy"),
        ("spark-master", "healthy"),
        ("spark-worker", "healthy"),
        ("spark-worker", "healthy"),
    ]
    asked = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/json/').read().decode())"
    told = json.loads(compose("exec", "-T", "spark-master", "python", "-c", asked))
    assert told["aliveworkers"] == 2
    assert [app["state"] for app in told["completedapps"]] == ["FINISHED"]


def test_no_process_of_spark_is_root(compose: Compose, said: str) -> None:
    """Master and workers run as the user of the image."""
    assert [compose("exec", "-T", service, "id", "-u").strip() for service in ("spark-master", "spark-worker")] == [
        "185",
        "185",
    ]


def test_the_demo_again(compose: Compose, said: str) -> None:
    """A second run writes the same points, and says so."""
    assert "nothing is duplicated: " in compose("run", "--rm", "-T", "demo", seconds=1200)
