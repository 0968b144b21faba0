"""Speed of full-ranking evaluation on one CPU thread: users a second beside three peers.

    python benchmarks/evaluation.py [--json FILE] [--quick | --full]
        [--rectools-python PATH] [--lenskit-python PATH]

Gowalla's 29,858 users by 40,981 items: recall and nDCG at 10, 20 and 50 with what a user has had
taken out, from the same float32 factors (64 of implicit's ALS), seen and held-out items in memory
to the means; the building of an index is counted, the conversion of data to a peer's form is not.
Means must agree, else the script ends with an error. implicit's `ranking_metrics_at_k` has one cut
a call and no recall: it is given the one call at 50. RecTools and LensKit run in environments of
their own, named by the options; LensKit, which goes user by user, for a part of the users.

`gemm_share` is the time of a bare `torch.mm` of the same users, 512 at a time, with the whole
catalogue, its result written over and over, divided by ours for everything. The last table is made
data of MovieLens-20M's shape, d = 128 and k = 100. Times are the processor's, the median of the
rounds, so that other work on the machine counts for little.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything opens its pool of threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_matrix

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import Arrays, Cache, Measures, find_data, header, parser, say, table
from lorarec.evaluation.metrics import METRICS, HeldOut, Hits, match, metric_key
from lorarec.jobs.implicit_base import one_blas_thread
from lorarec.retrieval.index import ExactIndex

CUTS = (10, 20, 50)
SHOWN = ("recall", "recall_min", "ndcg")
BLOCK = 512
"""Users of one bare product."""
MADE = {"users": 138_493, "items": 26_744, "rows": 20_000_263, "dim": 128, "k": 100}
"""MovieLens-20M's shape."""
AGREE = 1e-4
"""Of the means: peers settle near-ties in float32, each in its way."""


def gowalla(folder: Path, cache: Cache) -> Arrays:
    """Pairs of train and test, and factors of implicit's ALS on train."""

    def make() -> Arrays:
        from implicit.als import AlternatingLeastSquares

        rows = pl.read_parquet(folder / "interactions.parquet").with_columns(
            pl.col("user_id", "item_id").cast(pl.Int64)
        )
        pairs = {}
        for name, part in (("seen", "train"), ("held", "test")):
            own = rows.filter(split=part)
            pairs |= {f"{name}_user": own["user_id"], f"{name}_item": own["item_id"]}
        arrays = {key: column.to_numpy() for key, column in pairs.items()}
        shape = (int(rows["user_id"].max()) + 1, int(rows["item_id"].max()) + 1)
        model = AlternatingLeastSquares(
            factors=64,
            regularization=0.05,
            alpha=10.0,
            iterations=5,
            num_threads=1,
            random_state=0,
            use_gpu=False,
        )
        with one_blas_thread():
            model.fit(_matrix(arrays, "seen", shape), show_progress=False)
        return {**arrays, "users": model.user_factors, "items": model.item_factors}

    return cache.arm("gowalla-als", make)


