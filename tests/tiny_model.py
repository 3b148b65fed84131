"""A whole Sentence Transformers model of 240 kB, built without a network in a fraction of a second.

Two BERT layers of width 32, at most 64 tokens, mean pooling, normalised; prompts for "query" and "document". It has a
real tokeniser and real padding and truncation, so it stands for any model where behaviour is tested. Every build gives
the same bytes: the vocabulary is counted, because a trained one differs from run to run.

    python -m tests.tiny_model FOLDER
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DIMENSION = 32
MAX_TOKENS = 64
PROMPTS = {"query": "query: ", "document": ""}
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

CORPUS = """
A vector database stores points, and each point has a vector and a payload. A search asks for the points whose vectors are nearest
to the vector of a question. A query: which document is about this? The document is one row of a table, and its key is the id of
the row. The sink reads the rows of a partition, encodes the text of each row, and writes the vector to a collection. The same key
gives the same point again, so a job that runs twice writes nothing twice. A task that fails is tried again by the driver, and a
worker process that dies is replaced by another one. The model reads tokens, the tokenizer makes them from words, and a long text
is cut where the model ends. Batches of short texts and batches of long texts take different time, so a window is sorted by length.
The store answers when all points have been applied. The report says how many rows were read, written, rejected and truncated.
The quick brown fox jumps over the lazy dog. Cats sleep in the sun, dogs run after a ball, birds sing in the morning, fish swim in
the river. Bread, butter, cheese, apples, coffee and tea are on the table in the kitchen. Rain falls, snow melts, wind blows, and
summer comes after spring. Read a file, open a door, close a window, start an engine, stop a train, send a letter, pay a bill.
Red, green, blue, black and white are colours; one, two, three, four, five, six, seven, eight, nine and ten are numbers.
Python, Java, Scala and Rust are languages for programs. A cluster has machines, a machine has cores, a core runs one thread.
"""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return build(tmp_path_factory.mktemp("models") / "tiny")


def build(folder: Path) -> Path:
    """Write the model into `folder`, which must not exist yet, and return it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    scratch = folder.with_name(f"{folder.name}-scratch")
    tokenizer = wordpiece()
    special = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, **special).save_pretrained(
        str(scratch)
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * DIMENSION,
        max_position_embeddings=MAX_TOKENS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(str(scratch))
    modules = [Transformer(str(scratch)), Pooling(DIMENSION, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu", prompts=PROMPTS).save_pretrained(
        str(folder), create_model_card=False
    )
    shutil.rmtree(scratch)
    return folder


def wordpiece(special: Sequence[str] = SPECIAL_TOKENS, begin: str = "[CLS]", end: str = "[SEP]") -> Tokenizer:
    """WordPiece over the words of CORPUS and every printable character, so that any ASCII text has tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    counted = Counter(re.findall(r"[a-z]{2,}", CORPUS.lower()))
    words = sorted(counted, key=lambda word: (-counted[word], word))
    vocabulary = [*special, *characters, *(f"##{character}" for character in characters), *words]
    tokenizer = Tokenizer(
        models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, special.index(token)) for token in (begin, end)],
    )
    return tokenizer


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
