"""`lorarec evaluate --all-domains`, as typed."""

from __future__ import annotations

from collections.abc import Callable

from world import DOMAINS, Ended, World

Ran = Callable[..., Ended]
CHEAP = ("--arms", "popularity,base,lora")


def test_every_domain_is_in_the_table_and_in_a_run_under_one(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--all-domains", *CHEAP, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert list(found["domains"]) == sorted(DOMAINS)
    # Books alone has an adapter on the newest base.
    assert list(found["domains"]["books"]["arms"]) == ["popularity", "base", "lora"]
    assert list(found["domains"]["games"]["arms"]) == ["popularity", "base"]
    families = {(row["domain"], row["arm"]) for row in found["minus_base"]}
    assert families == {(d, "popularity") for d in DOMAINS} | {("books", "lora")}
    assert all(0 < row["p_value"] <= row["adjusted"] <= 1 for row in found["minus_base"])
    assert set(found["mean_minus_base"]) == {"popularity", "lora"}
    assert world.run(found["run"]).kind == "evaluate-all"
    assert world.run(found["domains"]["games"]["run"]).domain == "games"


def test_the_table_fits_and_names_each_domain(world: World, ran: Ran) -> None:
    done = ran("evaluate", "--all-domains", *CHEAP)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert all(domain in done.out for domain in (*DOMAINS, "mean of all"))
    assert "Holm" in done.err


def test_a_domain_or_all_but_not_both(world: World, ran: Ran) -> None:
    for arguments in ((), ("--domain", "books", "--all-domains")):
        done = ran("evaluate", *arguments)
        assert done.code == 2
        assert "--all-domains" in done.err
    done = ran("evaluate", "--all-domains", "--adapter", "none")
    assert done.code == 2
    assert "--domain D" in done.err
