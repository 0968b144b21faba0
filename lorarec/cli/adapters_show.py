"""`lorarec adapters show`: all that is recorded of one adapter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table
from lorarec.cli.shared import CONTEXT, base_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.describe_adapter import Described


@click.command(context_settings=CONTEXT)
@click.argument("adapter", metavar="ADAPTER")
@base_option
@json_option
@click.pass_obj
def show(settings: Settings, adapter: str, base: str | None, as_json: bool) -> None:
    """Show an adapter: its size beside full fine-tuning of the same rows, lineage and metrics.

    Optimiser bytes are Adam's two moments of every trained number. ADAPTER is a run, a folder, or a
    domain: its newest on the base.

    \b
    Example:
      lorarec adapters show books
      lorarec adapters show books --json
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.describe_adapter import describe_adapter
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        found = describe_adapter(store, adapter, base, listener)
    if as_json:
        print_json(_record(found))
        return
    _print(found)


def _print(found: Described) -> None:
    info, size, touched, grown = found.named.info, found.size, found.touched, found.grown
    print_table(
        ["", "adapter", "full fine-tuning", "share"],
        [
            ("parameters", size.parameters, size.full, f"{size.share_of_full:.1%}"),
            ("of them grown rows", size.grown, size.grown, None),
            ("optimiser bytes", size.optimizer_bytes, found.full_optimizer_bytes,
             f"{size.share_of_full:.1%}"),
            ("bytes on disk", found.named.stored, None, None),
        ],
        title=f"{info.domain}: {info.config.describe()}, in {info.storage}",
    )  # fmt: skip
    print_table(
        ["rows", "users", "items"],
        [
            ("touched", touched["users"], touched["items"]),
            ("grown", grown["users"], grown["items"]),
            ("with a bias", None, touched["bias"]),
        ],
    )
    rows: list[tuple[str, object]] = [
        ("adapter", found.named.name),
        ("digest", info.digest),
        ("base", info.base_digest),
        ("logs", info.data_digest),
        ("split", info.split.used),
        ("cut-off", _moment(info.split.t_test)),
        ("alpha", f"{info.config.alpha:g}"),
        ("learning rate", f"{info.learning_rate:g}"),
        *info.metrics.items(),
    ]
    if (made := info.made_of) is not None:
        rows += [
            (f"{made.how} of", f"{weight:g} · {parent}")
            for parent, weight in zip(made.parents, made.weights, strict=True)
        ]
        rows += [(f"kept of {target}", f"{share:.2%}") for target, share in made.kept.items()]
    rows.append(("versions", ", ".join(f"{n} {v}" for n, v in sorted(info.versions.items()))))
    print_table(["recorded", ""], [(name, _text(value)) for name, value in rows])


def _text(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)


def _record(found: Described) -> dict[str, object]:
    info, size = found.named.info, found.size
    return {
        "adapter": found.named.name,
        "kind": found.named.run.kind if found.named.run else None,
        "domain": info.domain,
        "targets": info.config.describe(),
        "config": info.config.model_dump(),
        "storage": info.storage,
        "digest": info.digest,
        "base_digest": info.base_digest,
        "data_digest": info.data_digest,
        "split": info.split.used,
        "cutoff": info.split.t_test,
        "learning_rate": info.learning_rate,
        "metrics": info.metrics,
        "versions": info.versions,
        "made_of": info.made_of.model_dump() if info.made_of else None,
        "touched": found.touched,
        "grown": found.grown,
        "parameters": size.parameters,
        "parameters_factors": size.factors,
        "parameters_grown": size.grown,
        "parameters_full": size.full,
        "share_of_full": size.share_of_full,
        "optimizer_bytes": size.optimizer_bytes,
        "optimizer_bytes_full": found.full_optimizer_bytes,
        "bytes_on_disk": found.named.stored,
        "bytes_full": found.full_bytes,
    }
