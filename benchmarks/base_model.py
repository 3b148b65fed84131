"""A Sentence Transformers model of the size that was asked for, built without a network: random weights, and a
tokeniser over the given texts.

Speed and memory of a model do not depend on its weights, so this stands for any BERT of its size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VOCABULARY = 30_522
MAX_TOKENS = 512
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


def build(folder: Path, texts: Sequence[str], small: bool = False) -> str:
    """Write the model, BERT base or a small one, into `folder` and return its path."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    scratch = folder.with_name(f"{folder.name}-scratch")
    special = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer(texts), model_max_length=MAX_TOKENS, **special).save_pretrained(
        str(scratch)
    )
    config = BertConfig(vocab_size=VOCABULARY, max_position_embeddings=MAX_TOKENS, **(SMALL if small else {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(str(scratch))
    modules = [Transformer(str(scratch)), Pooling(config.hidden_size, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return str(folder)


def tokenizer(texts: Sequence[str]) -> Any:
    """WordPiece over the most frequent words of the texts and their characters; at most 30,522 tokens, as BERT has."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    counted = Counter(word for text in texts for word in re.findall(r"[a-z]{2,}", text.lower()))
    vocabulary = [
        *SPECIAL,
        *characters,
        *(f"##{character}" for character in characters),
        *sorted(counted, key=lambda word: (-counted[word], word)),
    ]
    numbered = {token: number for number, token in enumerate(vocabulary[:VOCABULARY])}
    made = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return made
