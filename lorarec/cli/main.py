"""The `lorarec` command: finds a command's module when it is used, and ends with a clear word.

Nothing heavy is imported here, so that `lorarec --help` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from lorarec.cli.cores import share_cores
from lorarec.cli.options import common_options, settings_options
from lorarec.errors import LorarecError, RankError, ToldElsewhereError, did_you_mean
from lorarec.launch import launched

COMMANDS = {
    "data": "Make, check and describe interaction logs.",
    "pretrain": "Train one base model on the logs of many domains.",
    "tune": "Search the settings of a base by validation.",
    "import": "Make a base of a model that was trained elsewhere.",
    "targets": "List what an adapter of a base can have, and what it costs.",
    "adapt": "Train a LoRA adapter for one domain.",
    "adapters": "List, compare, combine and shrink adapters.",
    "evaluate": "Compare popularity, base, adapter and full fine-tuning.",
    "promote": "Bring an adapter to the gate, to serve where it says yes.",
    "rollback": "Let an earlier champion serve again.",
    "history": "List what has served a domain, and what the gate said.",
    "report": "Write one page about what was compared.",
    "pipeline": "Retrain what is due, on a schedule or once.",
    "index": "Build, show and change indexes of a domain's items, or of all.",
    "recommend": "Rank a domain's items for a user, or for many in a file.",
    "serve": "Serve all domains over HTTP, or log them as one MLflow model.",
    "export": "Write a domain's merged model for serving without lorarec.",
    "score": "Score given pairs of users and items, in their order.",
    "runs": "List recent runs, newest first.",
    "ui": "Open the MLflow UI on the project's own store.",
    "lineage": "Draw what a base or an adapter came of, and what came of it.",
    "gc": "Remove old versions and what nothing refers to.",
    "forget": "Take users and items out of everything that was made of them.",
    "doctor": "Check the store, and close runs that a killed process left.",
}
"""Every command and its short help; each lives in the module lorarec.cli.<command>."""
MODULES = {"import": "import_base"}
"""Commands whose own name cannot be a module's."""
TOGETHER = ("pretrain",)
"""Commands that several processes can run together."""

OK, REFUSED, UNEXPECTED, INTERRUPTED = 0, 2, 3, 130
_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
}


class Terminated(KeyboardInterrupt):
    """The process was asked to end; it tidies up as on Ctrl-C."""

    exit_code = 143


class HungUp(Terminated):
    """Its terminal or session was closed."""

    exit_code = 129


ASKING: dict[int, type[KeyboardInterrupt]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
    signal.SIGHUP: HungUp,
}
"""Signals that ask to end, and what each raises."""


class LazyGroup(click.Group):
    """Commands whose modules are imported when they are used and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a first day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        name = MODULES.get(cmd_name, cmd_name)
        command = getattr(importlib.import_module(f"lorarec.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return settings_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command gets the nearest names."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"No command {name!r}.{did_you_mean(name, COMMANDS)}", ctx)
        launch = launched()
        if launch is not None and name in COMMANDS and name not in TOGETHER:
            raise click.UsageError(
                f"`lorarec {name}` runs as one process, and torchrun has started {launch.ranks} of "
                f"them. Expected {' or '.join(TOGETHER)} under torchrun; start it without.",
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table and not from their modules."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"lorarec {version('lorarec')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=common_options(),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Recommenders that adapt: one base model, a LoRA adapter for each domain.

    \b
    Example:
      lorarec pretrain --data data/sample
      lorarec adapt --domain books --rank 8
      lorarec evaluate --domain books
    """


def _obey_signals() -> None:
    """End on the first signal that asks for it; more of them find the command tidying up.

    What is ignored stays ignored, as SIGHUP under nohup.
    """
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for each in obeyed:
            signal.signal(each, lambda *_: None)
        for terminal in terminals:
            if not os.isatty(terminal):  # it is gone: the last words would be an error themselves
                os.dup2(os.open(os.devnull, os.O_WRONLY), terminal)
        raise ASKING[number]

    obeyed = [number for number in ASKING if signal.getsignal(number) != signal.SIG_IGN]
    for number in obeyed:
        signal.signal(number, stop)


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: run a command and exit with its code.

    0 is well, 1 a gate that said no, 2 wrong usage or input, 3 an unexpected error, 130 Ctrl-C, 129
    and 143 a terminal that closed and a signal to end. Of processes that torchrun started the first
    one talks, and on every other machine one more, until all have found each other.

    Args:
        arguments: Without the program's name; None takes the process's own.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _obey_signals()
    share_cores(os.environ)
    if not _talks(everywhere=True):
        _silence_stdout()
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    try:
        result = cli.main(list(arguments), prog_name="lorarec", standalone_mode=False)
        return result if isinstance(result, int) else OK
    except click.Abort as abort:
        _say("Stopped. What was finished before stands; nothing is half-written.", "yellow")
        cause = abort.__cause__
        return cause.exit_code if isinstance(cause, Terminated) else INTERRUPTED
    except click.ClickException as error:
        if _talks():
            error.show()
        return error.exit_code
    except RankError as error:
        if debug:
            traceback.print_exc()
        if not isinstance(error, ToldElsewhereError):
            click.secho(f"Error: {error}", fg="red", err=True)
        return error.exit_code
    except LorarecError as error:
        if debug:
            traceback.print_exc()
        _say(f"Error: {error}", "red")
        return error.exit_code
    except BrokenPipeError:
        _silence_stdout()
        return OK
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _DISK:
            _say(
                f"Error: {error.filename or 'A file'} could not be used: {_DISK[error.errno]}. "
                f"Expected a place that can be written to with room to spare. Free some space or "
                f"choose another place, then run the command again.",
                "red",
            )
            return REFUSED
        hint = "" if debug else " Run again with --debug for the traceback."
        _say(f"Unexpected error: {type(error).__name__}: {error}.{hint}", "red")
        return UNEXPECTED


def _say(text: str, colour: str) -> None:
    if _talks():
        click.secho(text, fg=colour, err=True)


def _talks(everywhere: bool = False) -> bool:
    """Whether this process is the one to talk of those on its machine, or on all of them."""
    try:
        launch = launched()
    except LorarecError:
        return True
    return launch is None or (launch.rank if everywhere else launch.local_rank) == 0


def _silence_stdout() -> None:
    """Point stdout at nothing: the flush at exit would complain to a reader who has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
