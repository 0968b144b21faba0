"""`lorarec lineage`: what a base or an adapter came of, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_tree
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.lineage import Node

_DIGITS = 12


@click.command(context_settings=CONTEXT)
@click.argument("uri", metavar="URI")
@json_option
@click.pass_obj
def lineage(settings: Settings, uri: str, as_json: bool) -> None:
    """Draw a base with its data, its adapters, what came of those, and the runs that measured them.

    URI names a base or an adapter: a run, a registered version or alias, a folder, or a domain for
    its newest adapter. Of an adapter only its own branch is drawn. * marks what was asked for.

    \b
    Example:
      lorarec lineage books
      lorarec lineage models:/lorarec-books@champion
      lorarec lineage models:/lorarec-base/1 --json
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.lineage import lineage as job
    from lorarec.tracking.store import open_store

    with listening() as listen:
        root = job(open_store(settings.tracking, write=False), uri, listen)
    if as_json:
        print_json(_record(root))
    else:
        print_tree(root, _label, lambda node: node.children)


def _label(node: Node) -> str:
    parts = [f"{'* ' if node.asked else ''}{node.kind} {node.name}", node.about]
    parts += [f"digest {node.digest[:_DIGITS]}"] if node.digest else []
    parts += [*node.versions, *(["serves"] if node.serves else [])]
    return " · ".join(part for part in parts if part)


def _record(node: Node) -> dict[str, object]:
    return {
        "kind": node.kind,
        "name": node.name,
        "about": node.about,
        "digest": node.digest,
        "versions": list(node.versions),
        "serves": node.serves,
        "asked": node.asked,
        "children": [_record(child) for child in node.children],
    }
