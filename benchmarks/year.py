"""When adapters alone suffice and when a base is due: days of retraining by several policies.

    python benchmarks/year.py [--json FILE] [--quick | --full] [--work DIR]

The made world, in which taste drifts and users and items come each day, is played through by
`lorarec.pipeline.backfill`, a retraining at the end of each day: 60 days of 20 domains, or 360 with
--full. The policies:

- `base`: one base at the beginning, and no adapter.
- `adapters`: one base at the beginning, and each day every domain's adapter goes on.
- `weekly`: each week a new base and every adapter brought to it; nothing in between.
- `both`: that, and each day in between every adapter goes on.

After each retraining what serves ranks each domain's catalogue for the users of the next day, whose
rows nothing has seen; all policies have the same users and items. Means are over domains, intervals
are bootstrapped over users within each. CPU seconds are of the retrainings alone, bytes those of
adapters and bases. A base is due from the first of three days in a row on which the whole interval
of `both` minus `adapters` lies above 0.

Two policies run side by side, each by a process of one thread; one that was finished is kept in
--work, and its folder `year` gets the pictures.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import Arrays, Cache, Measures, file_digest, header, parser, say, table
from benchmarks.year_policies import POLICIES, SETTINGS, WEEK, Plan, play
from lorarec.data.synthetic import make_logs
from lorarec.evaluation.significance import Interval, mean_over_domains
from lorarec.report.over_time import over_time
from lorarec.tracking.database import make_database

START = date(2026, 1, 1)
SHOWN = ("base", "adapters", "weekly", "both")
IN_A_ROW = 3
ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
MIB = 2**20


def made_plan(folder: Path, quick: bool, full: bool) -> Plan:
    """The world and its days, written to a folder."""
    if quick:
        names, before, days, daily, users, items = 2, 20, 3, 45, 120, 90
    else:
        names, before, days, daily, users, items = 20, 30, 360 if full else 60, 200, 4000, 2000
    domains = [f"domain-{number:02d}" for number in range(names)]
    window = before + days + 1  # the last retraining is judged on a day more
    logs = make_logs(domains, users, items, names * daily * window, days=window, start=START)
    logs.write_parquet(folder / "logs.parquet")
    make_database(folder / "empty.db")
    first, week = START + timedelta(days=before - 1), 2 if quick else WEEK
    more = {"model.dim": 8, "train.epochs": 2, "adapt.epochs": 1, "adapt.rank": 2} if quick else {}
    return Plan(folder / "logs.parquet", first, days, folder / "empty.db", week, more)


def play_all(plan: Plan, cache: Cache, work: Path) -> dict[str, Arrays]:
    """Every policy, two at a time, each by a process of one thread."""
    os.environ.update(ONE_THREAD)  # the processes read it as they begin
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        begun = {name: pool.submit(play, cache, name, plan, work) for name in POLICIES}
        found = {name: future.result() for name, future in begun.items()}
    for name in SHOWN:
        for key in ("day", "domain"):  # the same users, or nothing here is paired
            assert np.array_equal(found[name][key], found["base"][key]), (name, key)
    return {name: found[name] for name in SHOWN}


def by_domain(found: Arrays, other: Arrays, days: Sequence[int]) -> list[np.ndarray]:
    """Recall of one policy less another's, by domain, of each user of some days."""
    chosen = np.isin(found["day"], days)
    less = (found["recall"] - other["recall"])[chosen]
    domain = found["domain"][chosen]
    return [less[domain == name] for name in np.unique(domain)]


def gained(found: Arrays, other: Arrays, days: Sequence[int]) -> Interval:
    """Mean over domains of one policy's recall less another's, with its interval."""
    return mean_over_domains(by_domain(found, other, days))


def recall_on(found: Arrays, days: Sequence[int]) -> float:
    """Mean recall over the domains, of users of some days."""
    nothing = {"recall": np.zeros_like(found["recall"])}
    return float(np.mean([each.mean() for each in by_domain(found, nothing, days)]))


def due_from(above: Sequence[bool], in_a_row: int = IN_A_ROW) -> int | None:
    """Place of the first of so many that hold in a row; None where there are none."""
    for place in range(len(above) - in_a_row + 1):
        if all(above[place : place + in_a_row]):
            return place
    return None


