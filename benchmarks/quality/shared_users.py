"""Domains that share users and no item: adapters whose items are all grown.

    python benchmarks/quality/shared_users.py [--json FILE] [--quick | --full] [--work DIR]

Pairs of Amazon categories: a base over one, adapted to the other, in both directions; nDCG@10 and
HR@10 of each test row among 1,000 (Cao et al., DisenCDR, SIGIR 2022: 999 items drawn from the
domain's train items, the user's own redrawn, seed 2040; here the held-out item too), and recall@20
by full ranking. And Yelp's ten largest cities, each left out of the base in turn: recall@20 within
the city. Neither has a valid part: a tenth of train is drawn to choose on. The pair sport_cloth has
the same products in both categories, so it stays out of the means. The default is one seed, one
pair and three cities; --full has three seeds and all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

if (ROOT := str(Path(__file__).resolve().parents[2])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import (
    Arrays,
    Cache,
    Measures,
    data_folder,
    file_digest,
    header,
    parser,
    say,
    table,
)
from benchmarks.quality.adaptation_arms import BIAS, Trial, values_of
from benchmarks.quality.arms import (
    Bench,
    alone_mf,
    base_run,
    mean_over_seeds,
    measured,
    open_frame,
    peer_arms,
)
from benchmarks.quality.gowalla import cut_valid
from benchmarks.quality.protocols import RECALL, SAMPLED
from lorarec.config import Settings
from lorarec.data.vocabulary import Vocabulary
from lorarec.evaluation.candidates import drawn_negatives
from lorarec.evaluation.significance import mean_over_domains, paired_bootstrap

PAIRS = ("sport_phone", "electronic_cloth", "sport_cloth")
LEAKS = "sport_cloth"
CITIES = (
    "city_39", "city_20", "city_29", "city_17", "city_18", "city_26", "city_10", "city_40",
    "city_35", "city_31",
)  # fmt: skip
"""The ten largest, the smallest first."""
TRIALS = {
    "frozen_users": BIAS,
    "rows": Trial("users:8,items:8,bias"),
    "lora": Trial("users:8,items:8,transform:8,bias"),
    "full": Trial(None),
}
ARMS = (*TRIALS, "alone_mf", "pooled_mf", "ials")
SETTINGS = {"data.split": "column", "model.dim": 64, "train.negatives": 1024}
QUICK = {
    "model.dim": 16,
    "train.epochs": 1,
    "train.threads": 1,
    "adapt.epochs": 1,
    "adapt.learning_rate_grid": [1.0],
}
SEED, NEGATIVES = 2040, 999


def opened(
    name: str, source: Path, domains: Sequence[str], work: Path, quick: bool, lists: bool
) -> Bench:
    """Logs with a valid part, candidate lists where the protocol has some, and kept arms."""
    cache = Cache.of(work, f"{name}{'-quick' if quick else ''}", data=file_digest(source))
    frame = pl.read_parquet(source, columns=["user_id", "item_id", "domain", "split"])
    if quick:
        kept = frame["user_id"].unique().sort().gather_every(10)
        frame = frame.filter(pl.col("user_id").is_in(kept.implode()))
    drawn = cache.folder / "candidates.parquet"
    if lists:
        drawn.parent.mkdir(parents=True, exist_ok=True)
        candidates(frame, SEED).write_parquet(drawn)
    test = frame.filter(pl.col("split") == "test")
    frame = pl.concat([cut_valid(frame, SEED), test])
    settings = Settings().with_options(SETTINGS | (QUICK if quick else {}))
    return open_frame(settings, frame, domains, cache, quick, drawn if lists else None)


def candidates(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Each test row with 999 items of its domain, drawn with replacement, as XMarket's lists are.

    Args:
        frame: `user_id`, `item_id`, `domain`, `split`; a user has one test row a domain at most.
        seed: Of the draws.

    Returns:
        `domain`, `split`, `user_id`, `pos_item_id`, `neg_item_ids`.
    """
    rng = np.random.default_rng(seed)
    found = []
    for (domain,), part in frame.sort("domain", "user_id", "item_id").group_by(
        ["domain"], maintain_order=True
    ):
        train, test = (part.filter(pl.col("split") == name) for name in ("train", "test"))
        users = Vocabulary(part["user_id"].unique(maintain_order=True))
        items = Vocabulary(train["item_id"].unique().sort())
        had = pl.concat([train, test])
        user, item = users.rows(had["user_id"]), items.rows(had["item_id"], missing="mark")
        user, item = user[item >= 0], item[item >= 0]
        shape = (len(users), len(items))
        seen = sparse.csr_matrix((np.ones(len(user)), (user, item)), shape=shape)
        drawn = drawn_negatives(users.rows(test["user_id"]), seen, len(items), NEGATIVES, rng)
        negatives = items.series.gather(drawn.ravel()).reshape(drawn.shape).arr.to_list()
        found.append(
            test.select(
                pl.lit(domain).alias("domain"),
                "split",
                "user_id",
                pl.col("item_id").alias("pos_item_id"),
                negatives.alias("neg_item_ids"),
            )
        )
    return pl.concat(found)


