"""What happens in a run: everything that (seed, number) determine, before anything happens.

Twenty runs in a row are a deck, shuffled by the seed, in which each kind of fault has its place; what else comes, when,
and to which rows and options, is drawn for each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from tests.chaos.rows import COLUMNS, KEYS, Documents, draw, earlier

DECK: tuple[tuple[str, ...], ...] = (
    ("worker",),
    ("worker", "reply"),
    ("worker", "statuses"),
    ("driver",),
    ("driver", "server"),
    ("driver", "statuses"),
    ("server",),
    ("server", "worker"),
    ("server", "server"),
    ("reply", "reply"),
    ("reply", "cut"),
    ("stall", "cut"),
    ("statuses",),
    ("statuses", "reply"),
    ("refusal", "statuses"),
    ("outage",),
    ("limit",),
    ("executor",),
    ("executor", "server"),
    ("twin", "reply"),
)
"""
worker, executor, driver: killed with SIGKILL · server: killed and started again · reply: lost after the points were
applied · cut: connection closed in the middle of a request · stall: the network holds everything back for longer than a
request may take · statuses: the fake server plays statuses that heal · refusal: one that does not heal · outage: the
server is gone for longer than is tried again · limit: the server's own rate limit · twin: a slow attempt, and Spark's
speculative one beside it
"""

INSTEAD = {"server": "statuses", "outage": "refusal", "limit": "statuses"}
"""Where there is no real server."""

FAKE_ONLY = {"statuses", "refusal"}
CLUSTER_ONLY = {"executor", "twin"}
EXTRAS = ("worker", "reply", "cut")
HEALING = (
    "applied_then_unavailable",
    "unavailable",
    "rate_limit",
    "wait_timeout",
    "acknowledged",
    "deadline",
    "internal",
    "slow",
)


@dataclass(frozen=True)
class Fault:
    """Something that happens when a share of the rows is encoded."""

    kind: str
    at: float
    seconds: float = 0.0
    """how long a server is gone, or a network stalls"""
    choice: float = 0.0
    """which of those that there are, from 0 to 1"""


@dataclass(frozen=True)
class Scenario:
    """A run. Texts of options are as Spark takes them; where to write is not among them."""

    seed: int
    number: int
    place: str
    """`real` or `fake` server"""
    where: str
    """`local` (two threads of one JVM) or `cluster` (two executors)"""
    door: str
    """`write` or `data source`"""
    keys: str
    documents: Documents
    earlier: Documents | None
    options: Mapping[str, str]
    faults: tuple[Fault, ...]
    statuses: tuple[Mapping[str, object], ...] = field(default=())
    """what the fake server plays, see tests.fake_server.Fault"""
    seconds: float = 2.5
    """about how long encoding takes"""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the planned faults, in the order in which they come."""
        return tuple(dict.fromkeys([fault.kind for fault in sorted(self.faults, key=lambda fault: fault.at)]))

    @property
    def must_fail(self) -> bool:
        """Whether a fault outlasts what the sink tries again."""
        return any(fault.kind in ("outage", "refusal") for fault in self.faults)

    @property
    def slow_partition(self) -> int | None:
        """The partition whose first attempt is slow, so that it gets a twin."""
        twin = next((fault for fault in self.faults if fault.kind == "twin"), None)
        # one of the larger half, and Spark puts the larger files first
        return None if twin is None else int(twin.choice * ((len(self.documents.files) + 1) // 2))


def make(seed: int, number: int, *, real: bool, doors: tuple[str, ...]) -> Scenario:
    """The run. real: whether there is a server to kill. doors: those that this Spark has."""
    rng = Random(f"{seed}/{number}")
    kinds = [*_dealt(seed, number)]
    if not real:
        kinds = [INSTEAD.get(kind, kind) for kind in kinds]
    if not {"limit", "outage", "refusal"} & set(kinds):
        kinds += [kind for kind in EXTRAS if rng.random() < 0.2]
        # no more than three kills: Spark gives a task four attempts
        kinds += ["worker"] * (rng.random() < 0.3 and "worker" in kinds)
    place = "real" if real and not FAKE_ONLY & set(kinds) else "fake"
    where = "cluster" if CLUSTER_ONLY & set(kinds) else "local"
    faults = tuple(_fault(rng, kind) for kind in kinds)
    keys = rng.choice(list(KEYS))
    # attempts that overlap may write the two rows of a key in any order, also one of a failed job that Spark has not
    # ended yet
    twice = 0.0 if {"driver", "executor", "twin", "outage", "refusal"} & set(kinds) else rng.choice([0.0, 0.0, 0.05])
    documents = draw(
        rng,
        _sizes(rng),
        keys,
        rng.sample(list(COLUMNS), rng.randint(1, 6)),
        twice=twice,
        stores_text=rng.random() < 0.8,
    )
    before = earlier(rng, documents, rng.uniform(0.3, 1.0)) if rng.random() < 0.5 and "limit" not in kinds else None
    options = {**_options(rng, kinds, documents), **(documents.key.options or {})}
    statuses = _statuses(rng, kinds, documents.count // int(options["batch_points"]))
    # a rate limit is met by who is quick
    seconds = 0.5 if "limit" in kinds else rng.uniform(1.5, 3.0)
    return Scenario(
        seed, number, place, where, rng.choice(doors), keys, documents, before, options, faults, statuses, seconds
    )


def _dealt(seed: int, number: int) -> tuple[str, ...]:
    deck, place = divmod(number, len(DECK))
    shuffled = list(DECK)
    Random(f"{seed}/deck {deck}").shuffle(shuffled)
    return shuffled[place]


def _fault(rng: Random, kind: str) -> Fault:
    earliest, latest = (0.0, 0.0) if kind in ("twin", "limit", "statuses", "refusal") else (0.05, 0.8)
    seconds = {"server": rng.uniform(0.0, 1.0), "stall": rng.uniform(1.2, 2.5)}.get(kind, 0.0)
    return Fault(kind, rng.uniform(earliest, latest), seconds, rng.random())


def _sizes(rng: Random) -> list[int]:
    """Rows of each partition: uneven, one of them sometimes empty."""
    rows, partitions = rng.randint(500, 3000), rng.randint(2, 7)
    shares = [rng.uniform(0.3, 1.0) for _ in range(partitions)]
    sizes = [max(1, round(rows * share / sum(shares))) for share in shares]
    return sizes + [0] * (rng.random() < 0.2)


def _options(rng: Random, kinds: list[str], documents: Documents) -> dict[str, str]:
    options = {
        "distance": "dot",  # Qdrant keeps the numbers as they were sent
        "batch_points": str(rng.randint(5, 50)),
        "max_in_flight": rng.choice(["1", "2", "4", "auto"]),
        "window_rows": str(rng.randint(20, 90)),
        "retry_max_seconds": "2" if "outage" in kinds else "60",
        "store_text": str(documents.stores_text).lower(),
    }
    if rng.random() < 0.2:
        options["versioned"] = "false"
    if rng.random() < 0.2:
        options["ordering"] = rng.choice(["weak", "medium", "strong"])
    if rng.random() < 0.2:
        options["payload_indexes"] = "version:keyword"
    if "stall" in kinds:
        options["timeout_seconds"] = "1"
    if "limit" in kinds:
        # points in a minute; the bucket is full at first and holds a little less than the job wants
        limit = documents.count * 9 // 10
        options["collection_config"] = f'{{"strict_mode_config": {{"enabled": true, "write_rate_limit": {limit}}}}}'
    return options


def _statuses(rng: Random, kinds: list[str], requests: int) -> tuple[Mapping[str, object], ...]:
    played: list[dict[str, object]] = []
    for kind in kinds:
        if kind == "statuses":
            for _ in range(rng.randint(2, 4)):
                status = rng.choice(HEALING)
                played.append(
                    {
                        "method": "Points/Upsert",
                        "kind": status,
                        "times": rng.randint(1, 2),
                        "skip": rng.randint(0, max(1, requests // 6)),
                    }
                )
                if status == "rate_limit":
                    played[-1]["retry_after"] = 1
                if status == "deadline":
                    played[-1]["seconds"] = 0.3
        if kind == "refusal":
            played.append(
                {
                    "method": "Points/Upsert",
                    "kind": "no_space",
                    "times": None,
                    "skip": rng.randint(0, max(1, requests // 3)),
                }
            )
    return tuple(sorted(played, key=lambda status: status["kind"] == "no_space"))
