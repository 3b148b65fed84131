"""Files on any filesystem that Arrow knows, written whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spark_vector_sink import files


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}"])
def test_a_file_is_there_when_all_of_it_is(tmp_path: Path, form: str) -> None:
    """It takes the place of the one before, and nothing is left beside it."""
    for content in (b"one", b"two"):
        files.write_whole(form.format(tmp_path / "report.json"), content)
        assert (tmp_path / "report.json").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_link_and_what_is_no_plain_file_stay_what_they_are(tmp_path: Path) -> None:
    """They are written to: a device that was replaced would be gone for all."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "report.json")
    files.write_whole(str(tmp_path / "link"), b"one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "report.json").read_bytes() == b"one"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_whole(str(tmp_path / "pipe"), b"two")
    assert os.read(reader, 10) == b"two"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
