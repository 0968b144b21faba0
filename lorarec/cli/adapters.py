"""`lorarec adapters`: what adapters there are, and what can be made of them."""

from __future__ import annotations

import click

from lorarec.cli.adapters_diff import diff
from lorarec.cli.adapters_export import export
from lorarec.cli.adapters_import import import_
from lorarec.cli.adapters_list import list_
from lorarec.cli.adapters_merge import merge
from lorarec.cli.adapters_quantize import quantize
from lorarec.cli.adapters_rebase import rebase
from lorarec.cli.adapters_show import show
from lorarec.cli.adapters_sum import sum_
from lorarec.cli.adapters_truncate import truncate
from lorarec.cli.shared import CONTEXT


@click.group(context_settings=CONTEXT)
def adapters() -> None:
    """List, compare, combine and shrink adapters.

    ADAPTER is runs:/ID, a run's id, models:/NAME@ALIAS or a folder; or a domain, which stands for
    its newest trained adapter on the base (--base, or the newest).

    \b
    Example:
      lorarec adapters list
      lorarec adapters show books
    """


for command in (list_, show, diff, merge, sum_, truncate, quantize, rebase, export, import_):
    adapters.add_command(command)
