"""Which array of a file is the users', which the items': by known names or by a given map."""

from __future__ import annotations

from collections.abc import Mapping

from lorarec.errors import DataError, did_you_mean, nearest
from lorarec.models.importing.factors import SLOTS

SYNONYMS = {
    "users": ("user_factors", "user_vectors", "user_embedding", "user_embeddings", "user"),
    "items": ("item_factors", "item_vectors", "item_embedding", "item_embeddings", "item"),
    "item_bias": ("item_biases",),
    "user_bias": ("user_biases",),
    "user_ids": ("user_id",),
    "item_ids": ("item_id",),
}
"""Names of a part besides its own; a state dict has modules before them and `.weight` behind."""


def chosen_names(
    shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, str], where: str
) -> dict[str, str]:
    """Part of `SLOTS` → name of the array that holds it.

    Args:
        shapes: Every array of the file by name.
        given: Part → name, as the user wrote it; these win over known names.
        where: The file's name, for messages.

    Raises:
        DataError: A given part or name does not exist (the nearest are told), two arrays have a
            known name of one part, or users or items are not found.
    """
    if unknown := [part for part in given if part not in SLOTS]:
        raise DataError(
            f"{unknown[0]!r} is no part of an imported model.{did_you_mean(unknown[0], SLOTS)} "
            f"Expected --name PART=NAME, such as --name users=user_embedding.weight"
        )
    for part, name in given.items():
        if name not in shapes:
            raise DataError(
                f"{where} has no {name!r} for the {part}.{_like(name, shapes)} It has: "
                f"{_listed(shapes)}."
            )
    found = dict(given)
    for part in (part for part in SLOTS if part not in given):
        known = _known(part, shapes, where)
        if known is not None:
            found[part] = known
    for part in ("users", "items"):
        if part not in found:
            raise DataError(
                f"{where} has no array of a name that is known for {part}. It has: "
                f"{_listed(shapes)}. Expected {part} or {SYNONYMS[part][0]}; say which it is: "
                f"--name {part}=NAME"
            )
    return found


def _known(part: str, shapes: Mapping[str, tuple[int, ...]], where: str) -> str | None:
    for names in ((part,), SYNONYMS[part]):
        found = [name for name in shapes if _last(name) in names]
        if len(found) > 1:
            raise DataError(
                f"{where} has {len(found)} arrays that may be the {part}: "
                f"{', '.join(map(repr, sorted(found)[:5]))}. Expected one; say which: "
                f"--name {part}={sorted(found)[0]}"
            )
        if found:
            return found[0]
    return None


def left_out(shapes: Mapping[str, tuple[int, ...]], chosen: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence on the arrays that are no part of the import, if there are any."""
    others = {name: shape for name, shape in shapes.items() if name not in chosen.values()}
    if not others:
        return ()
    taken = ", ".join(f"{part} = {name}" for part, name in chosen.items())
    return (f"Taken: {taken}. Left out: {_listed(others)}.",)


def _last(name: str) -> str:
    return name.lower().removesuffix(".weight").rpartition(".")[2]


def _like(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    return did_you_mean(name, shapes) if nearest(name, shapes) else ""


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    shown = [f"{name} {shape}" for name, shape in sorted(shapes.items())[:10]]
    return ", ".join(shown + (["..."] if len(shapes) > 10 else [])) or "nothing"
