"""The run of an adapter that was made without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorarec.config import Settings
from lorarec.jobs.adapt import costs
from lorarec.jobs.choose import Chosen
from lorarec.lora.adapter import Adapter, save_adapter
from lorarec.lora.config import recorded_rank
from lorarec.lora.size import AdapterSize
from lorarec.storage import bytes_of
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store


def record_made(
    settings: Settings,
    store: Store,
    kind: str,
    made: Adapter,
    chosen: Chosen,
    params: Mapping[str, object],
    parents: Sequence[str] = (),
    measured: Mapping[str, float] | None = None,
    leak: str | None = None,
) -> tuple[str, int]:
    """Record an adapter as one MLflow run.

    Args:
        settings: All of them.
        store: Where the run goes.
        kind: Of the run.
        made: Its own metrics are recorded too.
        chosen: Its base.
        params: Besides the settings.
        parents: Names of the adapters that it was computed from.
        measured: Validation metrics of what it is compared with; None where nothing was measured.
        leak: Whether held-out rows may have trained it, where it came from elsewhere.

    Returns:
        `runs:/<id>`, and bytes on disk.
    """
    info = made.info
    size = AdapterSize(
        info.parameters["factors"], info.parameters["grown"], info.parameters["full"]
    )
    tags = standard_tags(
        domain=info.domain,
        rank=recorded_rank(info.config),
        base_run=chosen.run,
        base_digest=info.base_digest,
        adapter_digest=info.digest,
        parents=",".join(parents) if parents else None,
        data_digest=info.data_digest or None,
        split=info.split.used,
        cutoff=info.split.t_test,
        part=None if measured is None else "valid",
        leak=leak,
    )
    told = {
        **settings.flat(),
        "domain": info.domain,
        "targets": info.config.describe(),
        "storage": info.storage,
        **params,
    }
    name = f"{kind}-{info.domain}"
    with store.run(name, kind, params=told, tags=tags, config=settings.model_dump()) as run:
        with run.artifact_folder("adapter") as folder:
            save_adapter(made, folder)
            stored = bytes_of(folder)
        run.log_metrics(
            {
                **costs(info.config, size, stored),
                **{f"kept_{k}": v for k, v in (info.made_of.kept if info.made_of else {}).items()},
            }
        )
        if measured is not None:
            run.log_metrics({**info.metrics, **measured})
    return run.uri, stored
