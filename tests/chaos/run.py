"""One run: the job, the faults that fall while it runs, what it says in the end, and what the store holds then."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import processes
from tests.chaos.encoder import Note, Pace, notes
from tests.chaos.oracle import Verdict, compare, compare_unfinished
from tests.chaos.places import Place
from tests.chaos.processes import DAEMON, DRIVER_JVM, EXECUTOR_JVM
from tests.chaos.scenario import Fault, Scenario
from tests.chaos.sparks import TASKS_AT_A_TIME, Driver, DriverDiedError, Sparks


class HungError(Exception):
    """A job did not end in time."""


@dataclass
class Outcome:
    """What a run showed."""

    hits: Counter[str] = field(default_factory=Counter)
    """kind of fault → how often it hit while a job ran"""
    missed: Counter[str] = field(default_factory=Counter)
    """faults that came too late, or found nothing to hit"""
    verdict: Verdict = field(default_factory=Verdict)
    """of the store when all was done"""
    problems: list[str] = field(default_factory=list)
    """what broke a promise; each in one line"""
    end: str = ""
    """how the job ended"""
    logs: str = ""
    """the last words of those concerned, where something hung or died"""

    @property
    def is_good(self) -> bool:
        return not self.problems and self.verdict.is_clean


@dataclass(frozen=True)
class _Victims:
    """Attempts that a kill must have ended: (partition, attempt)."""

    kind: str
    attempts: frozenset[tuple[int, int]]


class Run:
    """See above. folder: the campaign's. seconds: the longest that one job may take."""

    def __init__(self, scenario: Scenario, folder: Path, place: Place, sparks: Sparks, seconds: float) -> None:
        self.scenario = scenario
        self.name = f"run_{scenario.number}"
        self.outcome = Outcome()
        self._folder = folder / self.name
        self._place = place
        self._sparks = sparks
        self._seconds = seconds
        self._pending = sorted(
            (fault for fault in scenario.faults if fault.kind in self._actions()), key=lambda fault: fault.at
        )
        self._victims: list[_Victims] = []
        self._killed: Driver | None = None
        self._notes = self._folder / "notes"

    def play(self) -> Outcome:
        """Never raises for what the sink does wrong: that is in the outcome."""
        try:
            self._play()
        except HungError as error:
            self.outcome.problems.append(str(error))
            self.outcome.logs = (
                f"{self._sparks.driver(self.scenario.where).last_words()}\n{self._place.last_words()}".strip()
            )
            self._sparks.drop(self.scenario.where)
        except DriverDiedError as error:
            self.outcome.problems.append("the driver ended, and nobody has killed it")
            self.outcome.logs = str(error)
            self._sparks.drop(self.scenario.where)
        finally:
            if self._killed is not None:
                self._killed.end()
        return self.outcome

    def _play(self) -> None:
        wanted = self.scenario.documents.points()
        earlier = self.scenario.earlier.points() if self.scenario.earlier is not None else {}
        self._folder.mkdir()
        self.scenario.documents.save(self._folder / "rows")
        if self.scenario.earlier is not None:
            self.scenario.earlier.save(self._folder / "earlier")
            self._plain_job("earlier", "the job before")
            self._expect(compare(self._place.points(self.name), earlier), "the job before")
        self._place.play(self.scenario.statuses)
        error = self._job("rows", "first", self.scenario.seconds)
        if self._killed is not None:
            self._expect(
                compare_unfinished(self._place.points(self.name), wanted, earlier), "the driver was killed and"
            )
            error = self._job("rows", "second", self.scenario.seconds)
            self.outcome.end = "driver killed, and completed by the next run"
        if error is not None:
            self._check_error(error)
            self._place.heal()
            self._expect(compare_unfinished(self._place.points(self.name), wanted, earlier), "the job failed and")
            self._plain_job("rows", "the next run")
            self.outcome.end = "failed with one line, and completed by the next run"
        self._count_hits()
        self._check_report()
        stored = self._place.points(self.name)
        self.outcome.verdict = compare(stored, wanted, earlier)
        for key in [*self.outcome.verdict.wrong, *self.outcome.verdict.stale][:1]:
            self.outcome.logs = f"{key!r} holds\n{stored[key]}\nand should hold\n{wanted[key]}"
        self.outcome.end = self.outcome.end or "all acknowledged and applied"

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _plain_job(self, rows: str, what: str) -> None:
        """A job without faults, as fast as it can."""
        pending, self._pending = self._pending, []
        error = self._job(rows, what.replace(" ", "-"), 0)
        self._pending = pending
        if error is not None:
            self.outcome.problems.append(f"{what} failed, and nothing was in its way: {_shortened(error)}")

    def _job(self, rows: str, label: str, seconds: float) -> str | None:
        """Run a job, with the faults that are still to come. Returns its error as the user sees it, or None; None too
        where the driver was killed, and then `_killed` is set."""
        scenario, self._notes = self.scenario, self._folder / f"notes-{label}"
        Pace(
            self._notes.name,
            seconds * TASKS_AT_A_TIME / scenario.documents.count,
            scenario.slow_partition if seconds else None,
            8.0,
        ).save(self._folder)
        answer = self._folder / f"answer-{label}.json"
        driver = self._sparks.driver(scenario.where)
        driver.begin(
            {
                "rows": str(self._folder / rows),
                "name": self.name,
                "door": scenario.door,
                "answer": str(answer),
                "options": self._options(),
            }
        )
        end = time.monotonic() + self._seconds
        firing: list[Future[None]] = []
        with ThreadPoolExecutor(8, thread_name_prefix="chaos") as threads:
            while not answer.exists():
                self._fire_due(answer, threads, firing)
                if self._killed is driver:
                    break
                if not driver.is_running:
                    raise DriverDiedError(driver.last_words())
                if time.monotonic() > end:
                    raise HungError(f"the job '{label}' did not end in {self._seconds:g} s")
                time.sleep(0.02)
        for one in firing:
            one.result()
        for kind, times in self._place.proxy.disarm().items():
            self.outcome.hits[kind] += min(times, 1) if kind == "stall" else times
        self._judge_victims()
        if self._killed is driver:
            return None
        error: str | None = json.loads(answer.read_text(encoding="utf-8"))["error"]
        return error

    def _options(self) -> dict[str, str]:
        port = str(self._place.proxy.port)
        return {
            **self.scenario.options,
            "encoder": f"tests.chaos.encoder:{self.name}",
            "url": f"http://127.0.0.1:{port}",
            "grpc_port": port,
            "report_path": str(self._folder / "report.json"),
        }

    # --- faults -------------------------------------------------------------------------------------------------------

    def _actions(self) -> dict[str, Callable[[Fault], bool]]:
        """What each kind does; False: there was nothing to hit, try again soon. May take its time."""
        return {
            "worker": self._kill_worker,
            "executor": self._kill_executor,
            "driver": self._kill_driver,
            "server": self._kill_server,
            "outage": self._kill_server,
            "reply": lambda fault: self._arm("reply"),
            "cut": lambda fault: self._arm("cut"),
            "stall": self._stall,
        }

    def _fire_due(self, answer: Path, threads: ThreadPoolExecutor, firing: list[Future[None]]) -> None:
        """Fire the faults whose moment has come, those that take long in threads."""
        if not self._pending:
            return
        share = sum(note.texts for note in notes(self._notes)) / self.scenario.documents.count
        for fault in [fault for fault in self._pending if share > 0 and fault.at <= share]:
            action = self._actions()[fault.kind]
            if answer.exists():
                return
            if fault.kind in ("server", "outage", "stall"):
                if not self._place.proxy.connections:
                    continue  # no task to hit, right now
                self._pending.remove(fault)
                firing.append(threads.submit(_do, action, fault))
            elif action(fault):
                self._pending.remove(fault)

    def _running(self) -> list[Note]:
        """The last windows of those live processes that have begun one most recently, as many as there are tasks at a
        time; without those that may be at the end of their rows, which shows in a window that is not full."""
        alive, seen, latest = self._sparks.processes(self.scenario.where), notes(self._notes), dict[int, Note]()
        for note in reversed(seen):
            if note.pid in alive and len(latest) < TASKS_AT_A_TIME:
                latest.setdefault(note.pid, note)
        full = {note.partition: note.texts for note in sorted(seen, key=lambda note: note.texts)}
        return sorted(
            (note for note in latest.values() if note.texts == full[note.partition]), key=lambda note: note.pid
        )

    def _kill_worker(self, fault: Fault) -> bool:
        running = self._running()
        if not running:
            return False
        victim = running[int(fault.choice * len(running))]
        if processes.kill(victim.pid):
            self._victims.append(_Victims("worker", frozenset({(victim.partition, victim.attempt)})))
        return True

    def _kill_executor(self, fault: Fault) -> bool:
        among = self._sparks.processes("cluster")
        of = {note: processes.ancestor(note.pid, EXECUTOR_JVM, among) for note in self._running()}
        executors = sorted({executor for executor in of.values() if executor is not None})
        if not executors:
            return False
        chosen = executors[int(fault.choice * len(executors))]
        if processes.kill(chosen):
            attempts = {(note.partition, note.attempt) for note, executor in of.items() if executor == chosen}
            self._victims.append(_Victims("executor", frozenset(attempts)))
        return True

    def _kill_driver(self, fault: Fault) -> bool:
        """Its JVM and its Python in either order; sometimes also the parent of its workers, which then write on until
        they notice."""
        driver = self._sparks.driver(self.scenario.where)
        found = driver.processes()
        chosen = [pid for pid, process in found.items() if DRIVER_JVM in process.command] + [driver.pid]
        if fault.choice < 0.5:
            chosen = [
                pid
                for pid, one in found.items()
                if DAEMON in one.command and DAEMON not in found.get(one.parent, one).command
            ] + chosen
        for pid in chosen if int(fault.choice * 100) % 2 else reversed(chosen):
            processes.kill(pid)
        self._killed = self._sparks.forget(self.scenario.where)
        self.outcome.hits["driver"] += 1
        return True

    def _kill_server(self, fault: Fault) -> bool:
        self.outcome.hits[fault.kind] += self._place.proxy.connections > 0
        self._place.be_gone(fault.seconds if fault.kind == "server" else None)
        return True

    def _stall(self, fault: Fault) -> bool:
        self._place.proxy.stall(fault.seconds)
        return True

    def _arm(self, kind: str) -> bool:
        self._place.proxy.arm(kind)
        return True

    # --- what became of them ------------------------------------------------------------------------------------------

    def _judge_victims(self) -> None:
        """A kill has hit where Spark had to begin the task again."""
        seen = notes(self._notes)
        last = {note.partition: note.attempt for note in sorted(seen, key=lambda note: note.attempt)}
        killed = self._killed is not None
        for victims in self._victims:
            again = any(last.get(partition, 0) > attempt for partition, attempt in victims.attempts)
            self.outcome.hits[victims.kind] += again or killed
        if "twin" in self.scenario.kinds:  # nothing else begins a task again whose worker and executor live
            ended = {partition for victims in self._victims for partition, _ in victims.attempts}
            self.outcome.hits["twin"] += any(
                attempt > 0 and partition not in ended for partition, attempt in last.items()
            )
        self._victims.clear()

    def _count_hits(self) -> None:
        """Compare with what was planned."""
        outcome = self.outcome
        for status, times in self._place.played().items():
            outcome.hits["refusal" if status == "no_space" else f"status {status}"] += times
        planned = Counter(
            fault.kind for fault in self.scenario.faults if fault.kind not in ("statuses", "limit", "refusal")
        )
        if "limit" in self.scenario.kinds:
            with suppress(FileNotFoundError):
                outcome.hits["limit"] += self._report()["retries"] > 0
            planned["limit"] = 1
        if "refusal" in self.scenario.kinds:
            planned["refusal"] = 1
        outcome.missed = Counter(
            {kind: times - outcome.hits[kind] for kind, times in planned.items() if times > outcome.hits[kind]}
        )
        outcome.hits = +outcome.hits

    def _expect(self, verdict: Verdict, when: str) -> None:
        if not verdict.is_clean:
            self.outcome.problems.append(f"{when} left {verdict}")

    def _check_error(self, error: str) -> None:
        """One line of ours, where there had to be an error."""
        line = our_line(error)
        if line is None:
            self.outcome.problems.append(
                f"the error has no line of this package, or more than one: {_shortened(error)}"
            )
        if not self.scenario.must_fail:
            self.outcome.problems.append(f"the job failed, though every fault healed: {line or _shortened(error)}")
        told = self._report()["error"]
        if not told or "\n" in told:
            self.outcome.problems.append(f"the report's error is not one line: {told!r}")

    def _check_report(self) -> None:
        """Of the last job, which ended well: each row is in it once, whatever was tried again."""
        report, rows = self._report(), self.scenario.documents.count
        if report["error"] is not None or report["rows"] != rows or report["written"] + report["superseded"] != rows:
            told = {name: report[name] for name in ("rows", "written", "superseded", "error")}
            self.outcome.problems.append(f"the report of {rows} rows is wrong: {told}")

    def _report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._folder / "report.json").read_text(encoding="utf-8"))
        return found


def our_line(error: str) -> str | None:
    """The message of this package in an error as Spark shows it; None where there is none, or it goes over several
    lines."""
    found = list(re.finditer(r"^(?:.*: )?spark_vector_sink\.errors\.\w+: (.+)$", error, re.MULTILINE))
    if not found:
        return error if error and "\n" not in error else None  # raised on the driver: the error is the line
    following = error[found[-1].end() :]
    return found[-1][1] if re.match(r"\n?\Z|\n\s*\n|\n\s+at ", following) else None


def _do(action: Callable[[Fault], bool], fault: Fault) -> None:
    action(fault)


def _shortened(text: str) -> str:
    return text.strip().replace("\n", " | ")[:400]