def draw(plan: Plan, found: dict[str, Arrays], folder: Path) -> None:
    """Recall and CPU seconds over time, rings where a base was made."""
    folder.mkdir(parents=True, exist_ok=True)
    zero = (plan.first - date(1970, 1, 1)).days
    recall = {
        name: [(float(zero + day), recall_on(own, [day])) for day in range(plan.days)]
        for name, own in found.items()
    }
    spent = {
        name: [(float(zero + day), float(cpu)) for day, cpu in enumerate(np.cumsum(own["cpu"]))]
        for name, own in found.items()
    }
    for file, label, lines in (
        ("recall.png", "recall@20 on the next day", recall),
        ("cpu.png", "CPU seconds since the first day", spent),
    ):
        marks = {
            name: [point for point, new in zip(points, found[name]["bases"], strict=True) if new]
            for name, points in lines.items()
        }
        over_time(lines, label, marks).savefig(folder / file)
        print(f"Picture: {folder / file}")


def show_weeks(plan: Plan, found: dict[str, Arrays]) -> None:
    """Recall by week, a user of several days counted on each."""
    rows = []
    for begin in range(0, plan.days, plan.week):
        days = range(begin, min(begin + plan.week, plan.days))
        more = gained(found["both"], found["adapters"], days)
        cells = [recall_on(own, days) for own in found.values()]
        shown = f"{more.mean:+.4f} [{more.low:+.4f}, {more.high:+.4f}]"
        rows.append((f"{days[0] + 1} to {days[-1] + 1}", *cells, shown))
    columns = ("days", *SHOWN, "both minus adapters")
    table("recall@20 on the next day's rows", columns, rows)


def show_totals(plan: Plan, found: dict[str, Arrays], measures: Measures) -> None:
    """What each policy reached, and what it took."""
    rows = []
    for name, own in found.items():
        recall = recall_on(own, range(plan.days))
        sums = {key: float(own[key].sum()) for key in ("cpu", "seconds", "bytes", "failed")}
        took = [f"{sums['cpu']:.1f}", f"{sums['seconds']:.1f}", f"{sums['bytes'] / MIB:.1f}"]
        counts = [int(own[key].sum()) for key in ("bases", "adapters", "promoted", "failed")]
        rows.append((name, recall, *took, *counts))
        measures.add(f"year_recall_{name}", recall, "recall@20")
        measures.add(f"year_cpu_seconds_{name}", sums["cpu"], "s")
        measures.add(f"year_bytes_{name}", sums["bytes"], "bytes")
        measures.add(f"year_failed_{name}", sums["failed"], "steps")
    took_columns = ("CPU s", "wall s", "MiB", "bases", "adapters", "promoted", "failed")
    table(f"All {plan.days} days", ("policy", "recall@20", *took_columns), rows)


def tell_due(plan: Plan, found: dict[str, Arrays], measures: Measures) -> None:
    """The day from which a base is due, or that it is not."""
    above = [gained(found["both"], found["adapters"], [d]).low > 0 for d in range(plan.days)]
    due = due_from(above)
    measures.add("year_days", plan.days, "days")
    if due is None:
        print(f"\nBy this rule no base is due within {plan.days} days.")
        measures.leave_out("year_base_due_day", "none is due that early")
        return
    day = plan.first + timedelta(days=due)
    print(f"\nA base is due from day {due + 1}, {day}: adapters alone suffice until then.")
    measures.add("year_base_due_day", due + 1, "day")


def main() -> None:
    options = parser(__doc__.splitlines()[0]).parse_args()
    header("A year of retraining, made world")
    began, measures = time.perf_counter(), Measures()
    own = options.work.resolve() / "year"
    own.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=own, prefix="logs-") as folder:
        plan = made_plan(Path(folder), options.quick, options.full)
        say(f"{plan.days} days from {plan.first}, {len(POLICIES)} policies")
        chosen = {**SETTINGS, **plan.more, "days": plan.days, "week": plan.week}
        cache = Cache.of(options.work, "year", logs=file_digest(plan.logs), **chosen)
        found = play_all(plan, cache, own)
    show_weeks(plan, found)
    show_totals(plan, found, measures)
    tell_due(plan, found, measures)
    draw(plan, found, own)
    measures.add("year_wall_seconds", time.perf_counter() - began, "s")
    measures.finish(options.json)


if __name__ == "__main__":
    main()
