"""`lorarec runs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorarec.cli.main import _run
from lorarec.config import Settings
from lorarec.tracking import open_store, standard_tags

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def recorded(project: Path, settings: Settings) -> list[str]:
    """Ids of a base and of an adapter, in that order."""
    store = open_store(settings.tracking)
    with store.run("pretrain-mf", "pretrain") as base:
        base.log_metrics({"valid_recall_at_20": 0.125})
    tags = standard_tags(domain="books", rank=8)
    with store.run("adapt-books-r8", "adapt", tags=tags) as adapter:
        adapter.log_metrics({"valid_recall_at_20": 0.25, "test_recall_at_20": 0.5})
    return [base.id, adapter.id]


def test_a_table_newest_first(recorded: list[str], capsys: Captured) -> None:
    assert _run(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "domain", "rank", "recall@20", "when", "status", "run"]
    assert lines[2].split()[:4] == ["adapt", "books", "8", "0.5000"]
    assert lines[3].split()[:5] == ["pretrain", "-", "-", "0.1250", "valid"]
    assert [lines[2].split()[-1], lines[3].split()[-1]] == recorded[::-1]
    assert max(map(len, lines)) <= 100


def test_an_evaluation_says_on_which_part_unless_it_is_test(
    recorded: list[str], settings: Settings, capsys: Captured
) -> None:
    store = open_store(settings.tracking)
    for part in ("test", "valid"):
        with store.run("e", "evaluate", tags=standard_tags(domain="books", part=part)) as run:
            run.log_metrics({"lora_recall_at_20": 0.5})
    assert _run(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    newest, older = "".join(lines[2:]).split("evaluate")[1:3]
    assert newest.split()[:4] == ["books", "-", "0.5000", "lora"]
    assert "valid" in newest  # on the line itself, or wrapped onto the next
    assert "valid" not in older.partition("adapt")[0]
    assert max(map(len, lines)) <= 100
    assert _run(["runs", "--json"]) == 0
    found = [run["part"] for run in json.loads(capsys.readouterr().out)]
    assert found == ["valid", "test", None, None]


def test_mixed_ranks_are_shown_in_words_and_are_no_number_in_json(
    recorded: list[str], settings: Settings, capsys: Captured
) -> None:
    targets = {"targets": "users:8,items:4"}
    with open_store(settings.tracking).run(
        "a", "adapt", params=targets, tags=standard_tags(rank="mixed")
    ):
        pass
    assert _run(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["adapt", "-", "mixed"]
    assert _run(["runs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["rank"] for run in found] == [None, 8, None]
    assert [run["targets"] for run in found] == ["users:8,items:4", None, None]


def test_json_keeps_stdout_clean(recorded: list[str], capsys: Captured) -> None:
    assert _run(["runs", "--json", "--limit", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["run_id"] for run in found] == recorded[1:]
    assert found[0]["recall"] == 0.5
    assert found[0]["recall_metric"] == "test_recall_at_20"
    assert (found[0]["kind"], found[0]["domain"], found[0]["rank"]) == ("adapt", "books", 8)
    assert found[0]["uri"] == f"runs:/{recorded[1]}"


def test_no_store_is_no_error_and_makes_none(bare_project: Path, capsys: Captured) -> None:
    assert _run(["runs"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "lorarec pretrain" in err
    assert _run(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert list(bare_project.iterdir()) == []


def test_a_broken_store_exits_with_2(project: Path, capsys: Captured) -> None:
    (project / "mlruns" / "mlflow.db").write_bytes(b"broken" * 1000)
    assert _run(["runs"]) == 2
    assert "not a whole SQLite database" in capsys.readouterr().err
