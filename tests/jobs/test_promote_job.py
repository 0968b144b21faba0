"""Bringing an adapter to the gate, going back, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from world import OUTSIDE, Words, World

from lorarec.errors import ArtifactError, ConfigError, LorarecError, NotFoundError
from lorarec.jobs.champion import history, rollback
from lorarec.jobs.promote import Promoted, promote
from lorarec.jobs.recommend import prepare
from lorarec.lora.adapter import AdapterInfo
from lorarec.record import load_record, save_record
from lorarec.tracking.champions import ChampionMovedError, move, reign
from lorarec.tracking.versions import find_version, versions

YES, NO = {"gate.min_effect": -1.0}, {"gate.min_effect": 1.0}
CHAMPION = "models:/lorarec-books@champion"


def brought(
    world: World, gate: dict[str, Any] = YES, domain: str = "books", **how: Any
) -> Promoted:
    return promote(world.settings.with_options(gate), domain, world.store, **how)


def scores(world: World, adapter: str = CHAMPION) -> np.ndarray[Any, Any]:
    """Of the first hundred pairs of the logs, by an adapter on its own base."""
    ready = prepare("books", world.store, adapter=adapter)
    pairs = world.frame.head(100)
    found: np.ndarray[Any, Any] = ready.scorer.score(pairs["user_id"], pairs["item_id"])
    return found


def second(world: World) -> str:
    """Another adapter of books, newer than the world's."""
    return world.adapt("books", {"train.seed": 1}).run


def test_an_adapter_that_passes_is_the_champion_and_its_base_is_registered(world: World) -> None:
    found = brought(world)
    assert (found.outcome, found.before) == ("promote", None)
    version = find_version(world.store, CHAMPION)
    assert version.run_id == world.adapter.removeprefix("runs:/")
    assert version.source == f"{world.run(world.adapter).artifact_uri}/adapter"
    base = find_version(world.store, "models:/lorarec-base@champion")
    assert version.tag("base_version") == base.uri == "models:/lorarec-base/1"
    assert base.tag("digest") == version.tag("base_digest") == world.load(world.base).digest


def test_the_version_holds_the_metrics_and_the_verdict(world: World) -> None:
    found = brought(world, NO)
    assert found.refused
    version = find_version(world.store, found.version.uri)
    verdict = json.loads(str(version.tag("verdict")))
    assert verdict["decision"] == version.tag("decision") == "keep-base"
    assert verdict["policy"]["min_effect"] == 1.0
    mean = verdict["arms"]["challenger"]["mean"]
    assert str(version.tag("recall_at_20")).startswith(f"{mean:.4f} [")
    run = world.run(str(version.tag("gate_run")))
    assert run.kind == "gate"
    assert run.metrics["challenger_recall_at_20"] == pytest.approx(mean)
    files = {path.name for path in world.artifacts(run.uri).rglob("*") if path.is_file()}
    kept = {"config.json", "environment.json"}
    assert files == {*kept, "verdict.json", "challenger.parquet", "base.parquet"}


def test_what_is_refused_is_the_challenger_and_the_champion_stays(world: World) -> None:
    brought(world)
    newer = second(world)
    found = brought(world, NO)
    assert found.refused
    assert found.verdict is not None
    assert found.verdict.decision in {"keep-champion", "keep-base"}
    assert set(found.verdict.arms) == {"challenger", "champion", "base"}
    assert find_version(world.store, CHAMPION).number == 1
    challenger = find_version(world.store, "models:/lorarec-books@challenger")
    assert challenger.run_id == newer.removeprefix("runs:/")


def test_the_same_adapter_again_is_no_second_version(world: World) -> None:
    assert brought(world, NO).version.number == 1
    assert brought(world).version.number == 1
    assert brought(world).outcome == "already"
    assert len(versions(world.store, "lorarec-books")) == 1
    assert len(versions(world.store, "lorarec-base")) == 1


def test_a_challenger_is_registered_and_nothing_is_asked(world: World) -> None:
    found = brought(world, NO, challenger_only=True)
    assert (found.outcome, found.verdict, found.refused) == ("registered", None, False)
    assert reign(world.store, "books").version is None
    asked = brought(world, YES, adapter="models:/lorarec-books@challenger")
    assert (asked.outcome, asked.version.number) == ("promote", found.version.number)


