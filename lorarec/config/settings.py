"""All settings in one frozen model, and the sentences that refuse a wrong one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from lorarec.config.gate import Gate
from lorarec.config.pipeline import Pipeline
from lorarec.config.section import COLUMNS, Section
from lorarec.config.sections import (
    Adapt,
    Data,
    Evaluate,
    Features,
    Implicit,
    Model,
    Tracking,
    Train,
)
from lorarec.config.tuning import Tune
from lorarec.errors import ConfigError, did_you_mean, nearest

Flat = dict[str, str | int | float | bool]


class Settings(Section):
    """Everything a command can be told, resolved. Made by `load_settings`."""

    data: Data = Field(default_factory=Data)
    """How logs are read and split."""
    model: Model = Field(default_factory=Model)
    """The base model's shape."""
    features: Features = Field(default_factory=Features)
    """Side features of users and items."""
    train: Train = Field(default_factory=Train)
    """How a base is trained."""
    implicit: Implicit = Field(default_factory=Implicit)
    """How implicit's models are trained."""
    adapt: Adapt = Field(default_factory=Adapt)
    """How an adapter is trained."""
    tune: Tune = Field(default_factory=Tune)
    """What is searched for a base."""
    evaluate: Evaluate = Field(default_factory=Evaluate)
    """What is measured."""
    gate: Gate = Field(default_factory=Gate)
    """What an adapter must show before it serves."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """What a scheduled retraining does."""
    tracking: Tracking = Field(default_factory=Tracking)
    """Where runs are recorded."""

    def flat(self) -> Flat:
        """Dotted keys and plain values for a tracker; None is `"none"`, lists are `"10,20"`.

        When something is retrained says nothing of what is: `[pipeline]` is left out.
        """
        return dict(_flatten(self.model_dump(exclude={"pipeline"}), ""))

    def with_options(self, options: Mapping[str, object]) -> Settings:
        """These settings with a command's own options on top, validated the same way.

        Args:
            options: Dotted key → value, such as `{"train.epochs": 5}`; None was not given and
                is skipped.

        Raises:
            ConfigError: A key is unknown or a value out of range.
        """
        given = {key: value for key, value in options.items() if value is not None}
        tree = self.model_dump()
        for key, value in given.items():
            put(tree, key, value)
        return validated(tree, dict.fromkeys(given, "the command's options"))


def _flatten(value: Any, prefix: str) -> Iterator[tuple[str, str | int | float | bool]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list | tuple):
        yield prefix, ",".join(str(part) for part in value)
    else:
        yield prefix, "none" if value is None else value


def put(tree: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted `key` in nested dictionaries; what stands in the way is replaced."""
    *path, last = key.split(".")
    for name in path:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[last] = copy.deepcopy(value)


def field_keys() -> list[str]:
    """Every dotted key there is, such as `train.epochs`."""
    keys = [f"data.columns.{name}" for name in COLUMNS]
    for section, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += [f"{section}.{name}" for name in field.annotation.model_fields]
    return keys


def annotation_of(key: str) -> Any:
    """The type a dotted key takes; None for an unknown key."""
    if key.startswith("data.columns."):
        return str
    section, _, name = key.partition(".")
    outer = Settings.model_fields.get(section)
    if outer is None or not isinstance(outer.annotation, type):
        return None
    inner = outer.annotation.model_fields.get(name)
    return None if inner is None else inner.annotation


def validated(tree: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
    """Check a nested dictionary of settings.

    Args:
        tree: Section → name → value.
        sources: Dotted key → where its value was found, for the message.

    Raises:
        ConfigError: One sentence for each thing that is wrong.
    """
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        sentences = [_sentence(details, sources) for details in error.errors()]
        raise ConfigError("\n".join(sentences)) from error


def _source(key: str, sources: Mapping[str, str]) -> str:
    if key in sources:
        return sources[key]
    inner = {where for name, where in sources.items() if name.startswith(f"{key}.")}
    outer = {where for name, where in sources.items() if key.startswith(f"{name}.")}
    return " and ".join(sorted(inner or outer)) or "the settings"


SECRETS = ("pipeline.webhook",)
"""Settings whose value no message shows: whoever has it may use it."""


def _sentence(details: ErrorDetails, sources: Mapping[str, str]) -> str:
    path = [str(part) for part in details["loc"]]
    key = ".".join(part for part in path if not part.isdigit())
    where = _source(key, sources)
    if details["type"] == "extra_forbidden":
        return f"Unknown setting {key!r} in {where}.{_known_like(key)}"
    expected = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if details["type"] == "model_type":
        expected = f"a table of settings, such as {_example(key)}"
    elif details["type"] == "string_pattern_mismatch":
        expected = "auto, cpu, mps, cuda or cuda:N"
    found = details["input"]
    shown = "" if isinstance(found, dict) or key in SECRETS else f" is {found!r}"
    end = "" if expected.endswith("?") else "."
    return (
        f"Setting {key}{shown} in {where}: expected {expected}{end}{_choice(details)} "
        f"Correct it there, or leave it out to use the default."
    )


def _choice(details: ErrorDetails) -> str:
    """The choice of a `Literal` that the value was probably meant to be."""
    found, choices = details["input"], str(details.get("ctx", {}).get("expected", ""))
    names = [choice.strip("'") for choice in choices.replace(" or ", ", ").split(", ")]
    if details["type"] != "literal_error" or not isinstance(found, str) or len(names) < 2:
        return ""
    close = nearest(found, names, count=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _example(section: str) -> str:
    return next((key for key in field_keys() if key.startswith(f"{section}.")), "train.epochs")


def _known_like(key: str) -> str:
    keys = field_keys()
    section, _, name = key.rpartition(".")
    siblings = [known for known in keys if section and known.rpartition(".")[0] == section]
    if siblings:
        close = nearest(name, [known.rpartition(".")[2] for known in siblings], count=1)
        if close:
            return f" Did you mean {section + '.' + close[0]!r}?"
        return " There are: " + ", ".join(sorted(siblings)) + "."
    if close := nearest(key, Settings.model_fields, count=1):
        return f" Did you mean {close[0]!r}?"
    if same := [known for known in keys if known.rpartition(".")[2] == name]:
        return " Did you mean " + " or ".join(repr(known) for known in same) + "?"
    return did_you_mean(key, nearest(key, keys) or Settings.model_fields)
