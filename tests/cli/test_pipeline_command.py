"""`lorarec pipeline`: tables, JSON and exit codes, through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from plant import DAY, FIRST, OWN, made_logs
from world import SMALL, Ended

Ran = Callable[..., Ended]


@pytest.fixture
def logs(project: Path) -> pl.DataFrame:
    """A project with settings and one file of logs."""
    frame = made_logs()
    (project / "logs").mkdir()
    frame.filter(pl.col("timestamp") < FIRST).write_parquet(project / "logs" / "first.parquet")
    chosen = {**SMALL, **OWN, "pipeline.cron": "0 3 * * *"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in chosen.items()]
    (project / "lorarec.toml").write_text("\n".join(lines) + "\n")
    return frame


def test_before_the_first_time_status_says_how_to_begin(project: Path, ran: Ran) -> None:
    found = ran("pipeline", "status")
    assert found.code == 2
    assert "lorarec pipeline run" in found.err


def test_without_logs_it_says_what_to_set(project: Path, ran: Ran) -> None:
    found = ran("pipeline", "run")
    assert found.code == 2
    assert "pipeline.logs" in found.err


def test_run_and_status(project: Path, logs: pl.DataFrame, ran: Ran) -> None:
    (project / "logs" / "broken.csv").write_text("user,item\n1,2\n")
    assert ran("pipeline", "run").code == 2  # a first data set is made of whole logs or not at all
    (project / "logs" / "broken.csv").unlink()
    found = ran("pipeline", "run", "--json")
    assert found.code == 0, found.err
    assert found.json["resumed"] is False  # nothing of the one that could not begin was done
    assert {row["domain"]: row["verdict"] for row in found.json["domains"]} == {
        "books": "promote",
        "games": "promote",
    }
    page = Path(found.json["page"]).read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "books" in page
    (project / "logs" / "broken.csv").write_text("user,item\n1,2\n")
    found = ran("pipeline", "run")
    assert found.code == 1
    assert "broken.csv" in found.err
    status = ran("pipeline", "status", "--json").json
    assert status["finished"]
    assert status["domains"]["books"]["verdict"] == "promote"
    assert status["domains"]["books"]["recall"] > 0
    assert status["next"].endswith("T03:00:00+00:00")
    table = ran("pipeline", "status")
    assert "promote" in table.out
    assert max(map(len, table.out.splitlines())) <= 100


def test_backfill_sees_each_day_its_own_rows_and_goes_on(
    project: Path, logs: pl.DataFrame, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.write_parquet(project / "logs" / "first.parquet")
    seen: list[int] = []
    from lorarec.pipeline import backfill

    plain = backfill.retrain

    def watching(*arguments: object) -> object:
        found = plain(*arguments)  # type: ignore[arg-type]
        newest = pl.scan_parquet("backfill/prepared/rows/*.parquet").select(pl.max("timestamp"))
        seen.append(int(newest.collect().item()))
        assert seen[-1] <= found.journal.at
        return found

    monkeypatch.setattr(backfill, "retrain", watching)
    command = ("pipeline", "backfill", "--from", "2026-03-01", "--all", "--json")
    found = ran(*command, "--to", "2026-03-01")
    assert found.code == 0, found.err
    found = ran(*command, "--to", "2026-03-02")
    assert found.code == 0, found.err
    assert [day["day"] for day in found.json["days"]] == ["2026-03-01", "2026-03-02"]
    assert len(seen) == 2  # the first day was not played twice
    assert seen[1] - seen[0] < 2 * DAY
    rows = pl.scan_parquet("backfill/prepared/rows/*.parquet").select(pl.len()).collect().item()
    end = pl.lit("2026-03-03").str.to_datetime().dt.epoch("s")
    assert rows == logs.filter(pl.col("timestamp") < end).height
    assert not (project / "retraining").exists()
    assert "<svg" in Path("backfill/retraining/page.html").read_text(encoding="utf-8")


def test_backfill_from_another_day_into_the_same_folder_is_refused(
    project: Path, logs: pl.DataFrame, tmp_path: Path
) -> None:
    from lorarec.config import load_settings
    from lorarec.errors import ConfigError
    from lorarec.pipeline import backfill

    def stopped(*_: object) -> object:
        raise KeyboardInterrupt

    settings, day = load_settings(), date(2026, 2, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backfill, "retrain", stopped)
        for _ in range(2):  # the same day goes on
            with pytest.raises(KeyboardInterrupt):
                backfill.backfill(settings, day, day, tmp_path / "out")
        with pytest.raises(ConfigError, match="go on with --from 2026-02-20"):
            backfill.backfill(settings, date(2026, 2, 21), date(2026, 2, 21), tmp_path / "out")


def test_backfill_before_the_logs_begin_is_refused(
    project: Path, logs: pl.DataFrame, ran: Ran
) -> None:
    found = ran("pipeline", "backfill", "--from", "2001-01-01", "--to", "2001-01-02")
    assert found.code == 2
    assert "they begin on" in found.err
