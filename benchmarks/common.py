"""What every benchmark shares: the header, the list of measures, tables, options, kept arms."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CODE = ("lorarec", "benchmarks")
"""Folders whose sources decide what an arm is."""
PACKAGES = (
    "lorarec",
    "torch",
    "numpy",
    "scipy",
    "polars",
    "faiss-cpu",
    "implicit",
    "mlflow",
    "peft",
)
Arrays = dict[str, np.ndarray[Any, Any]]


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the measures to FILE")
    size = made.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small and short: for a test")
    size.add_argument("--full", action="store_true", help="more seeds")
    made.add_argument(
        "--work",
        type=Path,
        default=ROOT / "benchmarks" / ".cache",
        metavar="DIR",
        help="where finished arms are kept  [default: benchmarks/.cache]",
    )
    return made


def say(text: str) -> None:
    """One line for whoever waits, on stderr."""
    print(text, file=sys.stderr, flush=True)


def find_data(name: str) -> Path | None:
    """The folder of a data set below `LORAREC_DATA`, or None where it is not there."""
    found = os.environ.get("LORAREC_DATA", "")
    folder = Path(found).resolve() / name
    return folder if found and folder.is_dir() else None


def data_folder(name: str) -> Path:
    """`find_data`, for a script that is nothing without it.

    Raises:
        SystemExit: It is not there.
    """
    if (folder := find_data(name)) is not None:
        return folder
    found = os.environ.get("LORAREC_DATA", "")
    state = f"is {found!r}, which has no folder {name}" if found else "is not set"
    say(f"LORAREC_DATA {state}. Expected the folder of the data sets, which holds {name}/.")
    raise SystemExit(2)


def _git(*arguments: str) -> str | None:
    try:
        found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def commit() -> str:
    """The commit, and a digest of the sources where they are not the commit's: `8d15a63-1f0c9a2b`.

    Without git it is the digest alone.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    if head and _git("status", "--porcelain", "--", *CODE) == "":
        return head
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return "-".join(part for part in (head, digest.hexdigest()[:8]) if part)


def _versions() -> str:
    found = [f"python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def header(title: str) -> None:
    """Print what is measured, on which machine, with which versions and at which commit."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        size = f", {memory:.0f} GiB"
    except (ValueError, OSError, AttributeError):
        size = ""
    print(title)
    print(f"machine   {_processor()}, {os.cpu_count()} cores{size}, {platform.system()}")
    print(f"versions  {_versions()}")
    print(f"commit    {commit()}", flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    cells = [list(columns)] + [[_shown(value) for value in row] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        parts = [row[0].ljust(widths[0])]
        parts += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(parts))
        if number == 0:
            print("  ".join("-" * width for width in widths))
    sys.stdout.flush()


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@dataclass
class Measures:
    """What a script found, in order: rows of name, value, unit, peer, ratio."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        peer: str | None = None,
        ratio: float | None = None,
    ) -> None:
        """Add a row.

        Args:
            name: Promises what `value` is; no other row may have it.
            value: A finite number.
            unit: Of the value.
            peer: Who it is compared with.
            ratio: The value divided by the peer's.

        Raises:
            ValueError: The name is taken or the value is not finite.
        """
        if any(row["name"] == name for row in self.rows):
            raise ValueError(f"The measure {name!r} is already there. Expected each name once.")
        if not np.isfinite(value):
            raise ValueError(f"The measure {name!r} is {value}. Expected a finite number.")
        row = {"name": name, "value": float(value), "unit": unit, "peer": peer, "ratio": ratio}
        self.rows.append(row)

    def leave_out(self, names: str, why: str) -> None:
        """Name what was not measured; a `*` stands for anything."""
        self.missing.append(f"{names}: {why}")

    def finish(self, file: Path | None) -> None:
        """Name on screen what was not measured and write the list."""
        for line in self.missing:
            print(f"Not measured: {line}")
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.rows, indent=1, allow_nan=False)
            file.write_text(f"{text}\n", encoding="utf-8")
            print(f"{len(self.rows)} measures in {file}")


@dataclass(frozen=True)
class Cache:
    """Finished arms, one file each, below a folder of their commit.

    Attributes:
        folder: Of this commit; made when needed.
        arguments: What all arms share, such as the digest of the data.
    """

    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Path, script: str, **arguments: Any) -> Cache:
        """The cache of a script at the present commit."""
        return cls(work.resolve() / script / commit(), arguments)

    def arm(self, name: str, make: Callable[[], Mapping[str, Any]], **arguments: Any) -> Arrays:
        """An arm that was kept, or made now and kept.

        Args:
            name: Of the arm, for the file and the screen.
            make: Returns arrays, numbers or strings by name.
            **arguments: All that decides what is made.
        """
        key = json.dumps({**self.arguments, **arguments}, sort_keys=True, default=str)
        digest = hashlib.sha256(f"{name} {key}".encode()).hexdigest()[:12]
        path = self.folder / f"{name}-{digest}.npz"
        if path.exists():
            say(f"{name}: kept")
        else:
            started = time.perf_counter()
            found = {key: np.asarray(value) for key, value in make().items()}
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **found)
            part.replace(path)
            say(f"{name}: {time.perf_counter() - started:.1f} s")
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
