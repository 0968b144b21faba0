"""Options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path

import click

GATE_SAID_NO = 1
"""Exit code of a command that did what was asked and was refused."""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

SHAPE = ("adapt.rank", "adapt.targets", "adapt.alpha")
"""Settings of an adapter's shape, which one that is trained further keeps."""

domain_option = click.option("--domain", required=True, metavar="D", help="The domain's name.")
base_option = click.option(
    "--base", metavar="URI", help="A base.  [default: the newest finished one]"
)
adapter_option = click.option(
    "--adapter",
    metavar="URI",
    help="An adapter, or none for the bare base.  [default: the domain's newest on the base]",
)
data_option = click.option(
    "--data",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Other logs than the base's.",
)
logs_option = click.option(
    "--data", "paths", type=click.Path(path_type=Path), multiple=True, required=True,
    metavar="PATH", help="Logs: a file or a folder; may be given more than once.",
)  # fmt: skip
users_option = click.option(
    "--users", type=click.Path(), metavar="FILE",
    help="Features of users: a table with the column user_id, for two-tower.",
)  # fmt: skip
items_option = click.option(
    "--items", type=click.Path(), metavar="FILE",
    help="Features of items: a table with the column item_id, for two-tower.",
)  # fmt: skip
split_option = click.option(
    "--split", type=click.Choice(["column", "time", "leave-last-out", "random"]),
    help="How train, valid and test are cut.  [default: time]",
)  # fmt: skip
epochs_option = click.option("--epochs", type=int, help="Passes over the train rows, at most.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
seed_option = click.option("--seed", type=int, help="Of everything random.  [default: 0]")
device_option = click.option(
    "--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]"
)


def named_parts(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`--name PART=NAME`, repeated, as a mapping."""
    pairs = [value.partition("=") for value in values]
    for value, (part, _equals, name) in zip(values, pairs, strict=True):
        if not (part and name):
            raise click.BadParameter(
                f"{value!r} is no PART=NAME. Expected such as users=user_embedding.weight."
            )
    return {part: name for part, _equals, name in pairs}
