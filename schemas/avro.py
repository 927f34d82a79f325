"""How the dataclasses of `records.py` are Avro records: the mapping, and nothing that is written or read.

str, int, bytes, bool -> string, long, bytes, boolean; StrEnum -> string (an enum
symbol that an older reader does not know fails its whole record, a string does
not: words may be added without a break); X | None -> [null, X]; tuple[X, ...] ->
array; a record in a record -> the named record, written out at its first use.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any

from schemas import records
from schemas.ids import Position

NAMESPACE = "tallystick"
_PRIMITIVES: dict[object, str] = {str: "string", int: "long", bytes: "bytes", bool: "boolean"}

RECORDS: dict[str, type[Any]] = {
    name: cls
    for name, cls in vars(records).items()
    if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__module__ == records.__name__
}


def bare(kind: Any) -> Any:
    """The plain type behind a NewType."""
    while hasattr(kind, "__supertype__"):
        kind = kind.__supertype__
    return kind


def union_members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or () where it is none."""
    origin = typing.get_origin(kind)
    return typing.get_args(kind) if origin in (typing.Union, types.UnionType) else ()


_HINTS: dict[type[Any], dict[str, Any]] = {Position: {"major": int, "minor": int, "index": int}}


def hints(cls: type[Any]) -> dict[str, Any]:
    """Field name -> resolved type, in order."""
    if cls not in _HINTS:
        resolved = typing.get_type_hints(cls)
        _HINTS[cls] = {f.name: resolved[f.name] for f in dataclasses.fields(cls)}
    return _HINTS[cls]


def schema_of(cls: type[Any]) -> dict[str, Any]:
    """The Avro schema of a record, self-contained."""
    return typing.cast("dict[str, Any]", _named(cls, set()))


def _named(cls: type[Any], seen: set[str]) -> Any:
    name = cls.__name__
    if name in seen:
        return f"{NAMESPACE}.{name}"
    seen.add(name)
    defaults = {} if cls is Position else {f.name: f.default for f in dataclasses.fields(cls)}
    fields = []
    for field, kind in hints(cls).items():
        described: dict[str, Any] = {"name": field, "type": _type(kind, seen)}
        default = defaults.get(field, dataclasses.MISSING)
        if default is not dataclasses.MISSING and not (union_members(kind) and default is not None):
            described["default"] = default if not isinstance(default, tuple) else list(default)
        fields.append(described)
    return {"type": "record", "name": name, "namespace": NAMESPACE, "fields": fields}


def _type(kind: Any, seen: set[str]) -> Any:
    kind = bare(kind)
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    members = union_members(kind)
    if type(None) in members:
        return ["null", *(_type(m, seen) for m in members if m is not type(None))]
    if members:
        return [_type(m, seen) for m in members]
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": _type(typing.get_args(kind)[0], seen)}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "string"
    return _named(kind, seen)
