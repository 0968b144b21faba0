"""Preparing logs: rows a second and peak memory from 1M to 50M rows, beside pandas; and appending.

    python benchmarks/data.py [--json FILE] [--quick | --full] [--work DIR]

Every run is a process of its own, so that its peak is its own; ours and the peer's by turns, the
median of three. The logs are made once and kept below the work folder (2.5 GB), what is prepared is
removed again.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import Measures, header, parser, say, table
from benchmarks.made_logs import write_made_logs

SIZES = (1_000_000, 5_000_000, 20_000_000, 50_000_000)
QUICK = (20_000, 100_000, 200_000, 300_000)
PEER_ROWS = 1
"""Place of the peer's rows in the sizes: pandas is measured on 5M."""
TURNS = 3


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    """Of the work, without start and imports, by its own clock."""
    gib: float
    """Most memory it held."""


def spend(command: list[str]) -> Cost:
    """Run a command and say what it cost.

    Raises:
        SystemExit: It failed.
    """
    child = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        say(f"{' '.join(command)} ended with {child.returncode}:\n{said[-2000:]}")
        raise SystemExit(3)
    return Cost(float(said.strip().splitlines()[-1]), used.ru_maxrss / 2**20)


def ours(work: str, logs: Path, folder: Path) -> Cost:
    """`prepare` of logs into a new folder, or `append` of logs to one that is there."""
    if work == "prepare":
        shutil.rmtree(folder, ignore_errors=True)
    return spend([sys.executable, "-m", "benchmarks.data_lorarec", work, str(logs), str(folder)])


def peer(logs: Path, out: Path, *options: str) -> Cost:
    """The same work in pandas."""
    shutil.rmtree(out, ignore_errors=True)
    return spend([sys.executable, "-m", "benchmarks.data_pandas", str(logs), str(out), *options])


def median(costs: list[Cost]) -> Cost:
    """The median of the seconds, and of the peaks."""
    return Cost(
        statistics.median(c.seconds for c in costs), statistics.median(c.gib for c in costs)
    )


def main() -> None:
    """Make logs, run all by turns, print and write what was found."""
    options = parser(__doc__ or "").parse_args()
    sizes = QUICK if options.quick else SIZES
    turns = 1 if options.quick else TURNS
    header("Preparing logs")
    logs = {rows: made(options.work / "made_logs", rows) for rows in sizes}
    extra = made(options.work / "made_logs", sizes[-1] // 100, sizes[-1])
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        costs, added, pandas, objects = measured(logs, extra, Path(folder), turns)
    report(sizes, costs, added, pandas, objects, options.json)


def made(folder: Path, rows: int, first_row: int = 0) -> Path:
    """Logs that were kept, or made now."""
    kept = folder / f"{first_row}-{rows}"
    if not kept.is_dir():
        say(f"making {rows:,} rows")
        part = kept.with_name(f"{kept.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        write_made_logs(part, rows, first_row).rename(kept)
    return kept


def measured(
    logs: dict[int, Path], extra: Path, folder: Path, turns: int
) -> tuple[dict[int, Cost], Cost, Cost, Cost]:
    """Costs of a prepare by rows, of an append to the largest, of pandas in its two ways."""
    prepared: dict[int, list[Cost]] = {rows: [] for rows in logs}
    added, pandas, objects = [], [], []
    peer_logs = logs[list(logs)[PEER_ROWS]]
    for turn in range(turns):
        pandas.append(peer(peer_logs, folder / "pandas"))
        for rows, source in logs.items():
            prepared[rows].append(ours("prepare", source, folder / "ours"))
            say(f"turn {turn + 1}: {rows:,} rows in {prepared[rows][-1].seconds:.1f} s")
        added.append(ours("append", extra, folder / "ours"))
        objects.append(peer(peer_logs, folder / "pandas", "--object"))
    costs = {rows: median(found) for rows, found in prepared.items()}
    return costs, median(added), median(pandas), median(objects)


def report(
    sizes: tuple[int, ...],
    costs: dict[int, Cost],
    added: Cost,
    pandas: Cost,
    objects: Cost,
    file: Path | None,
) -> None:
    """Print the tables and write the measures."""
    most, same = sizes[-1], sizes[PEER_ROWS]
    speed = most / costs[most].seconds
    shown = [_row("lorarec data prepare", rows, costs[rows]) for rows in sizes]
    shown.append(_row("lorarec data append", most // 100, added))
    shown.append(_row("pandas", same, pandas))
    shown.append(_row("pandas, strings as objects", same, objects))
    columns = ("work", "rows", "seconds", "rows/s", "peak GiB")
    table("One process each; median of the seconds, of the peaks", columns, shown)
    measures = Measures()
    for name, cost in (("", pandas), ("_objects", objects)):
        ratio = speed / (same / cost.seconds)
        measures.add(f"prepare_vs_pandas{name}", ratio, "ratio", "pandas", ratio)
    measures.add(f"prepare_{most // 10**6}m_peak_gib", costs[most].gib, "GiB")
    measures.add("append_share", added.seconds / costs[most].seconds, "ratio")
    for rows in sizes:
        measures.add(f"prepare_{rows}_rows_seconds", costs[rows].seconds, "s")
        measures.add(f"prepare_{rows}_rows_gib", costs[rows].gib, "GiB")
    rows = [(m["name"], m["value"], m["unit"]) for m in measures.rows[:4]]
    table("Measures", ("name", "value", "unit"), rows)
    measures.finish(file)


def _row(work: str, rows: int, cost: Cost) -> tuple[object, ...]:
    return (
        work, f"{rows:,}", f"{cost.seconds:.2f}", f"{rows / cost.seconds:,.0f}", f"{cost.gib:.2f}"
    )  # fmt: skip


if __name__ == "__main__":
    main()
