"""Whether a part of a Spark cluster can do its work, asked of its own web page: python healthy.py PORT

A master can when it leads, a worker when a master has taken it in. Ends with 0, or with 1 and what is missing.
"""

from __future__ import annotations

import json
import sys
from urllib.request import urlopen


def main() -> None:
    with urlopen(f"http://127.0.0.1:{sys.argv[1]}/json/", timeout=3) as reply:
        told = json.load(reply)
    # the page of a master has `status`; that of a worker has the address of its master's page, which is empty until it
    # is registered
    if told.get("status") != "ALIVE" and not told.get("masterwebuiurl"):
        raise SystemExit(f"not ready: {told}")


if __name__ == "__main__":
    main()
