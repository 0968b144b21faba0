"""The front door: help, exit codes, and a clear word for every way to end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from lorarec.cli import main
from lorarec.cli.options import settings_options
from lorarec.config import Settings, load_settings
from lorarec.errors import DataError

LORAREC = str(Path(sys.executable).parent / "lorarec")
Try = Callable[[Callable[[Settings], object]], None]


@pytest.fixture
def command(bare_project: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """Put a function in the place of the command `try`."""

    def put(function: Callable[[Settings], object]) -> None:
        module = types.ModuleType("lorarec.cli.try")
        setattr(module, "try", click.command("try")(click.pass_obj(function)))
        monkeypatch.setitem(sys.modules, "lorarec.cli.try", module)
        monkeypatch.setitem(main.COMMANDS, "try", "A test.")

    return put


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """`main.run` takes signals over for good; this process goes on."""
    before = {number: signal.getsignal(number) for number in main.ASKING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raising(error: BaseException) -> Callable[[Settings], object]:
    def function(_: Settings) -> object:
        raise error

    return function


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main._run([option]) == 0
    said = capsys.readouterr().out
    assert all(name in said and text in said for name, text in main.COMMANDS.items())


def every_command() -> list[list[str]]:
    """The words of each command there is, the door and the commands of groups included."""
    found: list[list[str]] = [[]]
    for name in main.COMMANDS:
        command = main.cli.get_command(click.Context(main.cli), name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        found += [[name], *([name, below] for below in inner)]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_the_help_of_every_command_has_an_example_of_it(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main._run([*words, "-h"]) == 0
    example = capsys.readouterr().out.split("Example:\n")[1].split("\n\n")[0]
    assert " ".join(["  lorarec", *words]) in example


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main._run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lorarec 0.")


def test_an_unknown_command_gets_the_nearest_and_exits_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main._run(["evalute"]) == 2
    assert "Did you mean 'evaluate'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--nonsense"], ["runs", "--limit", "many"], ["runs", "x"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main._run(arguments) == 2
    assert "Error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("12 rows have a negative weight."), 2, "Error: 12 rows have a negative weight."),
        (KeyboardInterrupt(), 130, "Stopped."),
        (main.Terminated(), 143, "Stopped."),
        (main.HungUp(), 129, "Stopped."),
        (ZeroDivisionError("boom"), 3, "Unexpected error: ZeroDivisionError: boom. Run again"),
        (
            OSError(errno.ENOSPC, "No space left", "/x/y"),
            2,
            "/x/y could not be used: the disk is f",
        ),
        (SystemExit(1), 1, ""),
    ],
)
def test_every_end_has_its_code_and_its_word(
    command: Try, error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(error))
    with pytest.raises(SystemExit) as ended:
        main.run(["try"])
    out, err = capsys.readouterr()
    assert ended.value.code == code
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_debug_shows_the_traceback(command: Try, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(ZeroDivisionError("boom")))
    assert main._run(["try", "--debug"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "--debug" not in said.rpartition("Unexpected error")[2]


def test_a_gate_exits_with_its_own_code(command: Try) -> None:
    command(lambda _: click.get_current_context().exit(1))
    assert main._run(["try"]) == 1


def test_settings_may_stand_before_and_after_the_command(command: Try) -> None:
    Path("a.toml").write_text("[train]\nseed = 1\n")
    Path("b.toml").write_text("[train]\nseed = 2\n")
    found: list[Settings] = []
    command(found.append)
    sets = ["--set", "train.epochs=1", "try", "--set", "train.epochs=2", "--set", "model.dim=8"]
    assert main._run(["--config", "a.toml", *sets]) == 0
    assert main._run(["--config", "a.toml", "try", "--config", "b.toml"]) == 0
    assert (found[0].train.epochs, found[0].model.dim, found[0].train.seed) == (2, 8, 1)
    assert found[1].train.seed == 2


def test_a_wrong_setting_exits_with_2_but_help_still_helps(
    command: Try, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lorarec.toml").write_text("[train]\nepoch = 1\n")
    command(raising(AssertionError("not reached")))
    assert main._run(["try"]) == 2
    assert "Did you mean 'train.epochs'?" in capsys.readouterr().err
    assert main._run(["try", "--help"]) == 0
    assert "--set" in capsys.readouterr().out


def test_the_commands_of_a_group_take_settings_too(bare_project: Path) -> None:
    found: list[Settings] = []

    @click.group()
    def group() -> None: ...

    @group.command()
    @click.pass_obj
    def inner(settings: Settings) -> None:
        found.append(settings)

    settings_options(settings_options(group))
    group.main(["inner", "--set", "train.epochs=3"], standalone_mode=False)
    group.main(["inner"], standalone_mode=False, obj=load_settings(overrides=["train.epochs=4"]))
    assert [settings.train.epochs for settings in found] == [3, 4]


def test_a_function_may_be_given_the_options(bare_project: Path) -> None:
    found: list[Settings] = []

    @click.command()
    @settings_options
    @click.pass_obj
    def alone(settings: Settings) -> None:
        found.append(settings)

    alone.main(["--set", "train.epochs=3"], standalone_mode=False)
    assert found[0].train.epochs == 3


def test_lorarec_data_is_ignored_by_commands(command: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAREC_DATA", "/nowhere/at/all")
    found: list[Settings] = []
    command(found.append)
    assert main._run(["try"]) == 0
    assert found == [Settings()]


def test_a_reader_that_leaves_is_no_error(bare_project: Path) -> None:
    code = "from lorarec.cli.main import run; run(['--help'])"
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert found.stderr == ""


WAITING = """
import sys, time, types, click
from lorarec.cli import main

def wait():
    try:
        print('ready', flush=True)
        time.sleep(60)
    finally:
        print('tidying', flush=True)
        time.sleep(1)
        print('tidied', flush=True)

module = types.ModuleType('lorarec.cli.wait')
module.wait = click.command()(wait)
sys.modules['lorarec.cli.wait'] = module
main.COMMANDS['wait'] = ''
main.run(['wait'])
"""


def waiting(**streams: object) -> subprocess.Popen[str]:
    """A command that waits to be ended and then takes a second to tidy up."""
    command = [sys.executable, "-c", WAITING]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)  # type: ignore[call-overload]
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_to_end_is_obeyed_once_with_a_word(
    bare_project: Path, number: int, code: int
) -> None:
    process = waiting(stderr=subprocess.PIPE)
    process.send_signal(number)
    assert process.stdout is not None
    assert process.stdout.readline() == "tidying\n"
    for more in main.ASKING:
        process.send_signal(more)
    out, said = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "tidied\n")
    assert said.strip().startswith("Stopped.")
    assert "Traceback" not in said


def test_a_terminal_that_closes_ends_the_command_in_order(bare_project: Path) -> None:
    ours, theirs = os.openpty()
    process = waiting(stderr=theirs, stdin=theirs)
    os.close(theirs)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    assert process.stdout.read() == "tidying\ntidied\n"
    assert process.wait(30) == 129


def test_under_nohup_it_goes_on(bare_project: Path) -> None:
    process = waiting(
        stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_the_installed_command_answers() -> None:
    found = subprocess.run([LORAREC, "-h"], capture_output=True, text=True)
    assert found.returncode == 0
    assert "pretrain" in found.stdout
