"""All domains logged as one MLflow model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.jobs.listener import SILENT, Listener
from lorarec.serving.bundle import write_bundle
from lorarec.serving.store import StoreSource
from lorarec.tracking.pyfunc import log_pyfunc
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

ARTIFACT = "bundle"
"""What pyfunc.py calls the folder."""
CODE = Path(__file__).with_name("pyfunc.py")


@dataclass(frozen=True)
class Logged:
    """An MLflow model."""

    uri: str
    """`runs:/<id>/model`, as MLflow loads it."""
    run: str
    domains: list[str]


def log_domains(
    store: Store, base: str | None = None, paths: Sequence[Path] = (), listen: Listener = SILENT
) -> Logged:
    """Log what serves every domain now as one MLflow model, in a run of its own.

    Args:
        store: Open for writing.
        base: URI of the base; None is the newest.
        paths: Other logs than the base's.
        listen: Takes words.

    Raises:
        LorarecError: A domain cannot be loaded, or the store refused.
    """
    source = StoreSource(store, base, paths, listen)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        info = write_bundle(source, folder)
        tags = standard_tags(base_digest=source.base.digest)
        with store.run("serve", "serve", tags=tags) as run:
            uri = log_pyfunc(store, run, CODE, folder, ARTIFACT)
    listen.say(f"Logged {len(info.domains)} domains as {uri}.")
    return Logged(uri, run.uri, sorted(info.domains))