def made(seed: int, users: int, items: int, rows: int, dim: int) -> Arrays:
    """Normal factors, seen items by a power law, ten held-out items a user."""
    rng = np.random.default_rng(seed)
    activity = rng.pareto(1.4, users) + 0.3
    counts = np.minimum(activity / activity.sum() * rows, items // 4).astype(np.int64)
    popular = np.arange(1, items + 1) ** -0.8
    each = np.arange(items)  # every item has a row: LensKit knows no other
    return {
        "users": rng.normal(size=(users, dim)).astype(np.float32),
        "items": rng.normal(size=(items, dim)).astype(np.float32),
        "seen_user": np.concatenate([each % users, np.repeat(np.arange(users), counts)]),
        "seen_item": np.concatenate(
            [each, rng.choice(items, int(counts.sum()), p=popular / popular.sum())]
        ),
        "held_user": np.repeat(np.arange(users), 10),
        "held_item": rng.integers(0, items, users * 10),
    }


def _matrix(arrays: Arrays, name: str, shape: tuple[int, int]) -> csr_matrix:
    places = (arrays[f"{name}_user"], arrays[f"{name}_item"])
    found = csr_matrix((np.ones(len(places[0]), np.float32), places), shape=shape)
    found.sum_duplicates()
    return found


class Task:
    """One evaluation, ready in our form: factors, seen and held-out items in memory."""

    def __init__(self, arrays: Arrays, cuts: tuple[int, ...]) -> None:
        self.users, self.items, self.cuts = arrays["users"], arrays["items"], cuts
        shape = (len(self.users), len(self.items))
        self.seen, self.held = (_matrix(arrays, name, shape) for name in ("seen", "held"))
        pairs = (arrays["held_user"], arrays["held_item"])
        self.held_out = HeldOut.from_pairs(*pairs, len(self.users))

    def ours(self) -> Hits:
        """Index, search, hits and every metric of every user."""
        ranked, _ = ExactIndex(self.items).search(self.users, max(self.cuts), self.seen)
        hits = match(ranked, self.held_out)
        for metric in ("recall", "ndcg"):
            for k in self.cuts:
                np.nanmean(METRICS[metric](hits, k))
        return hits

    def product(self) -> None:
        """The bare product."""
        users, items = torch.from_numpy(self.users), torch.from_numpy(self.items).T
        out = torch.empty(BLOCK, items.shape[1])
        for block in users.split(BLOCK):
            torch.mm(block, items, out=out[: len(block)])

    def implicit(self) -> dict[str, float]:
        """`ranking_metrics_at_k` of a model that has our factors."""
        from implicit.cpu.als import AlternatingLeastSquares
        from implicit.evaluation import ranking_metrics_at_k

        model = AlternatingLeastSquares(factors=self.users.shape[1], num_threads=1)
        model.user_factors, model.item_factors = self.users, self.items
        found: dict[str, float] = ranking_metrics_at_k(
            model, self.seen, self.held, K=max(self.cuts), show_progress=False, num_threads=1
        )
        return found


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor, and what was returned."""
    started = time.process_time()
    found = run()
    return time.process_time() - started, found


def in_turns(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, Any]]:
    """Median seconds of each, taken in turns, and what the last round returned."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    last = {}
    for number in range(rounds):
        for name, run in runs.items():
            took, last[name] = timed(run)
            seconds[name].append(took)
            say(f"round {number + 1} of {rounds}: {name} {took:.2f} s")
    return {name: (statistics.median(own), last[name]) for name, own in seconds.items()}


def means(hits: Hits, users: int | None = None) -> dict[str, float]:
    """Means over the first users that have held-out items; None is all."""
    chosen = np.flatnonzero(hits.sizes > 0)[:users]
    return {
        metric_key(metric, k): float(METRICS[metric](hits, k)[chosen].mean())
        for metric in SHOWN
        for k in CUTS
    }


def agree(peer: str, theirs: dict[str, float], ours: dict[str, float]) -> None:
    """End with an error where a peer's means are not ours."""
    apart = {key: (value, ours[key]) for key, value in theirs.items()}
    apart = {key: pair for key, pair in apart.items() if abs(pair[0] - pair[1]) > AGREE}
    if apart:
        say(f"{peer} and lorarec found other means (theirs, ours): {apart}. Expected the same.")
        raise SystemExit(1)


def implicit_means(hits: Hits, k: int) -> dict[str, float]:
    """What implicit calls precision and nDCG: hits over Σ min(k, |H|); a mean over users."""
    held = hits.sizes > 0
    possible = np.minimum(hits.sizes[held], k).sum()
    ndcg = METRICS["ndcg"](hits, k)[held].mean()
    return {"precision": float(hits.top(k)[held].sum() / possible), "ndcg": float(ndcg)}


def peer(name: str, python: Path, arrays: Arrays, rounds: int) -> dict[str, Any]:
    """A peer in its own environment."""
    script = Path(__file__).with_name("evaluation_peers.py")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        np.savez(path, **arrays)
        done = subprocess.run(
            [str(python), str(script), name, str(path), str(rounds)],
            capture_output=True,
            text=True,
            env={**os.environ, "LK_NUM_THREADS": "1", "LK_NUM_BACKEND_THREADS": "1"},
        )
    if done.returncode:
        say(f"{name} did not run in {python}:\n{done.stderr[-2000:]}")
        raise SystemExit(2)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"{name}: {[round(s, 2) for s in found['seconds']]} s for {found['users']} users")
    return found


