"""The run of an adapter whose training began at another adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lorarec.config import Settings
from lorarec.jobs.adapt import record_training
from lorarec.jobs.choose import Chosen
from lorarec.jobs.search import Trained
from lorarec.lora.adapter import Adapter, AdapterInfo, adapter_digest, save_adapter
from lorarec.lora.config import recorded_rank
from lorarec.lora.state import AdapterState
from lorarec.models.artefact import library_versions
from lorarec.storage import bytes_of, sha256_bytes
from lorarec.tracking.runs import Run, standard_tags
from lorarec.tracking.store import Store


@dataclass(frozen=True)
class Recording:
    """A run that waits for its adapter."""

    run: Run

    def keep(self, trained: Trained, made: Adapter) -> tuple[Adapter, int]:
        """Record the adapter that came out.

        Args:
            trained: How it was.
            made: What it is; of its record what training tells is not filled in yet.

        Returns:
            The adapter with its whole record, and bytes on disk.
        """
        made = completed(trained, made)
        with self.run.artifact_folder("adapter") as folder:
            save_adapter(made, folder)
            stored = bytes_of(folder)
        record_training(self.run, trained, made, stored)
        return made, stored


def completed(trained: Trained, made: Adapter) -> Adapter:
    """An adapter with the part of its record that its training tells."""
    grown, size = AdapterState.of(made).grown, trained.size
    known = {
        "digest": adapter_digest(made.model, (grown["users"], grown["items"])),
        "weights_digest": sha256_bytes(),
        "learning_rate": trained.learning_rate,
        "metrics": trained.metrics,
        "parameters": {"factors": size.factors, "grown": size.grown, "full": size.full},
        "versions": library_versions(),
        "storage": "fp32",
    }
    return replace(made, info=made.info.model_copy(update=known))


@contextmanager
def record_trained(
    settings: Settings,
    store: Store,
    how: str,
    info: AdapterInfo,
    chosen: Chosen,
    params: Mapping[str, object],
    parents: Sequence[str],
    tags: Mapping[str, object],
    parent: str | None = None,
) -> Iterator[Recording]:
    """A run of the kind `adapt`: later commands take what it makes as the domain's adapter.

    Args:
        settings: All of them.
        store: Where the run goes.
        how: The first word of its name.
        info: Domain and shape of the adapter.
        chosen: Its base.
        params: Besides the settings, whose rank, targets and alpha are the adapter's.
        parents: Names of the adapters that it begins at.
        tags: Besides those of the base, the domain and the rank.
        parent: Id of the run that it stands under.
    """
    found = standard_tags(
        domain=info.domain,
        rank=recorded_rank(info.config),
        **chosen.tags,
        parents=",".join(parents),
        **tags,
    )
    shape = {"adapt.alpha": info.config.alpha, "targets": info.config.describe()}
    flat = {k: v for k, v in settings.flat().items() if k not in ("adapt.rank", "adapt.targets")}
    told = {**flat, **shape, "domain": info.domain, **params}
    recorded = store.run(
        f"{how}-{info.domain}",
        "adapt",
        params=told,
        tags=found,
        config=settings.model_dump(),
        parent=parent,
    )
    with recorded as run:
        yield Recording(run)
