"""The peer of benchmarks/data.py: the work of `lorarec data prepare`, in pandas, in memory.

python -m benchmarks.data_pandas LOGS OUT [--object]    prints its seconds

The same rules are checked, the same numbers given, the same cut-offs found, parts, cold ids and
domains counted, and the rows written sorted by domain in files of the same size. `--object` keeps
strings as Python objects, as pandas did by default before version 3.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

IDS = {"user_id": "user", "item_id": "item", "domain": "domain"}
SHARD = 1 << 21


def prepare(logs: Path, out: Path) -> None:
    """Read, check, number, cut, count and write."""
    (out / "rows").mkdir(parents=True)
    files = sorted(logs.glob("*.parquet"))
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    frame = frame[~broken(frame)]
    columns = {}
    for name, own in IDS.items():
        columns[own], ids = pd.factorize(frame[name])
        pd.DataFrame({"id": ids}).to_parquet(out / f"{own}.parquet", compression="zstd")
    rows = pd.DataFrame(columns).astype({"user": "uint32", "item": "uint32", "domain": "uint16"})
    rows["timestamp"], rows["rating"] = frame["timestamp"], frame["rating"]
    ordered = np.sort(rows["timestamp"].to_numpy())
    t_valid, t_test = ordered[int(len(rows) * 0.8)], ordered[int(len(rows) * 0.9)]
    parts = counted(rows, t_valid, t_test)
    domains = rows.groupby("domain")["timestamp"].agg(["size", "min", "max"])
    rows = rows.sort_values("domain", kind="stable")
    written = []
    for start in range(0, len(rows), SHARD):
        path = out / "rows" / f"{start:09d}.parquet"
        shard = rows.iloc[start : start + SHARD]
        shard.to_parquet(path, compression="zstd", row_group_size=1 << 17, index=False)
        written.append(hashlib.sha256(path.read_bytes()).hexdigest())
    found = {"parts": parts, "domains": domains.to_dict(), "files": written, "logs": digests}
    (out / "manifest.json").write_text(json.dumps(found, default=int))


def broken(frame: pd.DataFrame) -> pd.Series:
    """Rows that break the column contract."""
    bad = pd.Series(False, index=frame.index)
    for name in IDS:
        bad |= frame[name].isna() | (frame[name].str.strip() == "")
    bad |= frame["timestamp"].isna() | (frame["timestamp"] < 0) | (frame["timestamp"] > 1e11)
    return bad | ~np.isfinite(frame["rating"]) | (frame["rating"] < 0)


def counted(rows: pd.DataFrame, t_valid: int, t_test: int) -> dict[str, list[int]]:
    """Rows, users, items, cold users, cold items, first and last second of each part."""
    time = rows["timestamp"]
    inside = {"train": time < t_valid, "valid": (time >= t_valid) & (time < t_test)}
    inside["test"] = time >= t_test
    found, train = {}, rows[inside["train"]]
    known = train["user"].unique(), train["item"].unique()
    for name, mask in inside.items():
        part = rows[mask]
        users, items = part["user"].unique(), part["item"].unique()
        cold = [int((~np.isin(a, b)).sum()) for a, b in zip((users, items), known, strict=True)]
        seconds = [int(part["timestamp"].min()), int(part["timestamp"].max())]
        found[name] = [len(part), len(users), len(items), *cold, *seconds]
    return found


if __name__ == "__main__":
    if "--object" in sys.argv:
        pd.set_option("future.infer_string", False)
    started = time.perf_counter()
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.perf_counter() - started)
