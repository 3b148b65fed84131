"""Local paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spark_vector_sink import files


def test_home_directories() -> None:
    """`~` is one's own, and that of nobody stays as it is, to be missed by whoever looks."""
    assert files.local("~/x") == Path.home() / "x"
    assert files.local("~nobody_of_that_name/x") == Path("~nobody_of_that_name/x")
    assert files.local("x") == Path("x")


def test_what_cannot_be_looked_at_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as what lies behind a directory that only executors may enter."""
    (tmp_path / "file").touch()
    assert (files.is_file(tmp_path / "file"), files.is_folder(tmp_path)) == (True, True)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "stat", denied)
    assert (files.is_file(tmp_path / "file"), files.is_file(Path("\0"))) == (False, False)
    assert not files.is_folder(Path("\0"))