def test_force_is_recorded_with_its_reason(world: World) -> None:
    found = brought(world, NO, force="a fire")
    assert found.outcome == "force"
    assert json.loads(str(find_version(world.store, CHAMPION).tag("verdict")))["forced"] == "a fire"
    first = history(world.store, "books").entries[0]
    assert (first.what, first.version, first.reason) == ("force", 1, "a fire")


def test_a_rollback_restores_the_scores_to_the_bit(world: World) -> None:
    brought(world)
    before = scores(world)
    second(world)
    brought(world)
    assert (scores(world) != before).any()
    back = rollback(world.store, "books", reason="complaints")
    assert (back.before, back.version) == (2, 1)
    assert scores(world).tobytes() == before.tobytes()
    entry = history(world.store, "books").entries[0]
    assert (entry.what, entry.version, entry.reason) == ("rollback", 1, "complaints")


def test_rollback_to_a_version_and_to_the_bare_base(world: World) -> None:
    brought(world)
    second(world)
    brought(world)
    assert rollback(world.store, "books", "base").version is None
    with pytest.raises(NotFoundError, match="no alias 'champion'"):
        scores(world)
    assert rollback(world.store, "books", "1").version == 1
    with pytest.raises(NotFoundError, match=r"Version 7 .* Expected one of 2, or base"):
        rollback(world.store, "books", "7")


def test_without_an_earlier_champion_there_is_no_rollback(world: World) -> None:
    with pytest.raises(NotFoundError, match="begin with: lorarec promote --domain books"):
        rollback(world.store, "books")
    brought(world)
    with pytest.raises(NotFoundError, match="--to base"):
        rollback(world.store, "books")
    with pytest.raises(NotFoundError, match="Did you mean 'books'"):
        history(world.store, "boks")


def test_a_champion_of_an_older_base_is_compared_on_the_same_users(world: World) -> None:
    brought(world, domain=OUTSIDE, adapter=world.other_adapter)
    world.adapt(OUTSIDE)
    found = brought(world, NO, domain=OUTSIDE)
    assert found.verdict is not None
    assert {interval.n for interval in found.verdict.arms.values()} == {found.verdict.users}
    bases = [v.tag("base_version") for v in versions(world.store, f"lorarec-{OUTSIDE}")]
    assert bases == ["models:/lorarec-base/1", "models:/lorarec-base/2"]
    assert find_version(world.store, "models:/lorarec-base@champion").number == 1  # not promoted


def test_a_champion_that_may_have_seen_what_is_held_out_is_warned_of(world: World) -> None:
    later = world.frame["timestamp"].quantile(0.97)
    brought(world)
    base = world.pretrain(world.frame.filter(world.frame["timestamp"] < later))  # cut off earlier
    world.adapt("books", base=base.run)
    words = Words()
    found = brought(world, NO, listen=words.listener)
    assert "may have seen rows of valid" in words
    version = find_version(world.store, found.version.uri)
    assert "may have seen" in json.loads(str(version.tag("verdict")))["warning"]


