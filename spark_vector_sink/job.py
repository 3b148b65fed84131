"""Hold the plan of a job: everything that travels from the driver to the tasks, and its text for people."""

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
    """Plan of a job: everything that a task needs, and every problem found. Pickled into each task; its repr shows no
    API key."""

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
    """class of the error that is raised with the problems"""

    @property
    def has_chunks(self) -> bool:
        """Return whether documents may have several points, written by this job or left in the collection by earlier
        jobs."""
        return self.options.long_text == "chunk" or (self.target is not None and self.target.has_chunks)

    @property
    def ready_made(self) -> Wanted | None:
        """Return what the table's ready-made vectors must be; None where a model makes the vectors. The dimension is
        known, because `check` refuses a job with an unknown one."""
        if self.columns.vector is None:
            return None
        datatype = self.datatypes.get(self.spec.vector_name, FLOAT32)
        return Wanted(self.spec.dimension or 0, bool(self.options.normalize), self.is_scaled, datatype)

    @property
    def datatypes(self) -> Mapping[str, str]:
        """Return the datatype (`uint8`, `float16`, …) of each vector of the job that the collection does not store as
        float32 numbers, by name (see `Target.datatypes`); empty without a target."""
        return self.target.datatypes if self.target is not None else {}

    @property
    def is_scaled(self) -> bool:
        """Return whether the store scales dense vectors to length 1, as it does under the distance cosine, except for
        vectors of bytes."""
        return self.spec.distance == "cosine" and self.datatypes.get(self.spec.vector_name) != UINT8

    def accepted(self) -> Plan:
        """Return the plan itself where it has no problems; else raise RefusedError, or the fitting subclass, with every
        problem."""
        if self.problems:
            raise self.refusal(self.problems)
        return self

    def _model(self) -> str:
        """Return the model's identity; for a folder, whose identity is a hash that tells people nothing, with the
        option `model` behind it."""
        identity = models_of(self.spec.metadata.vectors) or "unknown"
        return f"{identity} (of {self.options.model})" if identity.startswith("sha256:") else identity

    def __str__(self) -> str:
        """Return the plan as text for people."""
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
    """Return the target of a plan. Raises ValueError where the plan has none, because it has problems."""
    if plan.target is None:
        raise ValueError("a plan with problems cannot run")
    return plan.target
