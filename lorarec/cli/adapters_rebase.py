"""`lorarec adapters rebase`: adapters brought to a retrained base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lorarec.cli.adapters_shared import max_loss_option
from lorarec.cli.options import overridden
from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    GATE_SAID_NO,
    SHAPE,
    data_option,
    device_option,
    epochs_option,
    json_option,
)
from lorarec.errors import TrainingError

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.rebase import Rebased, RebasedAll

ARMS = {
    "old": "old adapter on the old base",
    "base": "new base, no adapter",
    "carried": "carried over, not trained",
    "rebased": "trained again",
}


@click.command("rebase", context_settings=CONTEXT)
@click.argument("adapter", required=False, metavar="[ADAPTER]")
@click.option("--all", "all_", is_flag=True, help="The newest adapter of every domain.")
@click.option("--to", required=True, metavar="URI|newest", help="The new base.")
@click.option(
    "--base", metavar="URI",
    help="The old base, which domains are looked up on.  [default: each adapter's own]",
)  # fmt: skip
@max_loss_option
@data_option
@epochs_option
@device_option
@json_option
@click.pass_obj
def rebase(
    settings: Settings, adapter: str | None, all_: bool, to: str, base: str | None,
    max_loss: float | None, paths: tuple[Path, ...], epochs: int | None, device: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Bring adapters to a retrained base: turned to it, trained again, and measured.

    The space of a retrained base is turned against the old one's. The turn is found on the ids that
    both know, and factors, transform and grown vectors are turned with it; rows go by their ids.
    Then each adapter is trained again as [adapt] says, in its own shape, and later commands take
    it. All are measured on the same validation users, the old adapter too where it cannot have been
    trained on them. Of two cut-offs the later one holds. Both bases have to be in the store.

    \b
    Example:
      lorarec adapters rebase books --to runs:/ID
      lorarec adapters rebase --all --to newest --max-loss .002
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.rebase import rebase as job
    from lorarec.tracking.store import open_store

    if (adapter is None) != all_:
        raise click.UsageError("Expected either an ADAPTER or --all.")
    if text := overridden(SHAPE):
        raise click.UsageError(
            f"--set {text} was given, and rank, targets and alpha are those of the adapters that "
            f"are brought over. Leave it out, or begin anew: lorarec adapt"
        )
    settings = settings.with_options({"adapt.epochs": epochs, "train.device": device})
    with listening() as listener:
        store = open_store(settings.tracking)
        found = job(settings, store, adapter, to, base, paths, max_loss, listener)
    if as_json:
        print_json(_document(found, all_))
    else:
        for each in found.done:
            _print(each)
    return _ended(found, max_loss)


def _ended(found: RebasedAll, max_loss: float | None) -> int:
    refused = [each for each in found.done if each.refused]
    for each in refused:
        assert each.measured is not None
        say(
            f"Not kept: recall@20 of {each.adapter.info.domain} fell by "
            f"{each.measured.loss('rebased'):.4f}, and --max-loss allows {max_loss:g}."
        )
    if found.failed:
        raise TrainingError(
            f"{len(found.failed)} of {len(found.failed) + len(found.done)} adapters could not be "
            f"rebased: {', '.join(found.failed)}. The others stand. Expected all to be; what was "
            f"wrong is said above."
        )
    return GATE_SAID_NO if refused else 0


def _print(found: Rebased) -> None:
    info = found.adapter.info
    counts = info.parameters
    print_table(
        ["adapter", "targets", "parameters", "kB on disk", "seconds"],
        [
            (
                found.run or "not kept",
                info.config.describe(),
                counts["factors"] + counts["grown"],
                round(found.stored / 1000) if found.run else None,
                round(found.seconds, 1),
            )
        ],
        title=f"{info.domain}, from {found.parent.name}",
        whole=("adapter",),
    )
    if found.measured is None:
        return
    reference = ARMS[next(iter(found.measured.results))]
    print_table(
        ["validation", "recall@20", "nDCG@20", "minus the first", "interval"],
        [_row(found, arm) for arm in found.measured.results],
        title=f"{info.domain}, validation: full ranking; the first is the {reference}",
        whole=("validation",),
    )


def _row(found: Rebased, arm: str) -> tuple[object, ...]:
    assert found.measured is not None
    recall, ndcg = found.measured.metrics(arm).values()
    difference = found.measured.differences.get(arm)
    if difference is None:
        return ARMS[arm], recall, ndcg, None, None
    gain = next(iter(difference.values())).interval
    return ARMS[arm], recall, ndcg, f"{gain.mean:+.4f}", f"[{gain.low:+.4f}, {gain.high:+.4f}]"


def _document(found: RebasedAll, all_: bool) -> Any:
    records = [_record(each) for each in found.done]
    return {"rebased": records, "failed": found.failed} if all_ else records[0]


def _record(found: Rebased) -> dict[str, Any]:
    info, measured = found.adapter.info, found.measured
    arms = None
    if measured is not None:
        arms = {
            arm: {
                **measured.metrics(arm),
                "minus_first": {k: d.to_json() for k, d in measured.differences[arm].items()}
                if arm in measured.differences
                else None,
            }
            for arm in measured.results
        }
    return {
        "run": found.run,
        "kept": not found.refused,
        "domain": info.domain,
        "parents": [found.parent.name],
        "targets": info.config.describe(),
        "adapter_digest": info.digest,
        "base_digest": info.base_digest,
        "old_base_digest": found.parent.info.base_digest,
        "alignment": {
            "cosine": found.alignment.cosine,
            "shared": dict(found.alignment.shared),
            "scales": dict(found.alignment.scales),
        },
        "ids": found.counts,
        "parameters": info.parameters["factors"] + info.parameters["grown"],
        "learning_rate": info.learning_rate,
        "best_epoch": found.history.best_epoch,
        "seconds": found.seconds,
        "bytes_on_disk": found.stored or None,
        "measured": arms,
    }
