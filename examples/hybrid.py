"""Hybrid search: a dense vector for the meaning of a text and a sparse one for its exact words, both made in one pass.

For texts with names, numbers and codes, which dense models blur. The sparse model here is made from the texts
themselves: the rarer a token, the more it weighs (inverse document frequency), so it needs neither a network nor
training. With a network, a trained model also finds related words: `--sparse-model
naver/splade-cocondenser-ensembledistil`.

    python examples/hybrid.py [FOLDER] [--sparse-model NAME]        (./demo/hybrid)
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import docstrings
from common import MODEL, check, new_folder, start_spark

import spark_vector_sink
from spark_vector_sink.spark import write

MODULES = ("http.client", "ipaddress", "selectors", "socket", "ssl")
IDENTIFIER = "inet_ntoa"
QUESTIONS = (IDENTIFIER, "wait until one of several connections has data")


def make_sparse_model(folder: Path, texts: Sequence[str]) -> str:
    """A folder that Sentence Transformers loads as a sparse encoder: the tokens of the dense model, and a weight for
    each."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    texts_with = Counter(
        token
        for ids in tokenizer(list(texts), add_special_tokens=False, truncation=True)["input_ids"]
        for token in set(ids)
    )
    weights = [math.log(1 + len(texts) / (texts_with[token] or 0.5)) for token in range(len(tokenizer))]
    static = SparseStaticEmbedding(tokenizer, weight=torch.tensor(weights), frozen=True)
    SparseEncoder(modules=[static], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Dense vectors alone, and dense and sparse ones together.")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--sparse-model", help="a SPLADE model of the hub; without it one is made from the texts")
    sparse_model = parser.parse_args().sparse_model
    folder = new_folder("hybrid")
    rows = [(row.module, row.name, row.text) for row in docstrings.rows() if row.module in MODULES]
    sparse_model = sparse_model or make_sparse_model(folder / "sparse_model", [text for _, _, text in rows])

    spark = start_spark()
    df = spark.createDataFrame(rows, "module string, name string, text string")
    stores = {"dense alone": str(folder / "dense"), "dense and sparse": str(folder / "hybrid")}
    for title, more in (("dense alone", {}), ("dense and sparse", {"sparse_model": sparse_model})):
        report = write(df, stores[title], id_column="module,name", model=MODEL, **more)
        print(f"{title}: {report.written} rows in {report.seconds:.1f} s")
    spark.stop()

    places = {}
    for question in QUESTIONS:
        print(f"\n{question}")
        for title, store in stores.items():
            # asks with both vectors where there are both, and fuses the ranks
            hits = spark_vector_sink.search(store, question, limit=len(rows))
            names = ", ".join(".".join(hit.key).rstrip(".") for hit in hits[:3])
            places[question, title] = next(
                place for place, hit in enumerate(hits, 1) if IDENTIFIER in hit.payload["text"]
            )
            print(f"  {title + ':':18} {names}")
    alone, together = (places[IDENTIFIER, title] for title in stores)
    check(
        together <= 3 < alone,
        f"the text with {IDENTIFIER!r} in it is at place {together}, with dense vectors alone at place {alone} "
        f"of {len(rows)}",
    )


if __name__ == "__main__":
    main()
