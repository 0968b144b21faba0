"""Where settings come from, weakest first: the file, the environment, `--set`."""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lorarec.config.settings import Settings, annotation_of, put, validated
from lorarec.errors import ConfigError

DEFAULT_FILE = "lorarec.toml"
PREFIX = "LORAREC_"
NOT_SETTINGS = frozenset(
    {
        "LORAREC_DATA",
        "LORAREC_TOKEN",
        "LORAREC_PIPELINE_STOP_AT",
        "LORAREC_PIPELINE_POINTS",
    }
)
"""Variables with our prefix that settle nothing: the tests' real data, a server's token, and where
a test kills a retraining."""


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """Resolve the settings of a command.

    Args:
        file: A TOML file that must be there; None reads lorarec.toml from the working directory
            where there is one.
        environ: Environment variables; None is the process's own. `LORAREC_TRAIN__EPOCHS=5` is
            `train.epochs`; an empty value counts as not given; `LORAREC_DATA` is no setting.
        overrides: `key=value` in TOML's notation or plain text, such as `train.epochs=5`; the
            last one of a key wins.

    Returns:
        The frozen settings.

    Raises:
        ConfigError: The file is missing or broken, a key is unknown, or a value is wrong.
    """
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = (
        _from_file(file),
        _from_environment(os.environ if environ is None else environ),
        _from_overrides(overrides),
    )
    for layer in layers:
        for key, value, source in layer:
            put(tree, key, value)
            sources[key] = source
    return validated(tree, sources)


def _from_file(file: Path | None) -> Iterator[tuple[str, Any, str]]:
    path = Path(DEFAULT_FILE) if file is None else file
    if file is None and not path.exists():
        return
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"The settings file {path} does not exist. Expected a TOML file; "
            f"correct --config, or leave it out to use {DEFAULT_FILE} where there is one."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The settings file {path} is not TOML: {error}. Correct that line and run again."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"The settings file {path} could not be read: {error.strerror}. "
            f"Expected a readable TOML file."
        ) from error
    for key, value in _leaves(tree, ""):
        yield key, value, str(path)


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    for variable, text in sorted(environ.items()):
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS and text.strip():
            key = variable.removeprefix(PREFIX).lower().replace("__", ".")
            yield key, _parsed(key, text), f"the environment variable {variable}"


def _from_overrides(overrides: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(
                f"--set {text!r} is not of the form key=value. "
                f"Expected a dotted key, such as --set train.epochs=5."
            )
        yield key, _parsed(key, value), f"--set {text}"


def _parsed(key: str, text: str) -> Any:
    """`text` as a TOML value, or as it stands where it is none or the setting wants text."""
    text = text.strip()
    annotation = annotation_of(key)
    kinds = set(typing.get_args(annotation)) or {annotation}
    if type(None) in kinds and text.lower() in {"none", "null"}:
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if str in kinds and not isinstance(value, str) else value
