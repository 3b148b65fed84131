"""docker/ keeps to its rules, as far as that can be seen without a Docker engine;
tests/integration/test_docker_compose.py runs it where there is one."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.hangs import HANGS_AFTER_SECONDS
from tests.real_server import DOCKER_IMAGE

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings the same under its first name
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker"
DOCKERFILE = FOLDER / "Dockerfile"
COMPOSE_FILE = FOLDER / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ONE_SHOT = {"demo"}
"""Services that run to their end, and so have no health."""

SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
FULL_VERSION = re.compile(r":v?\d+\.\d+\.\d+[\w.-]*$")


def instructions(name: str = "") -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them, in order; of one name only, where one is given."""
    lines = [
        line
        for line in DOCKERFILE.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined)
        if name in ("", word.upper())
    ]


def copied() -> list[str]:
    """What the image takes from the checkout, both flavours of torch."""
    sources = [source for _, rest in instructions("COPY") if "--from=" not in rest for source in rest.split()[:-1]]
    return [source.replace("${TORCH}", flavour) for source in sources for flavour in ("cpu", "cuda")]


def locked(name: str) -> dict[str, str]:
    """The packages of a pinned list and their versions."""
    return dict(re.findall(r"^([a-z][\w.-]*)==([\w.]+)", (FOLDER / name).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_compose_file_keeps_to_the_schema() -> None:
    """Every key of compose.yaml is one that Compose knows, with a value of its type."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_passes_the_linter() -> None:
    """hadolint has nothing to say, not even as information."""
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts"), "hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_images_are_pinned() -> None:
    """Each image from elsewhere has a whole version; that of Qdrant is the one that the tests run on."""
    stages = {rest.split()[-1] for _, rest in instructions("FROM") if " AS " in rest}
    images = [rest.split()[0] for _, rest in instructions("FROM")] + [
        each["image"] for each in SERVICES.values() if "build" not in each
    ]
    assert [image for image in images if image not in stages and not FULL_VERSION.search(image)] == []
    assert SERVICES["qdrant"]["image"] == DOCKER_IMAGE


def test_the_image_does_not_run_as_root() -> None:
    """The last user is another one, by number, so that Kubernetes can see that it is."""
    assert int(instructions("USER")[-1][1]) > 0


def test_no_secret_is_in_a_layer_or_in_the_environment() -> None:
    """No ENV, no ARG and no variable of a service is named like one."""
    named = [rest for name in ("ENV", "ARG") for _, rest in instructions(name)]
    named += [variable for each in SERVICES.values() for variable in each.get("environment", {})]
    assert [text for text in named if SECRET.search(text)] == []


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_says_whether_it_is_well(name: str) -> None:
    """Each has a health check, but for those that run to their end; and whoever waits for a service waits until it is
    well."""
    assert ("healthcheck" in SERVICES[name]) == (name not in ONE_SHOT)
    assert {each["condition"] for each in SERVICES[name].get("depends_on", {}).values()} <= {"service_healthy"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_reachable_from_this_machine_only(name: str) -> None:
    """Every published port is one of 127.0.0.1."""
    assert [port for port in SERVICES[name].get("ports", []) if not str(port).startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_process_gets_more_rights_than_it_began_with(name: str) -> None:
    """As by a program that is root's, and runs as root whoever starts it."""
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_up_starts_the_database_alone() -> None:
    """`docker compose up` builds no image; what a service waits for is in each of its profiles, or in none."""
    assert [name for name, each in SERVICES.items() if not each.get("profiles")] == ["qdrant"]
    for each in SERVICES.values():
        for other in each.get("depends_on", {}):
            assert set(each["profiles"]) <= set(SERVICES[other].get("profiles", each["profiles"]))


def test_what_is_copied_is_there_and_let_through() -> None:
    """Each source of a COPY exists, and the list of what Docker gets to see has it and hides no part of it."""
    rules = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    shown = [rule[1:] for rule in rules if rule.startswith("!")]
    assert "*" in rules
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert [source for source in copied() if not any(fnmatch.fnmatch(source, rule) for rule in shown)] == []
    wanted = [
        rule
        for rule in shown
        if any(fnmatch.fnmatch(source, rule) or rule.startswith(f"{source}/") for source in copied())
    ]
    assert wanted == shown  # and no more than that


def test_what_an_example_leaves_behind_is_in_no_layer() -> None:
    """Whoever runs one from its own folder has stores, databases and notes in it; of examples/ Docker sees the
    scripts."""
    scripts = [
        path.relative_to(ROOT)
        for path in (ROOT / "examples").iterdir()
        if path.is_file() and not path.name.startswith(".")
    ]
    assert [str(path) for path in scripts if not is_seen(path)] == []
    for left in (
        "demo/nightly/store/v1/sink.json",
        "spark-warehouse/part-0.parquet",
        ".env",
        "key.txt",
        "__pycache__/common.cpython-311.pyc",
    ):
        assert not is_seen(Path("examples", left)), left


def is_seen(path: Path) -> bool:
    """Whether Docker gets to see a file: the last rule that fits it, or a folder that it is in, says so. `*` stands for
    no slash."""
    seen = True
    for rule in (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = rule.removeprefix("!").removeprefix("**/")
        folders = [path, *path.parents][:-1]
        tails = (
            [each.name for each in folders]
            if "**/" in rule
            else [each for each in folders if len(each.parts) == len(Path(pattern).parts)]
        )
        if not rule.startswith("#") and any(fnmatch.fnmatch(str(each), pattern) for each in tails):
            seen = rule.startswith("!")
    return seen


def test_a_service_runs_what_its_image_has() -> None:
    """Build contexts exist, and so do the scripts that commands and health checks name, at the places where the image
    has them."""
    places = {
        Path(rest.split()[-1]).name: rest.split()[0] for _, rest in instructions("COPY") if "/home/spark/" in rest
    }
    assert places == {"examples": "examples", "spark": "docker/healthy.py"}
    for each in (each for each in SERVICES.values() if "build" in each):
        assert (FOLDER / each["build"]["context"]).resolve() == ROOT
        assert (FOLDER / each["build"]["context"] / each["build"]["dockerfile"]).resolve() == DOCKERFILE
        named = [
            word for word in [*each["command"], *each.get("healthcheck", {}).get("test", [])] if word.endswith(".py")
        ]
        assert [word for word in named if not (ROOT / word).exists() and not (FOLDER / word).exists()] == []


def test_the_python_is_one_we_support_and_the_one_the_lists_are_for() -> None:
    """The version of the base image, the one in SPARK_HOME, the one of lock.sh and that of pyproject.toml agree."""
    found = next(match for _, rest in instructions("FROM") if (match := re.match(r"python:(\d+\.\d+)(\.\d+)", rest)))
    assert found[1] + found[2] in SpecifierSet(PROJECT["requires-python"])
    assert f"/python{found[1]}/" in next(rest for _, rest in instructions("ENV") if "SPARK_HOME" in rest)
    assert f"--python-version {found[1]} " in (FOLDER / "lock.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("flavour", ["cpu", "cuda"])
def test_the_pinned_lists_hold_what_the_project_asks_for(flavour: str) -> None:
    """Everything that pyproject.toml names is in the lists, in a version that it allows."""
    have = {**locked("requirements.txt"), **locked(f"requirements-{flavour}.txt")}
    extras = PROJECT["optional-dependencies"]
    asked = [
        Requirement(line) for line in [*PROJECT["dependencies"], *extras["encode"], *extras["spark"], *extras["edge"]]
    ]
    asked += [
        Requirement(line.partition("  #")[0])
        for line in (FOLDER / "requirements.in").read_text(encoding="utf-8").splitlines()[1:]
    ]
    assert [str(each) for each in asked if each.name not in have or not each.specifier.contains(have[each.name])] == []


def test_what_comes_from_pypi_has_hashes() -> None:
    """Each package of the lists but torch's CPU build, which comes from PyTorch's own index."""
    for name in ("requirements.txt", "requirements-build.txt", "requirements-cuda.txt"):
        blocks = re.split(r"^(?=[a-z])", (FOLDER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        assert blocks
        assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert locked("requirements-cpu.txt") == {"torch": locked("requirements-cuda.txt")["torch"]}


PATIENTLY = f"""
import runpy, sys, urllib.request

urlopen = urllib.request.urlopen
urllib.request.urlopen = lambda url, timeout: urlopen(url, timeout={HANGS_AFTER_SECONDS})
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script whose pages may take their time: on a busy machine more than the seconds that are enough for a health
check."""


@pytest.fixture
def page() -> Iterator[HTTPServer]:
    """A web page of Spark; `told` is what it answers."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/json/" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(server.told).encode())  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("told", "healthy"),
    [
        ({"status": "ALIVE", "workers": []}, True),
        ({"status": "RECOVERING", "workers": []}, False),
        ({"masterurl": "spark://spark-master:7077", "masterwebuiurl": "http://172.18.0.2:8080"}, True),
        ({"masterurl": "", "masterwebuiurl": ""}, False),
    ],
    ids=["a master that leads", "a master that does not", "a worker with a master", "a worker without"],
)
def test_healthy_is_what_can_do_its_work(page: HTTPServer, told: dict[str, Any], healthy: bool) -> None:
    """healthy.py ends with 0 or with 1, by what Spark says of itself (the words are those of Spark 4.3)."""
    page.told = told  # type: ignore[attr-defined]
    command = [sys.executable, "-c", PATIENTLY, str(FOLDER / "healthy.py"), str(page.server_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == healthy, done.stderr
    assert healthy or done.stderr.startswith("not ready: {")
