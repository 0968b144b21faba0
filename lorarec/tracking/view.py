"""How MLflow's page shows adapters side by side: its columns, its charts, and which runs.

MLflow keeps a view that is shared as a tag of the experiment and opens it by the tag's name, so the
arrangement is in the store itself, for whoever opens it. It was read out of what MLflow 3.17's page
keeps and takes; an MLflow that knows other keys passes over ours and shows its own columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lorarec.errors import ConfigError
from lorarec.tracking.refusals import refusals
from lorarec.tracking.registry import find_run, nested_runs
from lorarec.tracking.runs import TAG

if TYPE_CHECKING:
    from lorarec.tracking.store import Store

SHARED = "mlflow.sharedViewState."
"""MLflow's own tag of an experiment; what follows is the view's name."""
ADAPTERS = "lorarec"
"""The view of all adapters."""
MOST = 80
"""Runs that one view names: their ids must fit a tag."""
RECALL = "valid_recall_at_20"
COLUMNS = {
    "params": ("domain", "rank", "targets"),
    "metrics": (RECALL, "valid_ndcg", "parameters", "bytes_on_disk", "train_seconds"),
    "tags": (f"{TAG}chosen",),
}
"""Of the table, in this order."""
AXES = ("rank", "parameters", "bytes_on_disk", "train_seconds")
"""Metrics that recall is drawn against."""
NOTE = (
    "Bases, adapters and evaluations of lorarec. Adapters side by side, recall against rank, size "
    "and seconds: `lorarec ui`; the ranks of a sweep: `lorarec ui RUN`."
)


def experiment_tags() -> dict[str, str]:
    """What MLflow's page is told of the project's experiment."""
    return {
        "mlflow.note.content": NOTE,
        SHARED + ADAPTERS: _text(f"tags.`{TAG}kind` = 'adapt'", "params.`domain`"),
    }


def arranged_page(store: Store, texts: Sequence[str] = ()) -> str:
    """Arrange MLflow's page and say where it is, from the server's address on.

    Args:
        store: One that was opened to read is left as it is: then runs are shown by MLflow's own
            comparison, and adapters as the store has it arranged.
        texts: Runs to show alone, as `runs:/ID` or ids; a run with runs under it, such as a sweep
            over ranks, stands for those. None given, all adapters are shown.

    Raises:
        NotFoundError: A run is not there.
        ConfigError: They are a single run, or more than a view can name.
        StoreError: The store refused.
    """
    experiment = f"#/experiments/{store.experiment_id}/runs"
    key = ADAPTERS
    with refusals(store.uri):
        if texts:
            query, ids = _asked(store, texts)
            if not store.writable:
                runs, of = (quote(json.dumps(each)) for each in (ids, [store.experiment_id]))
                return f"#/compare-runs?runs={runs}&experiments={of}"
            key = f"{ADAPTERS}-{hashlib.sha256(query.encode()).hexdigest()[:12]}"
            value = _text(query, "metrics.`rank`")
            store.client.set_experiment_tag(store.experiment_id, SHARED + key, value)
        elif store.experiment_id is not None:
            there = dict(store.client.get_experiment(store.experiment_id).tags)
            missing = {
                name: value
                for name, value in experiment_tags().items()
                # A note that somebody has given stays.
                if there.get(name) != value and (name not in there or name.startswith(SHARED))
            }
            if not store.writable and SHARED + key in missing:
                return experiment
            for name, value in missing.items() if store.writable else ():
                store.client.set_experiment_tag(store.experiment_id, name, value)
    return f"{experiment}?viewStateShareKey={key}&compareRunsMode=CHART"


def _asked(store: Store, texts: Sequence[str]) -> tuple[str, list[str]]:
    """The search that finds the runs that are meant, and their ids."""
    found = [find_run(store, text.strip().removeprefix("runs:/")) for text in texts]
    meant = [each for run in found for each in nested_runs(store, run.run_id) or [run]]
    ids = list(dict.fromkeys(run.run_id for run in meant))
    if not 1 < len(ids) <= MOST:
        raise ConfigError(
            f"To be compared, {len(ids)} runs are named. Expected 2 to {MOST}, or one that has "
            f"others under it, such as a sweep over ranks. See: lorarec runs"
        )
    return "attributes.run_id IN ({})".format(", ".join(f"'{each}'" for each in ids)), ids


def _text(query: str, order: str) -> str:
    """The view of the runs that a search finds, as MLflow keeps it.

    Args:
        query: In MLflow's language.
        order: By what they are sorted, upwards. Sorted by time, runs under others would be folded
            away.
    """
    section = "lorarec-adapters"
    recall = {"key": RECALL, "type": "METRIC"}
    charts: list[dict[str, Any]] = [{"type": "BAR", "metricKey": RECALL}]
    charts += [
        {"type": "SCATTER", "xaxis": {"key": axis, "type": "METRIC"}, "yaxis": recall}
        for axis in AXES
    ]
    shared = {"metricSectionId": section, "runsCountToCompare": MOST}
    columns = [f"{kind}.`{name}`" for kind, names in COLUMNS.items() for name in names]
    state: dict[str, Any] = {
        "searchFilter": query,
        "orderByKey": order,
        "orderByAsc": True,
        "selectedColumns": columns,
        "runsHiddenMode": "FIRST_20_RUNS",
        "isAccordionReordered": True,
        "compareRunSections": [
            {
                "uuid": section,
                "name": "Recall against rank, size and time",
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
            }
        ],
        "compareRunCharts": [
            {"uuid": f"lorarec-{place}", "deleted": False, "isGenerated": False, **shared, **chart}
            for place, chart in enumerate(charts)
        ],
    }
    return json.dumps(state, separators=(",", ":"))
