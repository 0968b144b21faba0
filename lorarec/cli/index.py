"""`lorarec index`: indexes of a domain's items, exact and approximate."""

from __future__ import annotations

import click

from lorarec.cli.index_all import all_
from lorarec.cli.index_build import build
from lorarec.cli.index_change import add, remove
from lorarec.cli.index_show import show
from lorarec.cli.shared import CONTEXT


@click.group(context_settings=CONTEXT)
def index() -> None:
    """Build, show and change indexes of items, for `lorarec recommend --index`.

    An index is a folder, of one domain or of all. It is bound to the base and the adapters whose
    vectors it holds.

    \b
    Example:
      lorarec index build --domain books --out data/books-index
      lorarec index show data/books-index
    """


for command in (build, all_, show, add, remove):
    index.add_command(command)
