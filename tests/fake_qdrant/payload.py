"""Payload by paths: parts of it are read, and parts of it are set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.fake_qdrant.values import Message, invalid, unimplemented


def select(payload: Message, selector: Message, into: Message) -> None:
    """Copy what a WithPayloadSelector asks for."""
    kind = selector.WhichOneof("selector_options")
    if kind == "include":
        for path in selector.include.fields:
            _include(payload, steps(path), into)
    elif kind == "exclude" or (kind == "enable" and selector.enable):
        for name, value in payload.items():
            into[name].CopyFrom(value)
        for path in selector.exclude.fields:
            _exclude(into, steps(path))


def steps(path: str) -> list[str]:
    """`a.b` reaches into an object; a key with a dot in it is put in quotes."""
    if not path:
        raise invalid("Invalid json path: ''")
    if "[" in path:
        raise unimplemented("payload paths into lists")
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^."]+)', path)]


def _include(fields: Message, steps: list[str], into: Message) -> None:
    head, *rest = steps
    if head not in fields:
        return
    if not rest or not fields[head].HasField("struct_value"):
        into[head].CopyFrom(fields[head])
        return
    into[head].struct_value.SetInParent()
    _include(fields[head].struct_value.fields, rest, into[head].struct_value.fields)


def _exclude(fields: Message, steps: list[str]) -> None:
    head, *rest = steps
    if head not in fields:
        return
    if not rest:
        del fields[head]
    elif fields[head].HasField("struct_value"):
        _exclude(fields[head].struct_value.fields, rest)


def at(fields: Message, path: Sequence[str]) -> Message | None:
    """The value that a path leads to. Lists are not gone into."""
    head, *rest = path
    if head not in fields:
        return None
    if not rest:
        return fields[head]
    return at(fields[head].struct_value.fields, rest) if fields[head].HasField("struct_value") else None


def merge(fields: Message, path: Sequence[str], given: Message) -> None:
    """Set the given keys in the object at a path, made where there is none; a null takes its key out."""
    if path:
        head, *rest = path
        if not fields[head].HasField("struct_value"):
            fields[head].struct_value.SetInParent()
        merge(fields[head].struct_value.fields, rest, given)
        return
    for name, value in given.items():
        if value.WhichOneof("kind") in (None, "null_value"):
            fields.pop(name, None)
        else:
            fields[name].CopyFrom(value)
