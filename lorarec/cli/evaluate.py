"""`lorarec evaluate`: arms of one domain on the same held-out users."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.evaluate_domains import evaluate_many
from lorarec.cli.evaluate_folds import by_folds
from lorarec.cli.evaluate_protocol import by_protocol
from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    adapter_option,
    base_option,
    data_option,
    json_option,
)

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.evaluate import Evaluated

_CUTS_SHOWN = 3


@click.command(context_settings=CONTEXT)
@click.option("--domain", metavar="D", help="The domain's name.")
@click.option("--all-domains", is_flag=True, help="Every domain of the logs, in one table.")
@adapter_option
@base_option
@click.option(
    "--arms", metavar="LIST",
    help="all, or some of popularity,knn,ease,ials,bpr,alone,pooled,base,bias,lora,full; and "
    "lora:R for an adapter of a rank.  "
    "[default: popularity,base,lora,full]",
)  # fmt: skip
@click.option("--k", "cuts", metavar="LIST", help="Cut-offs.  [default: 10,20,50]")
@click.option(
    "--on", "part", default="test", show_default=True, metavar="PART",
    help="Part of the split: test, valid, or another value of the split column.",
)  # fmt: skip
@click.option(
    "--protocol", metavar="NAME",
    help="A published protocol: xmarket-ecir23, wsdm22, bars-gowalla or cdr-999.",
)  # fmt: skip
@click.option(
    "--candidates", type=click.Path(path_type=Path), metavar="FILE",
    help="The candidate lists of the protocol, as parquet.",
)  # fmt: skip
@click.option(
    "--folds", type=int, metavar="N", help="A back-test over N windows; everything is trained anew."
)
@click.option("--window", metavar="7d", help="Length of a fold's test, in h, d or w.")
@data_option
@json_option
@click.pass_obj
def evaluate(
    settings: Settings,
    domain: str | None,
    all_domains: bool,
    adapter: str | None,
    base: str | None,
    arms: str | None,
    cuts: str | None,
    part: str,
    protocol: str | None,
    candidates: Path | None,
    folds: int | None,
    window: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare popularity, the frozen base, the adapter and full fine-tuning.

    Every arm ranks the domain's whole catalogue without the items a user has already had, and is
    measured on the same users. Recall is hits / held-out items; brackets are bootstrap intervals,
    of 95 % unless evaluate.confidence says otherwise. The arms full and bias are trained once and
    reused. knn, ease, ials and bpr are of the domain's rows alone, the best of three settings on
    validation; alone is a base of the domain alone, and pooled one of all domains' rows as if they
    were of one. lora is the newest adapter, and lora:4 the newest that was asked for with rank 4,
    which is trained where there is none.

    With --all-domains every arm is compared with the base in every domain, by the paired bootstrap
    with Holm's correction over domains; where an arm is worse, that is marked. A domain without an
    adapter is without the arm lora.

    With --protocol the domain is measured as a published table was, and that is shown beside ours;
    what a number means there is said below it.

    With --folds a base and an adapter are trained for each window from the rows before it alone,
    and the window after its validation is evaluated; the newest ends where the logs do.

    \b
    Example:
      lorarec evaluate --domain books
      lorarec evaluate --domain books --arms popularity,base,lora --k 20 --json
      lorarec evaluate --domain books --arms all
      lorarec evaluate --domain books --arms base,lora:2,lora:8,full
      lorarec evaluate --all-domains
      lorarec evaluate --domain books --folds 4 --window 7d
      lorarec evaluate --domain de --protocol xmarket-ecir23 --candidates candidates.parquet
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.evaluate import evaluate as job
    from lorarec.tracking.store import open_store

    if (domain is None) != all_domains:
        raise click.UsageError("Expected either --domain D or --all-domains.")
    if all_domains and adapter is not None:
        raise click.UsageError("--adapter is one domain's. Expected --domain D beside it.")
    if (folds is None) != (window is None):
        raise click.UsageError("Expected --folds and --window together: --folds 4 --window 7d.")
    if candidates is not None and protocol is None:
        raise click.UsageError("--candidates are a protocol's. Expected --protocol NAME beside it.")
    settings = settings.with_options({"evaluate.arms": arms, "evaluate.k": cuts})
    if protocol is not None:
        if domain is None or cuts is not None:
            raise click.UsageError(
                "A protocol is of one domain, with its own cut-offs: --domain D."
            )
        if _given("part") or folds is not None:
            raise click.UsageError(
                "A protocol has its own part of the split. Expected it without --on and --folds."
            )
        by_protocol(settings, protocol, domain, base, adapter, candidates, paths, as_json)
        return
    if folds is not None and window is not None:
        if domain is None or adapter is not None or part != "test":
            raise click.UsageError("A back-test trains its own, for one domain: --domain D.")
        by_folds(settings, domain, folds, window, base, paths, as_json)
        return
    if domain is None:
        evaluate_many(settings, base, part, paths, as_json)
        return
    with listening() as listener:
        store = open_store(settings.tracking)
        found = job(settings, domain, store, base, adapter, part, paths, listener)
    if as_json:
        print_json(_record(found))
        return
    _print(found, settings.evaluate.k)


def _given(name: str) -> bool:
    """Whether an option was typed, its default aside."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT


