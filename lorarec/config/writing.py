"""Settings as text: a TOML file that `--config` reads, and `--set` options that give them again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lorarec.config.settings import Settings


def toml_text(settings: Settings, sections: tuple[str, ...]) -> str:
    """What differs from the defaults in some sections, as lines of TOML, one a setting.

    Args:
        settings: Any.
        sections: Such as `("model", "train")`; the others are left out.
    """
    tree = settings.model_dump(include=set(sections), exclude_defaults=True)
    return "".join(f"{line}\n" for line in _lines(tree, ""))


def _lines(tree: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in tree.items():
        key = prefix + (name if name.isidentifier() and name.isascii() else _text(name))
        if isinstance(value, dict):
            yield from _lines(value, f"{key}.")
        elif value is not None:  # TOML has no word for nothing, and it is every such key's default
            yield f"{key} = {_text(value)}"


def _text(value: Any) -> str:
    """A string, a number, a truth or a list of them: what JSON and TOML write alike."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def overrides(settings: Settings, beside: Settings, sections: tuple[str, ...]) -> list[str]:
    """What makes `settings` out of `beside`, as `--set` takes it, such as `train.epochs=5`.

    Args:
        settings: Wanted.
        beside: What a command has without these options.
        sections: Those that count.
    """
    there = beside.flat()
    return [
        f"{key}={_text(value) if isinstance(value, bool) else value}"
        for key, value in settings.flat().items()
        if key.partition(".")[0] in sections and there.get(key) != value
    ]
