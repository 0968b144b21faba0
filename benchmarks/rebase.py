"""Where an adapter begins that goes on: on a retrained base, and with new rows on its own.

    python benchmarks/rebase.py [--json FILE] [--quick | --full] [--work DIR]

On the made world, one thread. First a base on the first four fifths of the logs with an adapter of
one domain, then another on all of them with another seed: validation by epoch of what was carried
over, turned or as it is, beside a fresh adapter. Then a base and an adapter on the rows up to a
time, and the rows after it: validation and drift after `lorarec adapt --from` by the strength of
the proximal term. Step sizes are the defaults; averages of weights are validated, as in `adapt`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.common import Measures, header, parser, say, table
from lorarec.config import Settings, Tracking
from lorarec.data.synthetic import make_logs
from lorarec.jobs.adapt import adapt
from lorarec.jobs.continuing import continue_adapter
from lorarec.jobs.domain import domain_data, touched_rows
from lorarec.jobs.options import drawn_power, loop_options
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.search import from_scratch
from lorarec.lora.adapter import grown_ids, load_adapter
from lorarec.lora.attach import adapter_parameters, adapter_state, restore
from lorarec.lora.rebasing import aligned, carried
from lorarec.models.artefact import Base, load_base
from lorarec.tracking import Store, open_store
from lorarec.tracking.registry import resolve
from lorarec.training.examples import examples_of
from lorarec.training.loop import fit
from lorarec.training.validation import RankingValidation

DOMAIN, DOMAINS = "books", ("books", "movies", "games")
PROXIMAL = (0.0, 0.3, 1.0, 3.0, 10.0)
EPOCHS = 8


def settings(seed: int) -> Settings:
    """The defaults, but for a small base."""
    return Settings().with_options(
        {
            "model.dim": 32,
            "train.epochs": 12,
            "train.threads": 1,
            "train.device": "cpu",
            "train.seed": seed,
        }
    )


def store_in(folder: Path) -> Store:
    """A store of its own, whatever the environment says."""
    return open_store(Tracking(uri=f"sqlite:///{folder / 'mlflow.db'}"), environ={})


def base_of(store: Store, uri: str) -> Base:
    """A base by its run."""
    return load_base(resolve(store, uri, "base")[0])


def retrained(folder: Path, logs: pl.DataFrame, seed: int, seen: bool) -> dict[str, Any]:
    """Validation nDCG and recall by epoch of each way to begin on a retrained base."""
    excluded = [] if seen else [DOMAIN]
    logs = logs.sort("timestamp")
    logs.head(len(logs) * 4 // 5).write_parquet(folder / "old.parquet")
    logs.write_parquet(folder / "new.parquet")
    store, chosen = store_in(folder), settings(seed)
    old = base_of(store, pretrain(chosen, [folder / "old.parquet"], store, excluded).run)
    adapter = load_adapter(resolve(store, adapt(chosen, DOMAIN, store).run, "adapter")[0], old)
    other = settings(seed + 1000)
    new = base_of(store, pretrain(other, [folder / "new.parquet"], store, excluded).run)
    frame, _ = new.info.data.read_again(new.info.split, domain=DOMAIN)
    data = domain_data(new, frame, DOMAIN)
    touched = touched_rows(new, data)
    grown = {
        "users": grown_ids(data.users, len(new.users)),
        "items": grown_ids(data.items, len(new.items)),
    }
    how = aligned(old, new)
    asis = replace(how, rotation=torch.eye(old.model.dim))
    fresh = adapter_state(from_scratch(new, adapter.info.config, data, 1.0).model())
    turned = carried(adapter, old, new, touched, grown, how).tensors
    starts: dict[str, Mapping[str, Tensor]] = {
        "fresh": fresh,
        "fresh, biases carried": fresh | {n: turned[n] for n in ("bias.b", "bias.cold")},
        "carried as it is": carried(adapter, old, new, touched, grown, asis).tensors,
        "carried and turned": turned,
    }
    validation = RankingValidation(data.train, data.valid, [DOMAIN], seed)
    found: dict[str, Any] = {"cosine": how.cosine}
    for name, tensors in starts.items():
        model = restore(new.model, adapter.info.config, tensors)
        section = chosen.adapt.model_copy(update={"epochs": EPOCHS, "patience": EPOCHS})
        options = loop_options(chosen.train, section, section.learning_rate, seed)
        examples = examples_of(data.train, [DOMAIN], drawn_power(chosen.train))
        history = fit(
            {DOMAIN: model},
            adapter_parameters(model),
            examples,
            options,
            lambda model=model: validation({DOMAIN: model}),  # type: ignore[misc]
        )
        found[name] = [(each["valid_ndcg"], each["valid_recall_at_20"]) for each in history.epochs]
    return found


def going_on(
    folder: Path, logs: pl.DataFrame, seed: int, strengths: Sequence[float]
) -> dict[str, Any]:
    """Validation and drift after going on with the rows of a later time, by proximal term."""
    cuts = [logs["timestamp"].quantile(q) for q in (0.6, 0.8, 0.9)]
    time = pl.col("timestamp")
    logs = logs.with_columns(
        split=pl.when(time < cuts[1])
        .then(pl.lit("train"))
        .when(time < cuts[2])
        .then(pl.lit("valid"))
        .otherwise(pl.lit("test"))
    )
    later = (time >= cuts[0]) & (pl.col("split") == "train")
    logs.filter(~later).write_parquet(folder / "first.parquet")
    logs.filter(later).write_parquet(folder / "later.parquet")
    store = store_in(folder)
    chosen = settings(seed).with_options({"data.split": "column"})
    pretrain(chosen, [folder / "first.parquet"], store)
    start = adapt(chosen, DOMAIN, store)
    found: dict[str, Any] = {}
    for frozen in (False, True):
        for proximal in strengths:
            done = continue_adapter(
                chosen.with_options({"adapt.proximal": proximal}),
                DOMAIN,
                start.run,
                store,
                paths=[folder / "later.parquet"],
                freeze_shared=frozen,
            )
            metrics, before = done.adapter.info.metrics, done.before
            found[f"{proximal:g}{' frozen' if frozen else ''}"] = (
                metrics["valid_ndcg"] - before["valid_ndcg"],
                metrics["valid_recall_at_20"] - before["valid_recall_at_20"],
                done.drift["users"].mean,
                done.drift["items"].mean,
                before["valid_ndcg"],
            )
    return found


def main() -> None:
    options = parser(__doc__.splitlines()[0]).parse_args()
    seeds = range(1 if options.quick else 5 if options.full else 3)
    size = (150, 100, 4000) if options.quick else (600, 400, 30_000)
    strengths = PROXIMAL[::3] if options.quick else PROXIMAL
    header("rebase and continual training, made world")
    measures = Measures()
    by_start: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    by_proximal = []
    for seed in seeds:
        users, items, rows = size
        logs = make_logs(DOMAINS, users=users, items=items, interactions=rows, seed=seed)
        for seen in by_start:
            say(f"seed {seed}, retrained base, {DOMAIN} {'in' if seen else 'not in'} it")
            with tempfile.TemporaryDirectory() as folder:
                by_start[seen].append(retrained(Path(folder), logs, seed, seen))
        say(f"seed {seed}, going on")
        with tempfile.TemporaryDirectory() as folder:
            by_proximal.append(going_on(Path(folder), logs, seed, strengths))
    for seen, found in by_start.items():
        where = "base has seen the domain" if seen else "base has not seen the domain"
        cosine = np.mean([each["cosine"] for each in found])
        rows = []
        for name in [name for name in found[0] if name != "cosine"]:
            mean = np.mean([each[name] for each in found], axis=0)
            rows.append((name, *(f"{mean[e][0]:.4f}" for e in (0, 1, 2, 4, EPOCHS))))
            rows.append(("  recall@20", *(f"{mean[e][1]:.4f}" for e in (0, 1, 2, 4, EPOCHS))))
            key = f"{'seen' if seen else 'unseen'}_{name.replace(', ', ' ').replace(' ', '_')}"
            for epoch in (0, 1, EPOCHS):
                measures.add(f"rebase_{key}_ndcg_epoch_{epoch}", float(mean[epoch][0]), "nDCG")
        title = f"{where}: nDCG by epoch, {len(found)} seeds; cosine after the turn {cosine:.3f}"
        table(title, ["start", "0", "1", "2", "4", str(EPOCHS)], rows)
    rows = []
    for name in by_proximal[0]:
        mean = np.mean([each[name] for each in by_proximal], axis=0)
        rows.append(
            (name, *(f"{value:+.4f}" for value in mean[:2]), *(f"{v:.4f}" for v in mean[2:]))
        )
        measures.add(f"proximal_{name.replace(' ', '_')}_ndcg_gain", float(mean[0]), "nDCG")
    columns = ["proximal", "nDCG gained", "recall@20", "drift users", "drift items", "nDCG before"]
    table(f"adapt --from, {len(by_proximal)} seeds", columns, rows)
    measures.finish(options.json)


if __name__ == "__main__":
    main()