def _print(found: Evaluated, cuts: tuple[int, ...]) -> None:
    first = next(iter(found.results.values()))
    k = 20 if 20 in cuts else cuts[0]
    shown_cuts = _around(k, cuts)
    columns = ["arm", "parameters", *(f"recall@{c}" for c in shown_cuts), f"nDCG@{k}", "minus base"]
    rows = []
    for arm, result in found.results.items():
        cells = []
        for cut in shown_cuts:
            interval = result.intervals[f"recall_at_{cut}"]
            shown = f"{interval.mean:.4f}"
            cells.append(
                f"{shown} [{_short(interval.low)}, {_short(interval.high)}]" if cut == k else shown
            )
        gain = found.differences.get(arm, {}).get(f"recall_at_{k}")
        delta = (
            f"{_short(gain.interval.mean, '+')} "
            f"[{_short(gain.interval.low, '+')}, {_short(gain.interval.high, '+')}]"
            if gain
            else ""
        )
        ndcg = f"{result.intervals[f'ndcg_at_{k}'].mean:.4f}"
        rows.append((arm, result.parameters, *cells, ndcg, delta))
    print_table(columns, rows, title=f"{found.domain}, {found.part}: full ranking", whole=("arm",))
    if len(shown_cuts) < len(cuts):
        say(f"{len(shown_cuts)} of {len(cuts)} cut-offs are shown; --json has them all.")
    counts = first.counts
    say(
        f"{counts.users:,} users ({counts.cold_users or 0:,} of them new), "
        f"{counts.held_out_items:,} held-out items ({counts.outside_catalogue or 0:,} outside the "
        f"catalogue: misses for every arm). minus base: paired difference of recall@{k}."
    )
    drift = found.drift
    say(
        f"Drift from train: {drift.items:.3f} bits over items, {drift.items_by_chance:.3f} by "
        f"chance; {drift.new_item_rows:.1%} of rows are of new items."
    )
    say(f"Recorded as {found.run}. Compare runs: lorarec runs, or lorarec ui")


def _around(k: int, cuts: tuple[int, ...]) -> list[int]:
    """The cut k and its neighbours in size, as many as a table has room for, in their order."""
    sizes = sorted(cuts)
    first = min(sizes.index(k) - _CUTS_SHOWN // 2, len(sizes) - _CUTS_SHOWN)
    near = sizes[max(first, 0) :][:_CUTS_SHOWN]
    return [cut for cut in cuts if cut in near]


def _short(value: float, sign: str = "") -> str:
    """A share without its leading zero: .123, -.045."""
    return f"{value:{sign}.3f}".replace("0.", ".", 1)


def _record(found: Evaluated) -> dict[str, object]:
    from lorarec.evaluation.report import comparison_rows

    return {
        "domain": found.domain,
        "part": found.part,
        "run": found.run,
        "drift": found.drift.to_json(),
        "arms": {arm: result.to_json() for arm, result in found.results.items()},
        "table": comparison_rows(found.results, found.differences),
    }
