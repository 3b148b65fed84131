"""A change feed as it comes in the worst case, and what the store must hold after it, whatever came first.

    python -m tests.feeds --store real --events 100000 --writers 4 --kill

Writers are processes of their own, each with jobs of several tasks, all at the same time on one collection. `--kill`:
in the middle, one writer and the server end by SIGKILL; the server starts again, and the writer begins the job anew in
which it was. The end state is compared with the feed sorted by version, which a dict does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from tests.fake_server import FakeServer
from tests.fakes import Four
from tests.jobs import Place, points_on
from tests.real_server import RealServer

OPTIONS: dict[str, Any] = {
    "encoder": "tests.fakes:Four",
    "op_column": "op",
    "version_column": "version",
    "payload_exclude": "op",
    "distance": "dot",
    "wait_for_index": False,
}
SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("note", pa.int64()), ("op", pa.string()), ("version", pa.int64())]
)
PARTITIONS = 3
RESTARTS = 8
UPSERTS = ("insert", "update_postimage")

State = Mapping[int, tuple[str, int, int]]
"""key → text, note and version of the documents that are there"""


@dataclass(frozen=True)
class Verdict:
    """How many documents are not as they should be. resurrected: deleted, and found all the same. wrong: of another
    version, text or payload. misplaced: with the vector of another text than their own."""

    documents: int
    missing: int
    resurrected: int
    wrong: int
    misplaced: int

    @property
    def is_right(self) -> bool:
        return not (self.missing or self.resurrected or self.wrong or self.misplaced)


def feed(events: int, keys: int, seed: int = 0) -> pa.Table:
    """About so many events in their order: inserts, updates with their preimage, deletes, keys that come back, in the
    same commit or later.

    Several keys share a version. Of a key's updates only every other changes the text, so that with `unchanged=skip`
    the payload alone is written.
    """
    random = np.random.default_rng(seed)
    rows: list[tuple[int, str | None, int, str, int]] = []
    state: dict[int, tuple[str, int]] = {}
    last: dict[int, int] = {}
    changes: dict[int, int] = {}
    while len(rows) < events:
        key, dice, version = int(random.integers(keys)), random.random(), len(rows) // 7 + 1
        if last.get(key) == version:
            continue
        last[key], changes[key] = version, changes.get(key, 0) + 1
        new = (f"text {changes[key] // 2} of document {key}", changes[key])
        if key not in state:
            rows.append((key, *new, "insert", version))
        elif dice < 0.2:
            rows.append((key, None, 0, "delete", version))
            if dice > 0.05:
                del state[key]
                continue
            rows.append((key, *new, "insert", version))
        else:
            rows += [(key, *state[key], "update_preimage", version), (key, *new, "update_postimage", version)]
        state[key] = new
    return pa.Table.from_pydict(dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True)), schema=SCHEMA)


def sorted_by_version(table: pa.Table) -> State:
    """What is there after the last of each key; at one version an upsert comes after a delete."""
    found: dict[int, tuple[str, int, int] | None] = {}
    rows = [row for row in table.to_pylist() if row["op"] != "update_preimage"]
    for row in sorted(rows, key=lambda row: (row["version"], row["op"] in UPSERTS)):
        found[row["id"]] = (row["text"], row["note"], row["version"]) if row["op"] in UPSERTS else None
    return {key: document for key, document in found.items() if document is not None}


def deliveries(table: pa.Table, writers: int, jobs: int, seed: int = 0) -> list[list[list[pa.Table]]]:
    """For each writer its jobs, for each job its partitions. Every event comes once at least; half of the ranges come
    again as a whole, some rows twice in a job, and nothing in its order."""
    random = np.random.default_rng(seed)
    ranges = np.array_split(np.arange(table.num_rows), writers * jobs)
    again = random.permutation(len(ranges))[: len(ranges) // 2]
    order = random.permutation([*range(len(ranges)), *again])
    made = []
    for number in order.tolist():
        places = ranges[number]
        twice = random.choice(places, max(1, len(places) // 20))
        shuffled = random.permutation(np.concatenate([places, twice]))
        made.append([table.take(pa.array(part)) for part in np.array_split(shuffled, PARTITIONS)])
    return [made[writer::writers] for writer in range(writers)]


def judge(place: Place, wanted: State, ever: int) -> Verdict:
    """Compare what the store holds with what it should. ever: keys that there were."""
    found = _found(place, ever)
    both = [key for key in wanted if key in found]
    vectors = Four().encode([str(found[key][0][0]) for key in both])
    return Verdict(
        documents=len(found),
        missing=len(wanted) - len(both),
        resurrected=len(found.keys() - wanted.keys()),
        wrong=sum(found[key][0] != wanted[key] for key in both),
        misplaced=sum(
            abs(found[key][1] - float(vector @ QUESTION)) > 1e-4 for key, vector in zip(both, vectors, strict=True)
        ),
    )


QUESTION = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


def _found(place: Place, most: int) -> dict[int, tuple[tuple[str, int, int], float]]:
    """Of every point with a vector its document, and the product of its vector with QUESTION."""
    found = {}
    if "url" not in place.options:
        for hit in place.nearest(QUESTION.tolist(), most):
            found[int(hit.id)] = ((hit.payload["text"], hit.payload["note"], hit.payload["version"]), hit.score)
        return found
    server = SimpleNamespace(host=RealServer.host, grpc_port=place.options["grpc_port"])
    for key, point in points_on(server, place.options["path"]).items():
        vector = point.vectors.get("", np.zeros(0))
        if len(vector):
            document = tuple(point.payload.get(name) for name in ("text", "note", "version"))
            found[int(key)] = (document, float(vector.ravel() @ QUESTION))
    return found  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.feeds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", choices=("embedded", "fake", "real"), default="real")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=4, help="of each writer, and half as many again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill", action="store_true", help="one writer, and a real server, in the middle")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the sink")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="feed-") as folder:
        place, server = _start(arguments.store, Path(folder))
        try:
            options = {**OPTIONS, **dict(option.split("=", 1) for option in arguments.option)}
            is_right = Course(place, server, Path(folder), options).run(arguments)
        finally:
            if server is not None:
                server.stop()
    sys.exit(not is_right)


def _start(store: str, folder: Path) -> tuple[Place, Any]:
    if store == "embedded":
        return Place({"path": str(folder / "store"), "timeout_seconds": 600}), None
    server = FakeServer().start() if store == "fake" else RealServer().start()
    return Place({"path": "feed", "url": server.url, "grpc_port": server.grpc_port}), server


@dataclass(frozen=True)
class Course:
    """One feed on its way into one place."""

    place: Place
    server: Any
    folder: Path
    options: dict[str, Any]

    def run(self, arguments: argparse.Namespace) -> bool:
        """Print the figures; whether the end state is right."""
        table = feed(arguments.events, arguments.keys, arguments.seed)
        shares = deliveries(table, arguments.writers, arguments.jobs, arguments.seed)
        rows = sum(part.num_rows for jobs in shares for parts in jobs for part in parts)
        for number, jobs in enumerate(shares):
            for job, parts in enumerate(jobs):
                for part, content in enumerate(parts):
                    with (
                        pa.OSFile(str(self.folder / f"{number}-{job}-{part}.arrow"), "wb") as file,
                        pa.ipc.new_file(file, SCHEMA) as writer,
                    ):
                        writer.write_table(content)
        self.place.write(table.slice(0, 0), **self.options)  # the collection is there
        begun = time.monotonic()
        writers = [self._writer(number, len(jobs)) for number, jobs in enumerate(shares)]
        killed = self._kill(writers, [len(jobs) for jobs in shares]) if arguments.kill else "nothing"
        again = 0
        for number, jobs in enumerate(shares):
            while (
                writers[number].wait() and again < RESTARTS
            ):  # a job that is planned just when the server is away is refused
                again, writers[number] = again + 1, self._writer(number, len(jobs))
        codes = [writer.wait() for writer in writers]
        seconds = time.monotonic() - begun
        wanted = sorted_by_version(table)
        verdict = judge(self.place, wanted, arguments.keys)
        reports = [
            json.loads(line) for path in sorted(self.folder.glob("*.reports")) for line in path.read_text().splitlines()
        ]
        ends = {
            name: sum(one[name] for one in reports)
            for name in ("written", "unchanged", "older", "superseded", "deleted", "ignored", "retries")
        }
        print(
            f"{table.num_rows:,} events of {arguments.keys:,} keys came as {rows:,} rows in {sum(map(len, shares))} "
            f"jobs of {len(writers)} writers"
        )
        print(
            f"{seconds:.1f} s, {rows / seconds:,.0f} rows/s; killed: {killed}; restarted after an error: {again}; "
            f"exit codes {codes}"
        )
        print(", ".join(f"{name} {count:,}" for name, count in ends.items()))
        print(verdict, f"of {len(wanted):,}", flush=True)
        return verdict.is_right and not any(codes)

    def _writer(self, number: int, jobs: int) -> subprocess.Popen[bytes]:
        said = json.dumps(
            {
                "place": self.place.options,
                "options": self.options,
                "folder": str(self.folder),
                "number": number,
                "jobs": jobs,
            }
        )
        return subprocess.Popen([sys.executable, "-c", "from tests.feeds import write_share; write_share()", said])

    def _kill(self, writers: list[subprocess.Popen[bytes]], jobs: Sequence[int]) -> str:
        """When a third of the jobs are done the first writer, and the server when half are; both start again."""
        self._wait_for(sum(jobs) // 3)
        writers[0].send_signal(signal.SIGKILL)
        code = writers[0].wait()
        writers[0] = self._writer(0, jobs[0])
        said = f"writer 0 (exit code {code})"
        if isinstance(self.server, RealServer):
            self._wait_for(sum(jobs) // 2)
            self.server.kill9()
            self.server.restart()
            said += ", the server"
        return said

    def _wait_for(self, jobs: int) -> None:
        """Until so many jobs have ended."""
        while sum(path.read_text().count("\n") for path in self.folder.glob("*.reports")) < jobs:
            time.sleep(0.05)


def write_share() -> None:
    """A writer's process: those of its jobs that have not ended yet, one after the other."""
    said = json.loads(sys.argv[1])
    place, folder, number = Place(said["place"]), Path(said["folder"]), said["number"]
    reports = folder / f"{number}.reports"
    done = reports.read_text().count("\n") if reports.exists() else 0
    for job in range(done, said["jobs"]):
        parts = []
        for part in range(PARTITIONS):
            with pa.OSFile(str(folder / f"{number}-{job}-{part}.arrow")) as file, pa.ipc.open_file(file) as reader:
                parts.append(reader.read_all())
        report = place.write(*parts, **said["options"])
        with reports.open("a") as file:
            file.write(report.to_json().replace("\n", " ") + "\n")
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main()
