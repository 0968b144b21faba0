"""Search a base's settings by validation: trials as nested runs, the settings as they are first.

The runs in MLflow are the search's only memory. Optuna draws what to try next and keeps nothing:
it is told each time what the runs hold, so there is no second file to be lost, to be moved, or to
say otherwise than MLflow does.

No base is kept. Most would be of no use, and the one that is wanted comes out of `pretrain` with
the values found here, the same to the bit on the CPU, as a run that later commands find. Nor is a
trial ended early for being behind others: a small step begins slowly and may still end ahead.
Early stopping (`train.patience`) judges each trial by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.config.writing import toml_text
from lorarec.errors import ConfigError, DivergedError, NotFoundError
from lorarec.jobs.checkpointing import deciding
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.reading import read_split_logs
from lorarec.jobs.sides import read_sides
from lorarec.jobs.space import Space, proposed
from lorarec.jobs.trials import Arena, Trial, ranked, recorded_trials
from lorarec.storage import read_json, sha256_bytes
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import find_run, resolve, runs_of
from lorarec.tracking.runs import Run, standard_tags
from lorarec.tracking.store import Store
from lorarec.training.checkpoint import differences
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.loop import STOP_METRIC

MODELS = ("mf", "two-tower")
NEWEST = "newest"
"""What `resume` is where no run is named."""
SECTIONS = ("data", "model", "features", "train")
"""What `pretrain` reads."""
RECIPE, BEST = "search.json", "best.toml"
Recipe = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class Tuned:
    """What `tune` found."""

    run: str
    """`runs:/<id>`, with the trials' runs under it."""
    trials: list[Trial]
    """Best first; diverged ones last."""
    start: Trial
    """The settings as they are."""
    settings: Settings
    """With the values of the best."""

    @property
    def best(self) -> Trial:
        """The one with the highest nDCG on validation; of equals the earliest."""
        return self.trials[0]


def tune(
    settings: Settings,
    paths: Sequence[Path],
    store: Store,
    exclude: Sequence[str] = (),
    listen: Listener = SILENT,
    resume: str | None = None,
) -> Tuned:
    """Train bases at different settings and record which validates best.

    The logs are read and split once, and the test rows leave before the first trial. A trial that
    diverges is recorded and passed over; any other error ends the search, which can go on later.
    One process at a time works on a search.

    Args:
        settings: Its sections `data`, `model`, `features`, `train`, and `tune`: what varies.
        paths: Files or folders of logs.
        store: Where the runs go.
        exclude: Domains kept out of every trial.
        listen: Takes words and progress.
        resume: Go on with a search: `newest`, or its run. More trials may be asked for than then.

    Raises:
        ConfigError: Nothing varies, the model is none that is searched, or the search to go on
            with was of other logs, settings or ranges.
        DataError: As `pretrain`, or there is nothing to validate on.
        NotFoundError: An excluded domain, or the search to go on with, is not there.
        DivergedError: All trials diverged.
    """
    if settings.model.name not in MODELS:
        raise ConfigError(
            f"The settings of the model {settings.model.name!r} are not searched. Expected "
            f"--model {' or '.join(MODELS)}."
        )
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    space = Space.of(settings)
    tables = read_sides(settings)
    logs = read_split_logs(settings, paths, exclude, listen)
    recipe = _recipe(settings, deciding(settings, logs.source, logs.split, exclude, tables))
    found = None if resume is None else _to_resume(store, resume, recipe, listen)
    arena = Arena.of(settings, logs, tables, device, listen)
    tags = standard_tags(
        data_digest=logs.source.digest,
        split=logs.split.used,
        cutoff=logs.split.t_test,
        device=device,
        recipe=_digest(recipe),
    )
    name = f"tune-{settings.model.name}"
    recording = (
        store.run(name, "tune", params=settings.flat(), tags=tags, config=settings.model_dump())
        if found is None
        else store.resumed(found.run_id)
    )
    done: dict[int, Trial] = {}
    with recording as run:
        try:
            if found is None:
                run.log_inputs(read_logs(logs.source))
                run.log_json(RECIPE, recipe)
            else:
                done = recorded_trials(store, run.id, space.start)
            trials = _search(arena, space, store, run, done, listen)
        except BaseException:
            listen.say(
                f"{len(done)} of {settings.tune.trials} trials are recorded in {run.uri}. To go "
                f"on, run the same command with --resume."
            )
            raise
        best = ranked(trials)[0]
        if best.score is None:
            raise DivergedError(
                f"All {len(trials)} trials diverged. Expected some to end in finite numbers; begin "
                f"at a smaller step and search around it, such as --set train.learning_rate=0.001 "
                f"--set tune.learning_rate=0.0001,0.01"
            )
        chosen = settings.with_options(best.values)
        run.log_text(BEST, toml_text(chosen, SECTIONS))
    return Tuned(run.uri, ranked(trials), trials[0], chosen)