def on_gowalla(
    arrays: Arrays, rounds: int, pythons: dict[str, Path | None], measures: Measures
) -> None:
    """All peers on the same arrays."""
    task = Task(arrays, CUTS)
    runs: dict[str, Callable[[], Any]] = {
        "lorarec": task.ours,
        "torch.mm": task.product,
        "implicit": task.implicit,
    }
    found = in_turns(runs, rounds)
    hits: Hits = found["lorarec"][1]
    theirs = {k: found["implicit"][1][k] for k in ("precision", "ndcg")}
    agree("implicit", theirs, implicit_means(hits, max(CUTS)))
    users = len(task.users)
    speed = {name: users / seconds for name, (seconds, _) in found.items()}
    for name, python in pythons.items():
        if python is None:
            why = f"no environment was named; --{name}-python PATH names one that has it"
            measures.leave_out(f"users_vs_{name}", why)
            continue
        own = peer(name, python, arrays, rounds)
        agree(name, own["metrics"], means(hits, own["users"]))
        speed[name] = own["users"] / statistics.median(own["seconds"])
    ours = speed["lorarec"]
    table(
        f"Full ranking, {users:,} users x {len(task.items):,} items, d = {task.users.shape[1]}",
        ["who", "users a second", "lorarec is"],
        [(name, round(own), f"{ours / own:.1f}x") for name, own in speed.items()],
    )
    table(
        "What all of them found",
        ["metric", *(f"@{k}" for k in CUTS)],
        [(m, *(means(hits)[metric_key(m, k)] for k in CUTS)) for m in SHOWN],
    )
    measures.add("evaluation_users_per_s", ours, "users/s")
    for name in ("implicit", "rectools", "lenskit"):
        if name in speed:
            ratio = ours / speed[name]
            measures.add(f"users_vs_{name}", ratio, "ratio", name, ratio)
    share = found["torch.mm"][0] / found["lorarec"][0]
    measures.add("gemm_share", share, "ratio", "bare torch.mm", share)


def on_made(quick: bool, rounds: int, measures: Measures) -> None:
    """Users a second, and the share of the product, of made data."""
    cut = 50 if quick else 1
    users, rows = MADE["users"] // cut, MADE["rows"] // cut
    arrays = made(0, users, MADE["items"], rows, MADE["dim"])
    task = Task(arrays, (MADE["k"],))
    del arrays
    found = in_turns({"lorarec": task.ours, "torch.mm": task.product}, rounds)
    ours, bare = found["lorarec"][0], found["torch.mm"][0]
    rate = 2 * users * MADE["items"] * MADE["dim"] / bare / 1e9
    table(
        f"Made data, {users:,} users x {MADE['items']:,} items, d = {MADE['dim']}, k = {MADE['k']}",
        ["users a second", "bare product, GFLOP/s", "share of it"],
        [(str(round(users / ours)), round(rate), bare / ours)],
    )
    measures.add("made_users_per_s", users / ours, "users/s")
    measures.add("made_gemm_share", bare / ours, "ratio", "bare torch.mm", bare / ours)


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__.splitlines()[0])
    for name in ("rectools", "lenskit"):
        options.add_argument(f"--{name}-python", type=Path, metavar="PATH")
    given = options.parse_args()
    torch.set_num_threads(1)
    header("Evaluation speed, one thread")
    measures = Measures()
    folder = find_data("gowalla_m1")
    pythons = {"rectools": given.rectools_python, "lenskit": given.lenskit_python}
    if given.quick:
        on_gowalla(made(1, 300, 2000, 6000, 16), 1, pythons, measures)
    elif folder is None:
        names = "evaluation_users_per_s, users_vs_*, gemm_share"
        measures.leave_out(names, "LORAREC_DATA has no folder gowalla_m1")
    else:
        arrays = gowalla(folder, Cache.of(given.work, "evaluation"))
        on_gowalla(arrays, 9 if given.full else 5, pythons, measures)
    on_made(given.quick, 1 if given.quick else 3, measures)
    measures.finish(given.json)


if __name__ == "__main__":
    main()
