"""The plan of a job: all that travels from the driver to tasks, and how people read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.errors import (
    RefusedError,
)
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.vectors import FLOAT32, UINT8, Wanted
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.collection_metadata import models_of

APPEND, OVERWRITE = "append", "overwrite"


@dataclass(frozen=True)
class Plan:
    """Everything a task needs, and everything that was found wrong. Pickled into each task; its repr shows no key."""

    options: SinkOptions
    columns: Columns
    encoder: EncoderSpec | None
    """None where vectors are ready-made"""
    spec: CollectionSpec
    place: registry.Place
    target: Target | None
    run: str
    started: float
    """seconds since 1970"""
    problems: tuple[str, ...] = ()
    """one sentence for each thing that must be changed before the job can run"""
    warnings: tuple[str, ...] = ()
    refusal: type[RefusedError] = field(default=RefusedError, repr=False)
    """the error that says them"""

    @property
    def has_chunks(self) -> bool:
        """Whether documents may have several points: those of this job, or those that earlier ones have left in the
        collection."""
        return self.options.long_text == "chunk" or (self.target is not None and self.target.has_chunks)

    @property
    def ready_made(self) -> Wanted | None:
        """What vectors of the table must be; None where a model makes them. The length is known: `check` refuses a job
        where it is not."""
        if self.columns.vector is None:
            return None
        datatype = self.datatypes.get(self.spec.vector_name, FLOAT32)
        return Wanted(self.spec.dimension or 0, bool(self.options.normalize), self.is_scaled, datatype)

    @property
    def datatypes(self) -> Mapping[str, str]:
        """See `Target.datatypes`."""
        return self.target.datatypes if self.target is not None else {}

    @property
    def is_scaled(self) -> bool:
        """Whether the store scales dense vectors to length 1, as it does with those of cosine, but not with bytes."""
        return self.spec.distance == "cosine" and self.datatypes.get(self.spec.vector_name) != UINT8

    def accepted(self) -> Plan:
        """The plan itself where nothing is wrong; else raises RefusedError, or the subclass that fits, with every
        problem."""
        if self.problems:
            raise self.refusal(self.problems)
        return self

    def _model(self) -> str:
        """Its identity, and for a folder, of which that tells nothing, its path too."""
        identity = models_of(self.spec.metadata.vectors) or "unknown"
        return f"{identity} (of {self.options.model})" if identity.startswith("sha256:") else identity

    def __str__(self) -> str:
        """The plan, for people."""
        columns = self.columns
        key = (
            "the text itself"
            if columns.content_key and not columns.key
            else ", ".join((*columns.key, *(["the text"] if columns.content_key else [])))
        )
        source = f"vectors of column {columns.vector}" if columns.vector else f"text of {', '.join(columns.text)}"
        payload = ", ".join(new if old == new else f"{old} as {new}" for old, new in columns.payload)
        lines = [
            f"reads    {source}",
            f"key      {key}",
            f"payload  {payload or 'nothing'}",
            f"model    {self._model()}, {self.spec.dimension or 'unknown'} dimensions",
        ]
        lines += [f"will     {step}" for step in (self.target.plan if self.target else ())]
        lines += [f"warning  {warning}" for warning in self.warnings]
        lines += [f"problem  {problem}" for problem in self.problems]
        return "\n".join(lines)


def target_of(plan: Plan) -> Target:
    """Where the points go."""
    if plan.target is None:
        raise ValueError("a plan with problems cannot run")
    return plan.target
