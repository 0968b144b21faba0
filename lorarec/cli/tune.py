"""`lorarec tune`: which settings of a base validate best."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    device_option,
    epochs_option,
    items_option,
    json_option,
    logs_option,
    seed_option,
    split_option,
    users_option,
)

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.trials import Trial
    from lorarec.jobs.tune import Tuned

NEWEST = "newest"


@click.command(context_settings=CONTEXT)
@logs_option
@click.option("--trials", type=int, help="Trainings in all.  [default: 20]")
@click.option(
    "--model", type=click.Choice(["mf", "two-tower"]),
    help="Matrix factorization, or towers over features and history too.  [default: mf]",
)  # fmt: skip
@users_option
@items_option
@click.option(
    "--exclude-domain", "exclude", multiple=True, metavar="D",
    help="Keep a domain out of every trial; may be repeated.",
)  # fmt: skip
@split_option
@epochs_option
@click.option(
    "--resume", is_flag=False, flag_value=NEWEST, metavar="[RUN]",
    help="Go on with the newest search that is like this one, or with the one named.",
)  # fmt: skip
@seed_option
@device_option
@json_option
@click.pass_obj
def tune(
    settings: Settings,
    paths: tuple[Path, ...],
    trials: int | None,
    model: str | None,
    users: str | None,
    items: str | None,
    exclude: tuple[str, ...],
    split: str | None,
    epochs: int | None,
    resume: str | None,
    seed: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Search learning rate, temperature, dimension and weight decay of a base by validation.

    Trial 0 is the settings as they are; what the others try is drawn by Optuna from the ranges of
    [tune] and recorded as runs under one. The nDCG on validation decides, the test is not looked
    at. A trial that diverges is passed over. No base is kept: the command that trains the best one
    is printed, and best.toml of the run has its settings. Broken off in any way, the same command
    with --resume goes on; so it does with more --trials.

    \b
    Example:
      lorarec tune --data data/sample --trials 10 --epochs 10
      lorarec tune --data logs.parquet --set tune.learning_rate=0.01,0.1 --set tune.dims=[]
      lorarec tune --data logs.parquet --model two-tower --items items.parquet --resume
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.tune import tune as job
    from lorarec.tracking.store import open_store

    settings = settings.with_options(
        {
            "tune.trials": trials,
            "model.name": model,
            "features.users": users,
            "features.items": items,
            "data.split": split,
            "train.epochs": epochs,
            "train.seed": seed,
            "train.device": device,
        }
    )
    with listening() as listener:
        done = job(settings, paths, open_store(settings.tracking), exclude, listener, resume)
    command = _next(done, paths, exclude)
    if as_json:
        print_json(_record(done, command))
        return
    keys = list(done.start.values)
    print_table(
        ["trial", "valid nDCG", "recall@20", *map(_short, keys), "best epoch", "seconds", "remark"],
        [
            (
                trial.number,
                trial.score,
                trial.metrics.get("valid_recall_at_20"),
                *(f"{trial.values[key]:g}" for key in keys),
                _whole(trial, "best_epoch"),
                _whole(trial, "train_seconds"),
                _remark(done, trial),
            )
            for trial in done.trials
        ],
        title=f"Search {done.run}, best first",
        whole=("remark",),
    )
    changed = _changed(done)
    if changed:
        print_table(
            ["best changes", "from", "to"],
            [(key, f"{done.start.values[key]:g}", f"{done.best.values[key]:g}") for key in changed],
        )
    else:
        say("No trial validated better than the settings as they are.")
    say(f"Next: {command}")


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _whole(trial: Trial, name: str) -> int | None:
    return round(trial.metrics[name]) if name in trial.metrics else None


def _remark(done: Tuned, trial: Trial) -> str:
    words = {
        "best": trial is done.best,
        "as set": trial.number == 0,
        "diverged": trial.score is None,
    }
    return ", ".join(word for word, holds in words.items() if holds)


def _changed(done: Tuned) -> list[str]:
    return [key for key, value in done.best.values.items() if value != done.start.values[key]]


def _next(done: Tuned, paths: Sequence[Path], exclude: Sequence[str]) -> str:
    """What trains the best, in this folder: the settings that it would not have by itself."""
    from lorarec.config import load_settings
    from lorarec.config.writing import overrides
    from lorarec.jobs.tune import SECTIONS

    words = ["lorarec", "pretrain"]
    for option, values in (
        ("--data", paths),
        ("--exclude-domain", exclude),
        ("--set", overrides(done.settings, load_settings(), SECTIONS)),
    ):
        for value in values:
            words += [option, str(value)]
    return shlex.join(words)


def _record(done: Tuned, command: str) -> dict[str, object]:
    return {
        "run": done.run,
        "best": done.best.number,
        "changes": {key: done.best.values[key] for key in _changed(done)},
        "trials": [
            {
                "trial": trial.number,
                "run": trial.run,
                "values": trial.values,
                "metrics": trial.metrics,
                "diverged": trial.score is None,
            }
            for trial in done.trials
        ],
        "next": command,
    }
