"""What bfloat16 costs: how many of the ten nearest texts in float32 are among the ten nearest in bfloat16, by exact
search."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from benchmarks import encoding, texts
from benchmarks.common import Line, Section, Settings, cores

ROWS, QUERIES, NEAREST = 10_000, 500, 10
TARGET = 0.99

Matrix = npt.NDArray[np.float32]


def run(settings: Settings) -> Section:
    known = texts.sample(settings, settings.rows or ROWS)
    model, threads = settings.model_folder(), min(settings.cores, cores())
    exact = encoding.vectors(encoding.load(model, dtype="float32", threads=threads), known)
    rounded = encoding.vectors(encoding.load(model, dtype="bfloat16", threads=threads), known)
    queries = np.array(random.Random(texts.SEED).sample(range(len(known)), min(QUERIES, len(known))))
    found = recall(nearest(exact, queries), nearest(rounded, queries))
    cosine = np.einsum("ij,ij->i", exact, rounded) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    lines = [
        Line(f"recall@{NEAREST} of bfloat16 against float32", f"≥ {TARGET}", f"{found:.4f}", found >= TARGET),
        Line(
            "cosine between the two vectors of a text, mean and least", "", f"{cosine.mean():.5f}, {cosine.min():.5f}"
        ),
    ]
    note = (
        f"{len(known):,} {texts.source(settings)}, all different; {len(queries)} of them, drawn at random, are the "
        "queries, in the same arithmetic as "
        "the texts that they search, and do not find themselves."
    )
    return Section("Recall of bfloat16", lines, [note])


def nearest(vectors: Matrix, queries: npt.NDArray[np.int64], count: int = NEAREST) -> npt.NDArray[np.int64]:
    """Rows of the `count` vectors nearest to each of the rows `queries` by cosine, without itself: int64, shape
    (queries, count)."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit[queries] @ unit.T
    scores[np.arange(len(queries)), queries] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def recall(truth: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> float:
    """The share of `truth` that is in `found`, row by row."""
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(truth.tolist(), found.tolist(), strict=True)]))
