"""The main job through the installed command: logs in, a base, an adapter, a comparison, scores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
from world import World

LORAREC = str(Path(sys.executable).parent / "lorarec")


def lorarec(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The binary in the working directory, with a variable set that commands ignore."""
    environ = {**os.environ, "LORAREC_DATA": "/nowhere/at/all", "OMP_NUM_THREADS": "1"}
    found = subprocess.run([LORAREC, *arguments], env=environ, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found


def test_a_project_goes_from_logs_to_scores(project: Path, world_template: World) -> None:
    for name in ("logs.parquet", "lorarec.toml"):
        shutil.copy(world_template.folder / name, project / name)
    base = json.loads(lorarec("pretrain", "--data", "logs.parquet", "--json").stdout)
    assert base["base_digest"] == world_template.load(world_template.base).digest

    made = lorarec("adapt", "--domain", "books", "--rank", "2", "--json")
    adapter = json.loads(made.stdout)
    assert adapter["base_digest"] == base["base_digest"]
    assert f"Base: {base['run']}" in made.stderr

    compared = lorarec("evaluate", "--domain", "books", "--json")
    found = json.loads(compared.stdout)
    assert [row["arm"] for row in found["table"]] == ["popularity", "base", "lora", "full"]
    assert f"Adapter: {adapter['run']}" in compared.stderr

    (project / "pairs.csv").write_text("user_id,item_id\nu00057,i00005\nnobody,nothing\n")
    lorarec("score", "--domain", "books", "--pairs", "pairs.csv", "--out", "scored.csv")
    scored = pl.read_csv(project / "scored.csv")
    assert scored["user_id"].to_list() == ["u00057", "nobody"]
    assert scored["score"].is_finite().all()
    assert sorted(path.name for path in project.iterdir()) == [
        "logs.parquet", "lorarec.toml", "mlruns", "pairs.csv", "scored.csv",
    ]  # fmt: skip