def test_two_that_decide_at_once_do_not_both_win(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(world)
    newer = second(world)

    def judged_while_another_promotes(*given: Any) -> Any:
        found = judged(*given)
        move(world.store, reign(world.store, "books"), None, "rollback")
        return found

    from lorarec.jobs import promote as module

    judged = module._judged
    monkeypatch.setattr(module, "_judged", judged_while_another_promotes)
    with pytest.raises(ChampionMovedError, match=r"version 1 when .* the bare base now"):
        brought(world, adapter=newer)
    assert reign(world.store, "books").version is None
    assert len(versions(world.store, "lorarec-books")) == 1  # nothing was registered either


def test_a_domain_of_any_name_is_promoted_and_named(world: World) -> None:
    from lorarec.tracking.model_names import model_name

    odd = "men's/wear: 2026"
    frame = world.frame.with_columns(domain=world.frame["domain"].replace({"books": odd}))
    base = world.pretrain(frame)
    world.adapt(odd, base=base.run)
    found = brought(world, domain=odd)
    assert found.version.name == model_name(odd)
    assert prepare(odd, world.store, adapter=f"models:/{model_name(odd)}@champion").adapter
    assert history(world.store, odd).entries[0].version == 1


@pytest.mark.parametrize("part", ["test", "valid"])
def test_the_gate_looks_at_the_part_that_is_asked_for(world: World, part: str) -> None:
    found = brought(world, YES | {"gate.part": part})
    assert found.version.tag("part") is None  # the version as it was registered
    assert find_version(world.store, CHAMPION).tag("part") == part


def test_latency_and_size_are_measured_where_they_are_bounded(world: World) -> None:
    found = brought(world, YES | {"gate.max_latency": 1e9, "gate.max_size": 1})
    assert found.verdict is not None
    assert [check.name for check in found.verdict.failed] == ["size"]
    by_name = {check.name: check for check in found.verdict.checks}
    assert 0 < by_name["latency"].found < 1e9  # type: ignore[operator]
    size = sum(f.stat().st_size for f in (world.artifacts(world.adapter) / "adapter").iterdir())
    assert by_name["size"].found == size


def test_a_folder_that_no_run_made_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="in no run"):
        brought(world, adapter=str(world.artifacts(world.adapter) / "adapter"))
    with pytest.raises(NotFoundError, match="is of domain 'books'"):
        brought(world, domain="movies", adapter=world.adapter)


def edited(world: World) -> None:
    """The champion's adapter.json, changed and sealed anew."""
    path = world.artifacts(world.adapter) / "adapter" / "adapter.json"
    info = load_record(path, AdapterInfo)
    save_record(path, info.model_copy(update={"digest": "0" * 64}))


def cut(world: World) -> None:
    path = world.artifacts(world.adapter) / "adapter" / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def run_deleted(world: World) -> None:
    world.store.client.delete_run(world.adapter.removeprefix("runs:/"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (edited, "edited or replaced since"),
        (cut, "truncated or edited"),
        (run_deleted, "mlflow runs restore --run-id"),
    ],
)
def test_a_champion_spoilt_under_us_is_told_and_not_gone_back_to(
    world: World, harm: Any, said: str
) -> None:
    brought(world)
    newer = second(world)
    brought(world)
    harm(world)
    with pytest.raises(LorarecError, match="cannot serve again") as refused:
        rollback(world.store, "books")
    assert said in str(refused.value)
    assert find_version(world.store, CHAMPION).run_id == newer.removeprefix("runs:/")
    with pytest.raises(LorarecError, match=said):
        scores(world, "models:/lorarec-books/1")


def test_a_broken_champion_cannot_be_compared_with_and_force_goes_on(world: World) -> None:
    brought(world)
    edited(world)
    second(world)
    with pytest.raises(ArtifactError, match="--force --reason"):
        brought(world)
    words = Words()
    found = brought(world, force="the champion is broken", listen=words.listener)
    assert (found.outcome, found.verdict) == ("force", None)
    assert "could not decide" in words
    assert find_version(world.store, CHAMPION).number == 2


def test_a_version_deleted_under_us_is_passed_over_by_a_rollback(world: World) -> None:
    brought(world)
    second(world)
    brought(world)
    world.store.client.delete_model_version("lorarec-books", "2")
    with pytest.raises(NotFoundError, match="no alias 'champion'"):
        scores(world)
    words = Words()
    assert rollback(world.store, "books", listen=words.listener).version == 1
    assert "Version 2 was deleted" in words


def test_a_champion_set_by_hand_stands_where_it_happened_in_the_history(world: World) -> None:
    brought(world)
    second(world)
    brought(world, NO)
    world.store.client.set_registered_model_alias("lorarec-books", "champion", "2")
    assert [entry.what for entry in history(world.store, "books").entries] == ["by hand", "promote"]
    rollback(world.store, "books")
    found = history(world.store, "books").entries
    assert [(entry.what, entry.version) for entry in found] == [
        ("rollback", 1),
        ("by hand", 2),
        ("promote", 1),
    ]
