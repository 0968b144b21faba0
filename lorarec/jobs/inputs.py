"""The logs that a run reads, as its record names them."""

from __future__ import annotations

from pathlib import Path

from lorarec.data.source import DataSource
from lorarec.tracking.inputs import Context, Input


def read_logs(source: DataSource, context: Context = "training") -> Input:
    """Logs, under the name of their first file, by the digest of their rows in their order.

    Args:
        source: As they were read.
        context: What for.
    """
    first, more = Path(source.paths[0]).name, len(source.paths) - 1
    return Input(
        name=f"{first} and {more} more" if more else first,
        digest=source.digest,
        context=context,
        source=source.model_dump(mode="json", exclude={"digest", "split"}, exclude_defaults=True),
        profile={"rows": source.rows, "dropped": source.dropped},
    )
