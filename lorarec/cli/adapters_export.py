"""`lorarec adapters export`: an adapter in the format of another library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, base_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.peft_adapter import Exported
    from lorarec.lora.peft_export import Rest


@click.command(context_settings=CONTEXT)
@click.argument("adapter", metavar="ADAPTER")
@click.option(
    "--format", "_format", type=click.Choice(["peft"]), default="peft", show_default=True,
    help="Of Hugging Face's PEFT: adapter_config.json and adapter_model.safetensors.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
    help="A new or empty folder.",
)  # fmt: skip
@click.option(
    "--rest", type=click.Choice(["beside", "drop"]),
    help="The item bias and grown rows, which PEFT has no place for: in a file of their own that "
    "adapters import reads, or left out.  [default: refused where there are some]",
)  # fmt: skip
@base_option
@json_option
@click.pass_obj
def export(
    settings: Settings, adapter: str, _format: str, out: Path, rest: Rest | None,
    base: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write an adapter in the format of PEFT.

    Row factors become LoRA on the embeddings users and items, layers of towers LoRA on linear
    layers of their names. PEFT keeps a column for every row of a table, touched or not. It knows no
    ids and no base: lorarec.json in the folder does, and an import onto another base is refused.

    \b
    Example:
      lorarec adapters export books --out books-peft --rest beside
      lorarec adapters import books-peft
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.peft_adapter import export_peft
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking, write=False)
        found = export_peft(store, adapter, out, rest, base, listener)
    if as_json:
        print_json(_record(found))
        return
    made = found.export
    print_table(
        ["module", "kind", "A", "B", "rank"],
        [
            (
                module.name,
                "embedding" if module.embedding else "linear",
                " by ".join(f"{n:,}" for n in module.a.shape),
                " by ".join(f"{n:,}" for n in module.b.shape),
                module.rank,
            )
            for module in made.modules
        ],
        title=f"{found.folder}: {found.stored / 1000:,.0f} kB; the adapter itself "
        f"{found.named.stored / 1000:,.0f} kB",
        whole=("module",),
    )
    if made.folded:
        say("The transform is in the items' rows: the base has no layer that it could be put on.")
    if made.kept:
        rest_of = ", ".join(f"{name} ({count:,})" for name, count in made.rest.items())
        say(
            f"Not in PEFT's files: {rest_of}. "
            + ("They are beside them." if made.kept == "beside" else "They are left out.")
        )
    say(f"Next: lorarec adapters import {out} --domain {found.named.info.domain}")


def _record(found: Exported) -> dict[str, object]:
    made = found.export
    return {
        "folder": str(found.folder),
        "adapter": found.named.name,
        "adapter_digest": found.named.info.digest,
        "base_digest": found.named.info.base_digest,
        "domain": found.named.info.domain,
        "modules": {
            module.name: {
                "kind": "embedding" if module.embedding else "linear",
                "rank": module.rank,
                "a": list(module.a.shape),
                "b": list(module.b.shape),
            }
            for module in made.modules
        },
        "transform_in_items": made.folded,
        "not_in_peft": made.rest,
        "rest": made.kept,
        "bytes_on_disk": found.stored,
        "bytes_on_disk_before": found.named.stored,
    }