def _search(
    arena: Arena,
    space: Space,
    store: Store,
    run: Run,
    done: dict[int, Trial],
    listen: Listener,
) -> list[Trial]:
    """Run the trials that are not done yet, each noted in `done`, and return all in order."""
    trials: list[Trial] = []
    asked = arena.settings.tune.trials
    for number in range(asked):
        if number not in done:
            before = [(trial.values, trial.score) for trial in trials]
            values = proposed(space, before, arena.settings.train.seed)
            if values is None:
                listen.say(f"All {number} combinations were tried: fewer than {asked} trials.")
                break
            done[number] = arena.run(number, values, store, run.id, listen)
            _note(run, [*trials, done[number]], listen)
        trials.append(done[number])
    return trials


def _note(run: Run, trials: list[Trial], listen: Listener) -> None:
    """Record on the search's own run what is the best so far, and say how the last one did."""
    best, last = ranked(trials)[0], trials[-1]
    if best.score is None or last.score is None:
        return
    values = {f"best/{key}": float(value) for key, value in best.values.items()}
    metrics = {key: value for key, value in best.metrics.items() if key.startswith("valid_")}
    run.log_metrics({"best_trial": best.number, **metrics, **values}, step=last.number)
    run.flush()
    shown = ", ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in last.values.items())
    listen.say(
        f"Trial {last.number}: {STOP_METRIC} {last.score:.4f} with {shown}. "
        f"Best: {best.score:.4f}, trial {best.number}."
    )


def _recipe(settings: Settings, config: Recipe) -> Recipe:
    """All that decides which trials there are and how they end, but not how many."""
    ranges = {
        key: value
        for key, value in settings.flat().items()
        if key.startswith("tune.") and key != "tune.trials"
    }
    return config | ranges


def _digest(recipe: Recipe) -> str:
    return sha256_bytes(json.dumps(recipe, sort_keys=True).encode())[:16]


def _to_resume(store: Store, resume: str, recipe: Recipe, listen: Listener) -> RunInfo | None:
    """The search to go on with; None where none was named and there is none."""
    wanted = _digest(recipe)
    if resume == NEWEST:
        searches = list(runs_of(store, "tune"))
        same = [info for info in searches if info.tag("recipe") == wanted]
        found = next(iter([*same, *searches]), None)
        if found is None:
            listen.say("There is no search to go on with: it begins with trial 0.")
            return None
    else:
        found = find_run(store, resume.removeprefix("runs:/"))
        if found.kind != "tune":
            raise NotFoundError(
                f"The run {found.run_id} is of the kind {found.kind!r}. Expected one of `tune`; "
                f"see: lorarec runs"
            )
    if found.tag("recipe") != wanted:
        raise ConfigError(
            f"The search {found.uri} was made otherwise{_otherwise(store, found, recipe)}. "
            f"Expected the same logs, split, settings and [tune]; set them back, or begin a search "
            f"of its own without --resume."
        )
    listen.say(f"Going on with the search {found.uri}.")
    return found


def _otherwise(store: Store, found: RunInfo, recipe: Recipe) -> str:
    """Which settings differ, where the search came as far as to record them."""
    try:
        path, _ = resolve(store, f"{found.uri}/{RECIPE}", "source")
    except NotFoundError:
        return ""
    return f" {differences(recipe, read_json(path)) or ''}".rstrip()
