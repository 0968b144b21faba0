"""The options that every command takes: where its settings come from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

import click

P = ParamSpec("P")
R = TypeVar("R")

_FILE = "lorarec.config_file"
_OVERRIDES = "lorarec.overrides"
_MARK = "__lorarec_settings__"


def _note_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_FILE] = value


def _note_overrides(ctx: click.Context, _: click.Parameter, value: tuple[str, ...]) -> None:
    ctx.meta.setdefault(_OVERRIDES, []).extend(value)


def common_options() -> list[click.Option]:
    """`--config`, `--set` and `--debug`; what is given later wins."""
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_note_file,
            help="Settings file; lorarec.toml of the working directory where left out.",
        ),
        click.Option(
            ["--set"],
            multiple=True,
            metavar="KEY=VALUE",
            expose_value=False,
            callback=_note_overrides,
            help="One setting, such as train.epochs=5; may be repeated.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            help="Show the traceback of an unexpected error.",
        ),
    ]


def overridden(keys: Collection[str]) -> str | None:
    """The first `--set` of the running command that sets one of some keys, as it was typed."""
    texts = click.get_current_context().meta.get(_OVERRIDES, ())
    return next((text for text in texts if text.partition("=")[0].strip() in keys), None)


def given() -> list[str]:
    """`--config` and `--set` of the running command, as another one takes them."""
    meta = click.get_current_context().meta
    file: Path | None = meta.get(_FILE)
    words = [] if file is None else ["--config", str(file)]
    return words + [word for text in meta.get(_OVERRIDES, ()) for word in ("--set", text)]


def _resolving(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        ctx = click.get_current_context()
        if ctx.obj is None or ctx.meta.get(_FILE) or ctx.meta.get(_OVERRIDES):
            from lorarec.config import load_settings

            ctx.obj = load_settings(ctx.meta.get(_FILE), overrides=ctx.meta.get(_OVERRIDES, ()))
        return function(*args, **kwargs)

    setattr(wrapper, _MARK, True)
    return wrapper


@overload
def settings_options(target: click.Command) -> click.Command: ...
@overload
def settings_options(target: Callable[P, R]) -> Callable[P, R]: ...
def settings_options(target: Any) -> Any:
    """Give a command `--config`, `--set` and `--debug`, and `ctx.obj` the resolved settings.

    The lazy group does this to every command it loads, so a command only says
    `@click.pass_obj`; on a function it stands above that.

    Args:
        target: A click command (a group: its commands), or a function on its way to be one.
    """
    if isinstance(target, click.Group):
        for command in target.commands.values():
            settings_options(command)
    elif isinstance(target, click.Command):
        if target.callback is not None and not getattr(target.callback, _MARK, False):
            target.params.extend(common_options())
            target.callback = _resolving(target.callback)
    else:
        wrapper = _resolving(target)
        waiting = getattr(wrapper, "__click_params__", [])
        wrapper.__click_params__ = [*reversed(common_options()), *waiting]  # type: ignore[attr-defined]
        return wrapper
    return target
