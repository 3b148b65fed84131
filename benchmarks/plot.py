"""RESULTS.md → docs/images/benchmark.svg, the plot in the README: `python -m benchmarks.plot`.

Drawn from the tables as they stand, so that the picture cannot say what was not measured. Its colours follow the
reader's light or dark mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from benchmarks.common import RESULTS, ROOT, marks

PLOT = ROOT / "docs" / "images" / "benchmark.svg"

WIDTH, LABELS, BARS, ROW, TITLE = 760, 250, 400, 22, 44
"""Sizes in pixels: of the picture, of the column of labels, of the longest bar; of a bar's row, of a panel's title."""

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600 } .label { text-anchor: end }
    .ours { fill: #1a7f64 } .theirs { fill: #9aa4af }
    @media (prefers-color-scheme: dark) {
      text { fill: #d5dbe1 } .ours { fill: #3fb68b } .theirs { fill: #5b6672 }
    }"""


@dataclass(frozen=True)
class Panel:
    """Bars of one section. arms: which of its table, in this order, by the names that the plot gives them."""

    section: str
    title: str
    arms: dict[str, str]


PANELS = (
    Panel(
        "patterns",
        "Texts encoded and stored, rows/s",
        {
            "sink": "spark_vector_sink, default options",
            "whole partition, bfloat16": "a whole partition at once, bfloat16",
            "sink, float32": "spark_vector_sink, float32",
            "whole partition": "a whole partition at once",
            "pandas UDF": "pandas UDF, broadcast model",
            "RDD broadcast": "RDD broadcast",
            "mapPartitions": "mapPartitions + islice",
            "mapPartitionsWithIndex": "a model for each partition",
            "predict_batch_udf": "predict_batch_udf",
        },
    ),
    Panel(
        "spark_write",
        "Ready-made vectors from Spark, points/s",
        {
            "sink": "spark_vector_sink",
            "qdrant-spark, batch_size 256": "qdrant-spark, batches of 256",
            "qdrant-spark": "qdrant-spark",
        },
    ),
    Panel(
        "write",
        "Ready-made vectors from one Python process, points/s",
        {
            "sink, default options": "spark_vector_sink",
            "upload_collection": "qdrant-client, upload_collection",
            "upsert": "qdrant-client, upsert",
        },
    ),
)


def main() -> None:
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    PLOT.write_text(drawn(RESULTS.read_text(encoding="utf-8")), encoding="utf-8")


def drawn(results: str) -> str:
    """The picture of these results. Raises KeyError where a section or an arm is not among them."""
    parts: list[str] = []
    top = 0
    for panel in PANELS:
        medians = _medians(results, panel.section)
        longest = max(medians[arm] for arm in panel.arms)
        parts.append(f'  <text class="title" x="{LABELS + 8}" y="{top + TITLE - 14}">{escape(panel.title)}</text>')
        top += TITLE
        for arm, name in panel.arms.items():
            length = round(BARS * medians[arm] / longest, 1)
            kind = "ours" if arm.startswith("sink") else "theirs"
            parts.append(f'  <text class="label" x="{LABELS}" y="{top + 13}">{escape(name)}</text>')
            parts.append(
                f'  <rect class="{kind}" x="{LABELS + 8}" y="{top + 1}" width="{length}" height="{ROW - 6}" rx="2"/>'
            )
            parts.append(f'  <text x="{LABELS + 16 + length}" y="{top + 13}">{_number(medians[arm])}</text>')
            top += ROW
    height = top + 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img">'
    )
    title = "  <title>Rows and points each second, medians of benchmarks/RESULTS.md; longer is better</title>"
    return "\n".join([head, title, f"  <style>{STYLE}\n  </style>", *parts, "</svg>", ""])


def _medians(results: str, section: str) -> dict[str, float]:
    """Arm → median, from the section's table of arms, whose second column it is."""
    first, last = marks(section)
    text = results.partition(first)[2].partition(last)[0]
    found = re.findall(r"^\| `([^`]+)` \| ([\d,.]+) \(", text, re.MULTILINE)
    return {arm: float(number.replace(",", "")) for arm, number in found}


def _number(value: float) -> str:
    return f"{value:,.0f}"


if __name__ == "__main__":
    main()
