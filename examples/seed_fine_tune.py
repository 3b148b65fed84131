"""Train, then infer: TorchDistributor fine-tunes the encoder, `reembed()` moves the collection to it, and retrieval is
measured before and after.

For teams whose users ask in other words than their documents use. Here they ask for Python functions by the words of
their names; some pairs train the model, others measure it. The new vectors are a new version behind the same name:
`rollback(store)` goes back to the old model.

    predict_batch_udf   a function that loads the model, one that calls it, tensor shapes, and a column; the database is up to you
    embed(), reembed()  the name of a folder, or of a model on the hub

    python examples/seed_fine_tune.py [FOLDER]        (./demo/fine_tune)
"""

from __future__ import annotations

import random
import re

import docstrings
from common import MODEL, check, new_folder, start_spark
from pyspark.ml.torch.distributor import TorchDistributor

from spark_vector_sink import reembed, search
from spark_vector_sink.spark import write

PAIRS, DOCUMENTS, QUESTIONS = 320, 200, 100
RANKS, BATCH, RATE = 2, 16, 1e-4


def main() -> None:
    folder = new_folder("fine_tune")
    store, tuned = str(folder / "store"), str(folder / "tuned")
    asked = question_and_text()
    held_out, known = asked[:DOCUMENTS], asked[DOCUMENTS : DOCUMENTS + PAIRS]
    spark = start_spark()

    write(spark.createDataFrame(held_out, "question string, text string"), store, id_column="question", model=MODEL)
    before = retrieval("before", store, held_out[:QUESTIONS])
    # on a cluster: local_mode=False, use_gpu=True, a folder that all machines see, and pairs that each rank reads from
    # storage
    loss = TorchDistributor(num_processes=RANKS, local_mode=True, use_gpu=False).run(
        train, MODEL, tuned, known, BATCH, RATE
    )
    print(f"trained on {len(known)} pairs by {RANKS} processes, last loss {loss:.3f}")
    report = reembed(store, model=tuned)  # with spark=spark tasks of Spark do it; the alias switches when all is there
    print(f"{report.written} documents were encoded again, in {report.seconds:.1f} s")
    after = retrieval("after", store, held_out[:QUESTIONS])
    check(after > before, "the tuned model is better at documents that it has never seen")
    spark.stop()


def train(model: str, out: str, pairs: list[tuple[str, str]], batch: int, rate: float) -> float:
    """What each process runs, an ordinary PyTorch function: question and text of a pair come closer, those of different
    pairs part. Its last loss."""
    import torch
    import torch.distributed as dist
    from sentence_transformers import SentenceTransformer
    from torch.nn import functional as F  # noqa: N812
    from torch.nn.parallel import DistributedDataParallel

    torch.manual_seed(0)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")  # "nccl" on GPUs
    rank, ranks = dist.get_rank(), dist.get_world_size()
    encoder = SentenceTransformer(model, device="cpu").train()
    for name, weights in encoder.named_parameters():
        weights.requires_grad_(".pooler." not in name)  # the pooler has no part in the vectors
    # before Sentence Transformers 6
    tokens = encoder.preprocess if hasattr(encoder, "preprocess") else encoder.tokenize
    together = DistributedDataParallel(encoder)
    optimizer = torch.optim.AdamW([weights for weights in encoder.parameters() if weights.requires_grad], lr=rate)
    mine = pairs[rank::ranks][: len(pairs) // ranks // batch * batch]  # as many steps for each process
    for start in range(0, len(mine), batch):
        questions, texts = zip(*mine[start : start + batch], strict=True)
        vectors = F.normalize(together(tokens([*questions, *texts]))["sentence_embedding"], dim=-1)
        question, text = vectors.chunk(2)
        loss = F.cross_entropy(20 * question @ text.T, torch.arange(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if rank == 0:
        encoder.save(out)
    dist.barrier()
    dist.destroy_process_group()
    return loss.item()


def question_and_text() -> list[tuple[str, str]]:
    """A function's name in words, and the first line of its documentation; each question and each text once, in random
    order that is always the same."""
    texts: dict[str, str] = {}
    taken = set[str]()
    for row in docstrings.rows():
        question = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", row.name.rpartition(".")[2])).lower()
        text = row.text.splitlines()[0]
        if question and len(text) > 20 and question not in texts and text not in taken:
            texts[question] = text
            taken.add(text)
    return random.Random(0).sample(sorted(texts.items()), len(texts))


def retrieval(when: str, store: str, asked: list[tuple[str, str]]) -> float:
    """The mean over all questions of 1 / the rank of its document; beyond the tenth it counts 0."""
    found = [[hit.key for hit in search(store, question, limit=10)] for question, _ in asked]
    ranks = [
        keys.index(question) + 1 if question in keys else 0 for (question, _), keys in zip(asked, found, strict=True)
    ]
    mean = sum(1 / rank for rank in ranks if rank) / len(ranks)
    print(
        f"{when}: the right document is first for {ranks.count(1)} of {len(ranks)} questions; mean reciprocal "
        f"rank {mean:.3f}",
        flush=True,
    )
    return mean


if __name__ == "__main__":
    main()
