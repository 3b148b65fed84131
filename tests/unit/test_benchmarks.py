"""The benchmarks' own arithmetic: sections of RESULTS.md, medians and ratios, interleaving, and arms that are what the
results call them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import common, embedded, fake_encoder, lines, plot, points, recall, stall, texts, work, write
from benchmarks.__main__ import command, parser
from benchmarks.child import Child, ChildError
from benchmarks.common import RESULTS, ROOT, Line, Section, Settings, Spread, interleaved, ratios, with_section
from benchmarks.store import Server


def test_a_part_replaces_its_own_section_and_nothing_else() -> None:
    """A second run of a part leaves the head, other sections and what people wrote between them as they were."""
    first = with_section(with_section("", "patterns", "old numbers"), "memory", "flat")
    first = first.replace("<!-- memory -->", "A remark by hand.\n\n<!-- memory -->")
    again = with_section(first, "patterns", "new numbers")
    assert again == first.replace("old numbers", "new numbers")


def test_a_section_is_taken_literally() -> None:
    r"""Backslashes and group references in numbers or commands are text, not instructions to a regular expression."""
    once = with_section("", "cold", "x")
    assert r"\1 \g<0>" in with_section(once, "cold", r"\1 \g<0>")


def test_sections_come_in_the_order_of_the_parts_whatever_ran_first() -> None:
    """A reader finds the sections in the same order on every machine."""
    text = ""
    for part in ("gpu", "patterns", "cold", "memory"):
        text = with_section(text, part, f"section of {part}")
    assert re.findall(r"section of (\w+)", text) == ["patterns", "memory", "cold", "gpu"]
    assert text.startswith("# Results")


def test_a_section_is_written_to_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    """The first run makes RESULTS.md."""
    common.write_section(tmp_path / "RESULTS.md", "recall", "0.99")
    assert "0.99" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


def test_a_section_names_command_machine_and_missed_targets() -> None:
    """What was missed is said where the number stands."""
    lines = [
        common.at_least("a over b", 2.0, Spread(1.5, 1.0, 1.9)),
        common.at_most("share", 5.0, Spread(4.0, 3.0, 5.0), " %"),
    ]
    text = Section("Title", lines, ["A note."]).to_markdown("python -m benchmarks cold", common.machine())
    assert "| a over b | ≥ 2× | 1.50× (1.00–1.90) **missed** |" in text
    assert "| share | ≤ 5 % | 4.00 % (3.00–5.00) |\n" in text
    assert "`python -m benchmarks cold`" in text
    assert "Python" in text
    assert text.endswith("A note.")


def test_a_line_without_a_target_is_never_missed() -> None:
    assert "missed" not in str(Line("what", "", "1"))


def test_the_median_and_the_range() -> None:
    """Of an even count, the mean of the two in the middle."""
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of(iter([1.0, 2.0, 4.0, 9.0])).median == 3.0


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is three times as slow in one round changes no ratio."""
    assert ratios([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == Spread(2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def test_rates_are_rows_for_each_second() -> None:
    assert common.rates(100, [2.0, 4.0, 5.0]) == Spread(25.0, 20.0, 50.0)


def test_arms_run_interleaved_there_and_back_again() -> None:
    """Each round runs every arm once, and no arm has the same neighbour before it in every round."""
    order: list[str] = []

    def arm(name: str) -> float:
        order.append(name)
        return float(len(order))

    measured = interleaved({name: lambda name=name: arm(name) for name in "abc"}, 2)  # type: ignore[misc]
    assert order == [*"abc", *"cba"]
    assert measured == {"a": [1.0, 6.0], "b": [2.0, 5.0], "c": [3.0, 4.0]}


def test_the_fake_encoder_is_the_same_in_every_process() -> None:
    """Its vectors depend on the text alone."""
    made = fake_encoder.factory().encode(["one", "two", "one"])
    script = "from benchmarks import fake_encoder; print(fake_encoder.factory().encode(['two'])[0].tobytes().hex())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert made.shape == (3, fake_encoder.factory().dimension)
    assert made.dtype == np.float32
    assert made[1].tobytes().hex() == elsewhere
    assert (made[0] == made[2]).all()
    assert not (made[0] == made[1]).any()
    assert made.all()


def test_a_sample_is_the_same_each_time_and_holds_no_text_twice(tmp_path: Path) -> None:
    """Rounds, parts and machines measure the same texts."""
    settings = Settings(scratch=tmp_path)
    first = texts.sample(settings, 50)
    assert first == texts.sample(settings, 50)
    assert len(set(first)) == 50


def test_recall_leaves_the_query_itself_out() -> None:
    """Else every query would find one text for nothing."""
    circle = np.array([[np.cos(a), np.sin(a)] for a in (0.0, 0.1, 0.3, 3.0)], np.float32)
    found = recall.nearest(circle, np.array([0, 3]), count=2)
    assert found.tolist() == [[1, 2], [2, 1]]
    assert recall.recall(found, np.array([[1, 3], [1, 2]])) == 0.75


def test_the_command_in_a_section_has_no_path_of_the_machine(tmp_path: Path) -> None:
    """What was given is repeated, of files the name alone, and where the results went is nobody's business."""
    given = [
        "cold",
        "--corpus",
        str(tmp_path / "texts.parquet"),
        "--rows",
        "7",
        "--small",
        "--memory-rows",
        "1_0,20",
        "--results",
        str(tmp_path),
    ]
    said = command(parser().parse_args(given), "cold")
    assert said == "python -m benchmarks cold --corpus texts.parquet --rows 7 --memory-rows 10,20 --small"


def test_a_child_answers_again_and_again() -> None:
    """It prepares once; what libraries print does not get between the answers."""
    with Child("tests.unit.test_benchmarks:counting", start=5) as child:
        child.wait()
        assert [child.ask(step=2)["count"], child.ask(step=10)["count"]] == [7, 17]


def test_a_child_that_dies_is_an_error() -> None:
    """And not a wait without end."""
    with (
        Child("tests.unit.test_benchmarks:no_such_function") as child,
        pytest.raises(ChildError, match="no_such_function ended with code 1"),
    ):
        child.ask()


def counting(start: int) -> Callable[[int], dict[str, int]]:
    """For the test of `Child`."""
    count = start

    def run(step: int) -> dict[str, int]:
        nonlocal count
        print("something a library says")
        count += step
        return {"count": count}

    return run


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_arm_in_the_results_has_a_function(dtype: str, tmp_path: Path) -> None:
    """The tables of `patterns`, on a machine with and without bfloat16, name every arm that runs and no other."""
    patterns = _patterns()
    known = patterns.functions(patterns.Bench(*[None] * 7, dtype, {}), {})
    section = patterns.section({name: [1.0, 2.0] for name in known}, 10, dtype, Settings(scratch=tmp_path), "a store")
    assert _arms(section.to_markdown("command", "machine")) == set(known)
    assert {*patterns.arms.ARMS, *patterns.TARGETS, *patterns.SAME_DTYPE_TARGETS} <= known.keys()


SOURCE = '''
class Held:
    def writer(self):
        return lambda text: written(text)

def unused():
    return 1

def written(x):
    """Documentation.

    Of three lines.
    """
    # a comment

    return x  # two lines

def arm(held):
    """Documentation."""
    text = """a line

and two more"""
    @decorated
    def inner():
        """Documentation."""
        return held.writer()(text) + written(text)
    return inner
'''


def test_lines_of_code_are_those_that_one_writes() -> None:
    """Without blank ones, comments and documentation; with the functions that are used, also by way of a method, each
    of them once."""
    assert {name: lines.lines_of(SOURCE, name) for name in ("unused", "written", "arm")} == {
        "unused": 2,
        "written": 2,
        "arm": 8 + 2,
    }


@pytest.mark.skipif(not RESULTS.exists(), reason="nothing has been measured yet")
def test_the_arms_in_the_written_results_still_exist() -> None:
    """An arm that is renamed or dropped is measured again."""
    patterns = _patterns()
    first, last = common.marks("patterns")
    written = RESULTS.read_text(encoding="utf-8").partition(first)[2].partition(last)[0]
    assert _arms(written) <= set(patterns.functions(patterns.Bench(*[None] * 7, "bfloat16", {}), {}))


def test_points_are_the_same_in_every_process_and_each_batch_has_its_own() -> None:
    """All arms write the same rows, each child process having made them for itself."""
    first, again = list(points.made(10_010, 3)), list(points.made(10_010, 3))
    assert [len(each) for each in first] == [10_000, 10]
    assert [each.rows() for each in first] == [each.rows() for each in again]
    assert first[0].rows().schema == points.SCHEMA
    assert len({*first[0].ids, *first[1].ids}) == 10_010
    assert set(map(len, first[0].payload.column("text").to_pylist())) == {points.TEXT}


def test_repeated_points_have_new_ids_and_memory_of_their_own() -> None:
    """A long partition is made of a few rows, and still every row of it is a point."""
    (known,) = points.made(4, 3)
    found = list(points.repeated(known, 10))
    assert [len(each) for each in found] == [4, 4, 2]
    assert len({id for each in found for id in each.ids}) == 10
    assert found[2].rows().drop_columns("id") == known.rows().drop_columns("id").slice(0, 2)
    assert not np.shares_memory(found[0].vectors, known.vectors)


def test_the_sections_about_writing_name_every_arm_and_what_it_missed() -> None:
    """Gains are of the same round; a quick sink that takes half of the baseline's CPU misses that target alone."""
    slow, quick = write.Answer(4.0, 2.0), write.Answer(1.0, 1.0)
    answers = {write.SINK: [quick], write.DEFAULT: [quick], write.UPSERT: [slow], write.UPLOAD: [slow]}
    found = write.section(answers, 100, "a store")
    assert [line.met for line in found.lines] == [True, True, False]
    assert set(re.findall(r"^\| `(.+?)` \|", "\n".join(found.notes), re.MULTILINE)) == set(answers)
    rates = {embedded.SINK: [100.0], embedded.PATH: [10.0], embedded.MEMORY: [50.0]}
    assert [line.met for line in embedded.section(rates, dict.fromkeys(rates, 7)).lines] == [False, True]


def test_a_stall_is_judged_by_the_peak_before_it() -> None:
    """Memory that grows while nothing can be sent is a target that was missed, also where it goes back later."""
    found = stall.section([stall.Course(100.0, 106.0, 104.0, 3)], 10, 60.0, "a store")
    assert [line.met for line in found.lines] == [None, False, True]


def test_a_stopped_process_stands_still_and_goes_on() -> None:
    """It answers nothing meanwhile, its memory can still be looked at, and it loses nothing."""
    with Child("tests.unit.test_benchmarks:counting", start=0) as child:
        child.wait()
        with stall.stopped(Server("", 0, "", child.pid)):
            child.begin(step=3)
            assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
            assert work.resident_bytes(child.pid) > 2**20
        assert child.result()["count"] == 3


def test_cpu_time_is_that_of_a_process_and_of_those_below_it() -> None:
    """Spark's Python workers are children of its JVM."""
    if work.cpu_seconds(os.getpid()) is None:
        pytest.skip("the system does not tell the CPU time of other processes")
    script = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(20_000_000)); "
        "print(flush=True); input()'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert (work.cpu_seconds(process.pid) or 0) > 0.1
        process.communicate("\n")
    assert work.cpu_seconds(None) is None


def test_without_the_connectors_jar_its_arms_are_left_out_and_it_is_said() -> None:
    """The sink's own rate is told all the same, and nothing counts as missed."""
    pytest.importorskip("pyspark")
    from benchmarks import spark_write

    found = spark_write.section(
        {spark_write.SINK: [2.0]}, {spark_write.SINK: [spark_write.Cpu(1.0, None)]}, 100, "somewhere"
    )
    assert "| `sink` | 50 (50–50) | 10,000 (10,000–10,000) | unknown |" in found.notes[0]
    assert [line.met for line in found.lines] == [None, None]
    assert all(spark_write.JAR in line.measured for line in found.lines)


def test_the_first_run_of_the_whole_corpus_is_extrapolated_without_counting_its_start_twice() -> None:
    """And it is called so; the target is that of the whole corpus."""
    pytest.importorskip("pyspark")
    from benchmarks import rerun

    small = rerun.Measured(1_000, (20.0, 10.0), [2.0], [1.0])
    found = rerun.section(small, rerun.Measured(19_000, None, [4.0, 5.0, 1.0], [1.0]), "a store")
    assert [line.met for line in found.lines] == [None, True]
    assert "50.00× (40.00–200.00)" in found.lines[1].measured
    assert "| 19,000 | 200 s, extrapolated | 4.00 s (1.00–5.00) | 1.00 s (1.00–1.00) |" in found.notes[0]
    assert "10.0 s besides encoding, and 100 rows/s" in found.notes[1]
    assert [line.met for line in rerun.section(small, None, "a store").lines] == [None]


def _patterns() -> Any:
    pytest.importorskip("pyspark")
    pytest.importorskip("pandas")
    from benchmarks import patterns

    return patterns


def _arms(section: str) -> set[str]:
    """The names in the first column of the section's tables."""
    names: set[str] = set()
    for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE):
        names |= set(re.findall(r"`([^`]+)`", row))
    return names


def test_the_plot_shows_the_written_results() -> None:
    """`python -m benchmarks.plot` draws it again."""
    assert plot.PLOT.read_text(encoding="utf-8") == plot.drawn(RESULTS.read_text(encoding="utf-8"))


def test_the_plot_leaves_out_no_hand_written_way() -> None:
    """The best of them least of all."""
    assert set(_patterns().arms.ARMS) <= set(plot.PANELS[0].arms)


def test_an_arm_that_was_not_measured_is_not_drawn() -> None:
    """It is an error, and no bar of length 0."""
    with pytest.raises(KeyError, match="sink"):
        plot.drawn("nothing was measured")