def arms_of(bench: Bench, domain: str, seed: int, peers: Mapping[str, Arrays]) -> Arrays:
    """Every arm's values of a domain that the base has not seen."""
    found, _ = values_of(bench, TRIALS, domain, seed, [domain], bare=False)
    found |= alone_mf(bench, bench.seeded(seed), domain)
    found |= {f"ials_{metric}": peers["ials"][f"{domain}_{metric}"] for metric in bench.metrics}
    settings = bench.seeded(seed)
    pooled = str(base_run(bench, settings)["run"])
    values = bench.cache.arm(
        f"pooled-{domain}",
        lambda: measured(bench, settings, domain, pooled, {"pooled_mf": None}, ["pooled_mf"]),
        base=pooled,
    )
    return found | values


def run(bench: Bench, domains: Sequence[str], seeds: Sequence[int]) -> dict[str, Arrays]:
    """Values of every arm by domain, averaged over the seeds."""
    found: dict[str, Arrays] = {}
    for domain in domains:
        runs = []
        for seed in seeds:
            peers = peer_arms(bench, bench.markets, pooled=True, seed=seed, with_ease=False)
            runs.append(arms_of(bench, domain, seed, peers))
        found[domain] = mean_over_seeds(runs)
    return found


def report(
    place: str, values: Mapping[str, Arrays], metrics: Sequence[str], measures: Measures
) -> dict[str, float]:
    """Tables and rows of some domains; the mean of each arm by the first metric."""
    means: dict[str, float] = {}
    for metric in metrics:
        lines: list[list[object]] = []
        for arm in ARMS:
            by_domain = {d: _mean(v, arm, metric) for d, v in values.items()}
            for domain, mean in by_domain.items():
                measures.add(f"{place}_{domain}_{arm}_{metric}", mean, "mean")
            lines.append([arm, *by_domain.values(), float(np.mean(list(by_domain.values())))])
            means.setdefault(arm, float(np.mean(list(by_domain.values()))))
        table(f"{place}: {metric}", ["arm", *values, "mean"], lines)
    rows = []
    metric = metrics[0]
    for rival in ("frozen_users", "alone_mf", "pooled_mf", "ials", "full"):
        pairs = [v[f"lora_{metric}"] - v[f"{rival}_{metric}"] for v in values.values()]
        gap = mean_over_domains(pairs)
        rows.append([f"lora minus {rival}", gap.mean, gap.low, gap.high])
    for domain, own in values.items():
        one = paired_bootstrap(own[f"lora_{metric}"], own[f"alone_mf_{metric}"])
        rows.append([f"{domain} lora minus alone_mf", one.mean, one.low, one.high])
    table(f"{place}: {metric}, paired 95 % interval", ["difference", "mean", "low", "high"], rows)
    return means


HITS = "hr_at_10_sampled"


def _mean(values: Arrays, arm: str, metric: str) -> float:
    """Of an arm; a held-out item is among the first ten where its nDCG@10 is above 0."""
    if metric == HITS:
        return float((values[f"{arm}_{SAMPLED}"] > 0).mean())
    return float(values[f"{arm}_{metric}"].mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for."""
    options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
    header("Domains that share users and no item: Amazon pairs, Yelp's cities")
    seeds = range(3) if options.full else range(1)
    measures = Measures()
    found: dict[str, Arrays] = {}
    for pair in PAIRS if options.full else PAIRS[:1]:
        source = data_folder("amazon_cdr") / pair / "interactions.parquet"
        domains = sorted(pair.split("_"))
        bench = opened(f"cdr-{pair}", source, domains, options.work, options.quick, True)
        values = run(bench, domains, seeds)
        if pair == LEAKS:
            report(f"cdr_{pair}", values, (SAMPLED, HITS, RECALL), measures)
        else:
            found |= {f"{pair}_{domain}": own for domain, own in values.items()}
    means = report("cdr", found, (SAMPLED, HITS, RECALL), measures)
    for rival in ("alone", "pooled"):
        ratio = means["lora"] / means[f"{rival}_mf"]
        measures.add(f"cdr_lora_over_{rival}", ratio, "ratio", f"{rival}_mf", ratio)
    source = data_folder("yelp_city") / "interactions.parquet"
    cities = CITIES[:1] if options.quick else CITIES if options.full else CITIES[:3]
    bench = opened("yelp", source, cities, options.work, options.quick, False)
    means = report("yelp", run(bench, cities, seeds), (RECALL,), measures)
    ratio = means["lora"] / means["alone_mf"]
    measures.add("yelp_lora_over_alone", ratio, "ratio", "alone_mf", ratio)
    for pair in () if options.full else PAIRS[1:]:
        measures.leave_out(f"cdr_{pair}_*", "--full takes every pair")
    measures.finish(options.json)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Stopped. Finished arms are kept; the same command goes on from there.")
        sys.exit(130)
