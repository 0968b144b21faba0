"""A report of real runs: which runs it is of, what it reads from them, what it records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from world import Ended, World

from lorarec.errors import ConfigError, DataError, NotFoundError
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.evaluate_domains import evaluate_domains
from lorarec.jobs.report import report
from lorarec.jobs.report_lists import read_titles, shown_users
from lorarec.jobs.report_runs import meant

Ran = Callable[..., Ended]
ARMS = {"evaluate.arms": "popularity,base,lora"}


def test_the_page_shows_every_domain_of_the_newest_base_and_is_recorded(world: World) -> None:
    settings = world.settings.with_options(ARMS)
    together = evaluate_domains(settings, world.store)
    titles = world.folder / "items.csv"
    ids = world.frame["item_id"].unique().sort()
    pl.DataFrame({"item_id": ids, "name": [f"Work & {i}" for i in ids]}).write_csv(titles)
    out = world.folder / "page.html"
    found = report(settings, world.store, [], out, items=titles, title_column="name")
    assert found.evaluations == {name: own.run for name, own in together.domains.items()}
    page = out.read_text()
    recall = together.domains["books"].results["lora"].intervals["recall_at_20"].mean
    assert f"{recall:.4f}" in page
    assert "Work &amp; " in page
    assert "p (Holm)" in page or "Holm" in page
    assert page.count('class="wide lists"') == 2  # books alone has an adapter
    run = world.artifacts(found.run)
    assert (run / "report.html").read_text() == page
    assert {path.name for path in (run / "charts").iterdir()} == set(found.pictures)
    assert world.run(found.run).kind == "report"


def test_an_adapter_stands_for_the_newest_evaluation_with_it(world: World) -> None:
    settings = world.settings.with_options(ARMS)
    assert meant(world.store, [world.adapter]).evaluations == {}
    old = evaluate(settings, "books", world.store).run
    new = evaluate(settings, "books", world.store).run
    evaluate(settings, "books", world.store, adapter="none")
    found = meant(world.store, [world.adapter])
    assert old != new == found.evaluations["books"].uri
    assert found.base_run == world.base
    assert [info.uri for info in found.adapters] == [world.adapter]


def test_a_base_without_any_evaluation_says_so_in_its_sections(world: World) -> None:
    out = world.folder / "page.html"
    found = report(world.settings, world.store, [world.other_base], out)
    assert found.evaluations == {}
    assert "No evaluation was found on this base." in out.read_text()


def test_runs_of_two_bases_are_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="Expected runs of one base"):
        meant(world.store, [world.adapter, world.other_adapter])


def test_a_run_that_is_not_there_or_of_another_kind_is_refused(world: World) -> None:
    with pytest.raises(NotFoundError, match="lorarec runs"):
        meant(world.store, ["0" * 32])
    with world.store.run("tune", "tune") as other:
        pass
    with pytest.raises(ConfigError, match="of the kind tune"):
        meant(world.store, [other.uri])


def test_logs_that_are_gone_empty_their_sections_and_no_others(world: World) -> None:
    settings = world.settings.with_options(ARMS)
    evaluate(settings, "books", world.store)
    world.logs.unlink()
    out = world.folder / "page.html"
    found = report(settings, world.store, [], out)
    assert set(found.missing) == {"logs", "lists"}
    assert "The logs could not be read." in out.read_text()
    assert any(name.startswith("recall-") for name in found.pictures)


def test_the_test_part_goes_before_a_newer_evaluation_of_another(world: World) -> None:
    settings = world.settings.with_options({"evaluate.arms": "base,lora"})
    on_test = evaluate(settings, "books", world.store).run
    evaluate(settings, "books", world.store, part="valid")
    assert meant(world.store, []).evaluations["books"].uri == on_test
    assert meant(world.store, [world.adapter]).evaluations["books"].uri == on_test


def test_lists_are_not_made_of_other_logs_than_were_evaluated(world: World) -> None:
    settings = world.settings.with_options({"evaluate.arms": "base,lora"})
    other = world.folder / "less.parquet"
    world.frame.head(-5).write_parquet(other)
    evaluate(settings, "books", world.store, paths=[other])
    found = report(settings, world.store, [], world.folder / "page.html")
    assert "other logs" in found.missing["lists"]
    found = report(settings, world.store, [], world.folder / "page.html", paths=[other])
    assert found.missing == {}


def test_users_are_chosen_by_rule() -> None:
    users = [f"u{n}" for n in range(6)]
    base = pl.DataFrame({"user_id": users, "recall_at_20": [0.5] * 6})
    lora = base.with_columns(recall_at_20=pl.Series([0.5, 1.0, 0.0, 0.5, 0.5, 0.75]))
    tables = {"base": base, "lora": lora}
    found = shown_users(tables, "recall_at_20", 4, seed=0)
    assert [user for user, _ in found[:2]] == ["u1", "u2"]
    assert found == shown_users(tables, "recall_at_20", 4, seed=0)
    assert len({user for user, _ in found}) == 4
    assert len(shown_users(tables, "recall_at_20", 99, seed=0)) == 6
    level = {"base": base, "lora": base}
    assert all(why.startswith("Drawn") for _, why in shown_users(level, "recall_at_20", 2, seed=0))


def test_titles_without_their_column_name_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,titel\n007,Goldfinger\n")
    with pytest.raises(DataError, match="titel"):
        read_titles(path, "title")
    assert read_titles(path, "titel") == {"007": "Goldfinger"}


def test_the_command_prints_the_page_and_refuses_what_it_cannot_read(
    world: World, ran: Ran
) -> None:
    done = ran("report", "--users", "0", "--json")
    assert done.code == 0, done.err
    assert (world.folder / "report.html").is_file()
    assert done.json["path"] == "report.html"
    done = ran("report", "--items", "none.csv")
    assert done.code == 2
    assert "none.csv" in done.err
