"""The JSON beside an artefact's weights: a frozen schema, sealed by a digest over itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel as Schema
from pydantic import ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from lorarec.errors import ArtifactError
from lorarec.storage import read_json, sha256_bytes, write_json

R = TypeVar("R", bound="Record")
FORMAT = 1
"""Version of the artefacts' format; a newer one is refused."""
SEAL = "record_digest"
"""The file's key for the digest over all its others; no field of any record."""


class Record(Schema):
    """Metadata of an artefact: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that came after the first format: left out where they hold their default, so that a
    record made before there were any has the digest that it had."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields, found = type(self).model_fields, values(self)
        unsaid = {
            name
            for name in self.later
            if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in found.items() if name not in unsaid}


def save_record(path: Path, record: Record) -> None:
    """Write metadata as JSON with the digest that `load_record` asks for."""
    write_json(path, sealed(record.model_dump()))


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the digest over them, in place of one that they may have."""
    bare = {key: value for key, value in values.items() if key != SEAL}
    return {**bare, SEAL: _digest(bare)}


def load_record(path: Path, schema: type[R]) -> R:
    """Read an artefact's JSON metadata.

    The seal finds what was edited or damaged; it is no signature, as anyone can make it anew.

    Raises:
        ArtifactError: It is missing, no JSON, of a newer format, changed since it was written, or
            lacks or invents a key.
    """
    values = read_json(path)
    found = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise ArtifactError(
            f"{path} has format version {found}; this lorarec reads up to {FORMAT}. "
            f"Update it: pip install --upgrade lorarec"
        )
    seal = values.pop(SEAL, None) if isinstance(values, dict) else None
    try:
        record = schema.model_validate(values)
    except ValidationError as error:
        raise ArtifactError(
            f"{path} is not what lorarec writes: {first_fault(error)}. It was edited or is of "
            f"another version; get the artefact again."
        ) from error
    if seal != (digest := _digest(values)):
        says = f"its {SEAL} says {str(seal)[:12]}" if seal else f"it has no {SEAL}"
        raise ArtifactError(
            f"{path} has digest {digest[:12]}, {says}. It was edited since it was written; get the "
            f"artefact again."
        )
    return record


def _digest(values: dict[str, Any]) -> str:
    """SHA-256 of the values as sorted JSON without spaces: how the file is laid out is free."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return sha256_bytes(canonical.encode())


def first_fault(error: ValidationError) -> str:
    """Where a file first breaks its schema, and how."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole file"
    return f"{where}: {first['msg']}"
