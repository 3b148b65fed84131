"""Processes of their own, as Spark's Python workers are: `module:function` prepares, and what it returns runs each time
it is asked.

    with Child("benchmarks.work:bare", model=…, texts=…) as child:
        child.wait()            # it has imported, loaded and warmed up
        answer = child.ask()    # a dictionary

One thread each, as Spark gives it to a Python worker (OMP_NUM_THREADS), unless `threads` says otherwise.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.common import ROOT


class ChildError(Exception):
    """A child ended before it answered; its own words are on stderr."""


class Child:
    """A fresh Python process. Values travel as JSON."""

    def __init__(self, target: str, *, threads: int = 1, **arguments: Any) -> None:
        self.target = target
        env = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false" if threads == 1 else "true",
        }
        command = [sys.executable, "-m", "benchmarks.child", target, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._is_ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Return when the child has prepared itself."""
        if not self._is_ready:
            self._read()
            self._is_ready = True

    def begin(self, **arguments: Any) -> None:
        """Let it run; also before it is ready, and then it runs as soon as it is."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What the run has returned, when it has."""
        self.wait()
        return self._read()

    def ask(self, **arguments: Any) -> dict[str, Any]:
        self.begin(**arguments)
        return self.result()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(
                f"{self.target} ended with code {self._process.wait()} before it answered; its last words are above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """The child's side. What libraries print goes to stderr, so that answers stay alone on stdout."""
    target, arguments = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = target.partition(":")
    run = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
