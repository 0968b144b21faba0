"""The quality benchmark runs, names what it found, and agrees with the commands of the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pages import ROOT

from lorarec.evaluation.metrics import sampled_ndcg_at

NAME = "xmarket_electronics"
DATA = Path(os.environ.get("LORAREC_DATA") or ".").resolve() / NAME
FOUND = bool(os.environ.get("LORAREC_DATA")) and DATA.is_dir()
SCRIPT = ROOT / "benchmarks" / "quality" / "xmarket.py"
ARMS = ("popularity", "ials", "ease", "ease_tuned", "base", "lora", "full")
METRICS = ("ndcg_at_10_sampled", "recall_at_20")
QUICK = (
    "model.dim=16",
    "train.epochs=3",
    "train.threads=1",
    "adapt.epochs=3",
)
"""The settings of --quick, as a user would type them."""

needs_data = pytest.mark.skipif(
    not FOUND, reason=f"LORAREC_DATA is not set or has no folder {NAME}: no real data"
)


def environment(**more: str) -> dict[str, str]:
    """The process's own without settings, and one thread."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LORAREC_", "MLFLOW_"))}
    return {**clean, "OMP_NUM_THREADS": "1", **more}


def finished(*command: str | Path, folder: Path, **more: str) -> str:
    """What a command printed; it must have ended well."""
    found = subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=150
    )
    assert found.returncode == 0, f"{command}\n{found.stdout}{found.stderr}"
    return found.stdout + found.stderr


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of `--quick`: its folder, its screen, its measures by name."""
    folder = tmp_path_factory.mktemp("quick")
    command = (sys.executable, SCRIPT, "--quick", "--json", "found.json", "--work", "work")
    data = os.environ["LORAREC_DATA"]
    screen = finished(*command, folder=folder, LORAREC_DATA=str(Path(data).resolve()))
    rows = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return {
        "folder": folder,
        "command": command,
        "screen": screen,
        "rows": rows,
        "values": {row["name"]: row["value"] for row in rows},
    }


@needs_data
@pytest.mark.timeout(200)
def test_every_promised_name_is_there_once(quick: dict[str, Any]) -> None:
    expected = {f"{m}_{arm}_{metric}" for m in ("jp", "in") for arm in ARMS for metric in METRICS}
    ends = ("", "_low", "_high")
    for rival in ("base", "ials", "ease", "ease_tuned", "full"):
        expected |= {f"mean_lora_minus_{rival}_{m}{end}" for m in METRICS for end in ends}
    for arm in ("lora", "alone_mf", "alone_ease", "alone_ease_tuned"):
        expected |= {f"unseen_jp_{arm}_{metric}" for metric in METRICS}
    for rival in ("alone_mf", "alone_ease", "alone_ease_tuned"):
        expected |= {f"unseen_jp_lora_minus_{rival}_{m}{end}" for m in METRICS for end in ends}
    assert expected - set(quick["values"]) == set()
    assert len(quick["values"]) == len(quick["rows"])
    assert {tuple(row) for row in quick["rows"]} == {("name", "value", "unit", "peer", "ratio")}
    assert all(0 <= quick["values"][f"jp_{arm}_{m}"] <= 1 for arm in ARMS for m in METRICS)


@needs_data
@pytest.mark.timeout(200)
def test_the_screen_names_where_it_ran_and_what_it_left_out(quick: dict[str, Any]) -> None:
    for word in ("machine", "versions", "commit", "Not measured: unseen_de_*"):
        assert word in quick["screen"]


@needs_data
@pytest.mark.timeout(200)
def test_the_difference_is_that_of_the_means(quick: dict[str, Any]) -> None:
    values = quick["values"]
    for metric in METRICS:
        means = [values[f"{m}_lora_{metric}"] - values[f"{m}_ease_{metric}"] for m in ("jp", "in")]
        found = values[f"mean_lora_minus_ease_{metric}"]
        assert found == pytest.approx(np.mean(means), abs=1e-12)
        assert values[f"mean_lora_minus_ease_{metric}_low"] <= found


@needs_data
@pytest.mark.timeout(200)
def test_the_commands_give_what_the_script_measures(quick: dict[str, Any], project: Path) -> None:
    lorarec = Path(sys.executable).parent / "lorarec"
    logs, lists = project / "logs.parquet", DATA / "candidates_ecir23.parquet"
    rows = pl.read_parquet(DATA / "interactions.parquet")
    rows.filter(pl.col("domain").is_in(["jp", "in"])).write_parquet(logs)
    options = [word for setting in QUICK for word in ("--set", setting)]
    split = ("--split", "column", "--set", "data.columns.split=split_ecir23")
    finished(lorarec, "pretrain", "--data", logs, *split, *options, folder=project)
    finished(lorarec, "adapt", "--domain", "jp", "--rank", "8", *options, folder=project)
    pairs = (
        pl.read_parquet(lists)
        .filter((pl.col("domain") == "jp") & (pl.col("split") == "test"))
        .select("user_id", pl.concat_list("pos_item_id", "neg_item_ids").alias("item_id"))
        .explode("item_id")
    )
    pairs.write_parquet(project / "pairs.parquet")
    files = ("--pairs", "pairs.parquet", "--out", "scored.parquet")
    for arm, adapter in (("lora", ()), ("base", ("--adapter", "none"))):
        finished(lorarec, "score", "--domain", "jp", *files, *adapter, folder=project)
        scores = pl.read_parquet(project / "scored.parquet")["score"].to_numpy()
        scores = scores.reshape(-1, 100)
        found = sampled_ndcg_at(scores[:, 0], scores[:, 1:], 10).mean()
        assert found == pytest.approx(quick["values"][f"jp_{arm}_ndcg_at_10_sampled"], abs=1e-6)
