"""Which files name an id: looked for in what each kind of file holds, not in its bytes alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from lorarec.data.forgotten import COLUMNS, SIDES, Forgotten
from lorarec.lora.adapter import ids_unpacked
from lorarec.storage import read_tensors

TABLES = (".parquet", ".safetensors")
LINES = (".ndjson", ".jsonl")
TEXT = (".html", ".txt", ".toml", ".csv", ".tsv", ".md")


def names_any(path: Path, forgotten: Forgotten) -> bool:
    """Whether a file names one of the ids.

    Of parquet the text columns are looked at, of safetensors the ids of grown rows, of JSON and
    NDJSON every key and text but for bare numbers, which settings are full of, of other text every
    word; pictures, programs and FAISS's files name nobody.

    Raises:
        OSError: It cannot be read.
    """
    if path.suffix == ".parquet":
        return _in_table(path, forgotten)
    if path.suffix == ".safetensors":
        return _in_tensors(path, forgotten)
    if path.suffix in (".json", *LINES):
        try:
            text = path.read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if line.strip()]
            values = [json.loads(each) for each in (lines if path.suffix in LINES else [text])]
        except ValueError:  # no JSON after all
            return in_text(path.read_text(errors="replace"), forgotten)
        return any(quoted(text, forgotten) for text in _strings(values))
    return path.suffix in TEXT and in_text(path.read_text(errors="replace"), forgotten)


def quoted(text: str, forgotten: Forgotten) -> bool:
    """Whether a text is one of the ids, or has one in quotes as errors do.

    A number alone says nothing: settings are full of them.
    """
    return any(
        repr(each) in text or (text == each and not each.isdigit()) for each in forgotten.texts
    )


def in_text(text: str, forgotten: Forgotten) -> bool:
    """Whether a text has one of the ids as a word of its own."""
    some = "|".join(re.escape(each) for each in forgotten.texts)
    return re.search(rf"(?<![\w.-])(?:{some})(?![\w-])", text) is not None


def _in_table(path: Path, forgotten: Forgotten) -> bool:
    """A user is not looked for among items, nor an item among users, where a table says which."""
    for column in pl.read_parquet(path, glob=False).iter_columns():
        own = column.name == "id"
        of = [s for s in SIDES if column.name == COLUMNS[s] or (own and s in path.name)]
        texts = [text for side in of or SIDES for text in forgotten.ids(side)]
        if column.dtype == pl.String and column.is_in(texts).any():
            return True
    return False


def _in_tensors(path: Path, forgotten: Forgotten) -> bool:
    tensors = read_tensors(path)
    return any(
        not set(forgotten.ids(side)).isdisjoint(ids_unpacked(path, f"{side}.grown_ids", tensors))
        for side in SIDES
        if f"{side}.grown_ids.bytes" in tensors
    )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
