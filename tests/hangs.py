"""How long a test waits for what should end by itself."""

from __future__ import annotations

HANGS_AFTER_SECONDS = 300.0
"""A real server on a busy machine, with two more beside it, has taken minutes for what takes a second: only what hangs
is ended by this."""
