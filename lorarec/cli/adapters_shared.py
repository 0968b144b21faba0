"""What the commands that make an adapter of others share: their options, and how they report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import GATE_SAID_NO

if TYPE_CHECKING:
    from lorarec.jobs.derive_adapter import Derived

max_loss_option = click.option(
    "--max-loss", type=click.FloatRange(min=0), metavar="X",
    help="Keep it only if validation's recall@20 falls by no more than X, such as .001; else exit "
    "code 1.",
)  # fmt: skip


def report(found: Derived, as_json: bool, max_loss: float | None) -> int:
    """Print what was made beside what it was made of.

    Returns:
        The exit code: 1 where the gate said no.
    """
    if as_json:
        print_json(_record(found))
    else:
        _print(found)
    if not found.refused:
        return 0
    assert found.measured is not None
    say(
        f"Not kept: recall@20 fell by {found.measured.loss(_made()):.4f}, and --max-loss allows "
        f"{max_loss:g}."
    )
    return GATE_SAID_NO


def _made() -> str:
    from lorarec.jobs.derive_adapter import MADE

    return MADE


def _print(found: Derived) -> None:
    info = found.adapter.info
    counts = info.parameters
    columns = ["adapter", "targets", "storage", "parameters", "kB on disk"]
    rows: list[tuple[object, ...]] = [
        (
            each.name,
            each.info.config.describe(),
            each.info.storage,
            each.info.parameters["factors"] + each.info.parameters["grown"],
            round(each.stored / 1000),
        )
        for each in found.parents
    ]
    made = (
        found.run or "not kept",
        info.config.describe(),
        info.storage,
        counts["factors"] + counts["grown"],
        round(found.stored / 1000) if found.run else None,
    )
    print_table(columns, [*rows, made], whole=("adapter",))
    kept = info.made_of.kept if info.made_of else {}
    if kept:
        shares = ", ".join(f"{share:.2%} of {target}" for target, share in kept.items())
        say(f"Kept of the squared norm of what moves: {shares}.")
    if found.measured is None:
        return
    print_table(
        ["validation", "recall@20", "nDCG@20", "minus the first", "interval"],
        [_measured(found, arm) for arm in found.measured.results],
        title=f"{info.domain}, validation: full ranking",
        whole=("validation",),
    )


def _measured(found: Derived, arm: str) -> tuple[object, ...]:
    assert found.measured is not None
    recall, ndcg = found.measured.metrics(arm).values()
    shown = (found.run or "not kept") if arm == _made() else arm
    difference = found.measured.differences.get(arm)
    if difference is None:
        return shown, recall, ndcg, None, None
    gain = next(iter(difference.values())).interval
    return shown, recall, ndcg, f"{gain.mean:+.4f}", f"[{gain.low:+.4f}, {gain.high:+.4f}]"


def _record(found: Derived) -> dict[str, Any]:
    info = found.adapter.info
    measured = found.measured
    result: dict[str, Any] = {
        "run": found.run,
        "kept": not found.refused,
        "domain": info.domain,
        "targets": info.config.describe(),
        "storage": info.storage,
        "adapter_digest": info.digest,
        "base_digest": info.base_digest,
        "parents": [each.name for each in found.parents],
        "made_of": info.made_of.model_dump() if info.made_of else None,
        "parameters": info.parameters["factors"] + info.parameters["grown"],
        "bytes_on_disk": found.stored or None,
        "bytes_on_disk_before": [each.stored for each in found.parents],
        "reference": found.reference,
        "measured": None,
    }
    if measured is not None:
        result["measured"] = {
            arm: {
                **measured.metrics(arm),
                "minus_first": {k: d.to_json() for k, d in measured.differences[arm].items()}
                if arm in measured.differences
                else None,
            }
            for arm in measured.results
        }
    return result


def weights_of(_: click.Context, __: click.Parameter, value: str) -> list[float]:
    """`.5,.5` as numbers."""
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no list of numbers. Expected one for each adapter, such as .5,.5"
        ) from None
