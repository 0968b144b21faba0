"""Go on training an adapter with new rows of its domain: one adapter comes out, not two on another.

Ids without a new row keep what is stored of them. What all rows share moves too, held back by the
proximal term, unless it is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorarec.config import Settings
from lorarec.errors import AdapterMismatchError, NotFoundError, did_you_mean
from lorarec.jobs.choose import Chosen
from lorarec.jobs.going import Going
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, base_of, find_adapter, load_all
from lorarec.jobs.new_rows import NewRows, new_rows
from lorarec.jobs.record_trained import record_trained
from lorarec.jobs.search import Trained, search
from lorarec.lora.adapter import Adapter
from lorarec.lora.derivation import Derivation
from lorarec.lora.drift import Drift
from lorarec.lora.size import AdapterSize
from lorarec.tracking.runs import Run
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.loop import History


@dataclass(frozen=True)
class Continued:
    """What `continue_adapter` leaves behind."""

    adapter: Adapter
    run: str
    """`runs:/<id>`."""
    parent: Named
    history: History
    before: dict[str, float]
    """Validation metrics of the adapter that it went on from, on the same users."""
    drift: dict[str, Drift]
    """How far vectors of the adapter's `users` and `items` without a new row have moved."""
    new: dict[str, int]
    """What is new: train `rows`; `users` and `items` with one; of them `grown_users`,
    `grown_items`, which got a vector now."""
    size: AdapterSize
    seconds: float
    stored: int
    """Bytes on disk."""

    @property
    def moved(self) -> bool:
        """Whether any step of training was kept."""
        return self.adapter.info.learning_rate > 0


def continue_adapter(
    settings: Settings,
    domain: str,
    text: str,
    store: Store,
    base: str | None = None,
    paths: Sequence[Path] = (),
    freeze_shared: bool = False,
    listen: Listener = SILENT,
) -> Continued:
    """Train an adapter further with rows that it has not been trained on, in a run of its own.

    Its shape stays: targets, ranks and alpha. Negatives and validation are of all rows that are
    known of, old and new. Where no step validates better than the adapter did, it stays as it was,
    with room for the new ids.

    Args:
        settings: Its sections `adapt`, without rank, targets and alpha, and `train`.
        domain: The adapter's.
        text: Which adapter; see `find_adapter`.
        store: Where it is and the run goes.
        base: URI of its base; None finds it.
        paths: Logs with the new rows; none is the base's prepared data set as it is now, or its own
            logs where `settings.data.cutoffs` moves on.
        freeze_shared: Leave alone what several rows share: B, P, Q and layers.
        listen: Takes words and progress.

    Raises:
        NotFoundError: There is no such adapter, it is of another domain, or its base is gone.
        AdapterMismatchError: It is of another base; both digests are named.
        ArtifactError: It is broken, or of a newer format.
        DataError: Nothing is new, or the logs cannot be read.
        TrainingError: Nothing is left to train.
    """
    named = find_adapter(store, text, base, listen)
    if named.info.domain != domain:
        raise NotFoundError(
            f"The adapter {named.name} is of domain {named.info.domain!r}. Expected one of "
            f"{domain!r}.{did_you_mean(domain, [named.info.domain])}"
        )
    chosen = base_of(store, named, base, listen)
    check_own_base(named, chosen)
    (adapter,) = load_all([named], chosen)
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    cutoffs = settings.data.cutoffs
    rows = new_rows(adapter.info, chosen.base.info, paths, listen, cutoffs)
    if rows.split != adapter.info.split:
        listen.say(
            f"The cut-off moves on from {adapter.info.split.t_valid} to {rows.split.t_valid}: the "
            f"adapter is evaluated on rows after it."
        )
    going = Going.of(chosen, adapter, rows)
    listen.say(going.sentence())
    tags = {"data_digest": rows.source.digest, "device": device}
    params = {"from": named.name, "freeze_shared": freeze_shared}
    with record_trained(
        settings, store, "continue", adapter.info, chosen.at(rows.split), params, [named.name], tags
    ) as recording:
        recording.run.log_inputs(read_logs(rows.source))
        start = going.start(settings.adapt.proximal, freeze_shared)
        trained = search(
            settings,
            adapter.info.config.model_copy(update={"seed": settings.train.seed}),
            chosen.base,
            going.data,
            device,
            listen,
            recording.run,
            start,
        )
        trained, made = _finished(trained, going, rows)
        found = going.drift(made)
        _say_drift(found, domain, listen)
        made, stored = recording.keep(trained, made)
        _record(recording.run, trained, found, going)
    return Continued(
        made,
        recording.run.uri,
        named,
        trained.history,
        trained.untrained,
        found,
        going.counts(),
        trained.size,
        trained.seconds,
        stored,
    )


def check_own_base(named: Named, chosen: Chosen) -> None:
    """Refuse to go on from an adapter on another base than its own.

    Raises:
        AdapterMismatchError: Both digests are named, and the command that brings it there.
    """
    if named.info.base_digest == chosen.base.digest:
        return
    raise AdapterMismatchError(
        f"The adapter {named.name} is of the base with digest {named.info.base_digest}, and the "
        f"base here has digest {chosen.base.digest}. Expected its own base to go on with; bring it "
        f"to this one first: lorarec adapters rebase {named.name} --to {chosen.run or 'NEWBASE'}"
    )


def _finished(trained: Trained, going: Going, rows: NewRows) -> tuple[Trained, Adapter]:
    parent, size = going.parent.info, trained.size
    # Rows that it was trained on long ago may not be among those that could be read again.
    size = replace(size, full=max(size.full, parent.parameters["full"]))
    how = Derivation(how="continue", parents=[parent.digest], weights=[1.0], kept={})
    info = {
        "data_digest": rows.source.digest,
        "trained_on": rows.trained_on,
        "split": rows.split,
        "made_of": how,
    }
    room = going.room
    made = Adapter(trained.model, room.users, room.items, room.info.model_copy(update=info))
    return replace(trained, size=size), made


def _say_drift(found: Mapping[str, Drift], domain: str, listen: Listener) -> None:
    told = ", ".join(
        f"{each.rows:,} {name} by {each.mean:.4f} on the mean and {each.largest:.4f} at most"
        for name, each in found.items()
    )
    listen.say(f"Vectors of {domain} without a new row moved, in shares of their length: {told}.")


def _record(run: Run, trained: Trained, found: Mapping[str, Drift], going: Going) -> None:
    run.log_metrics({f"before/{name}": value for name, value in trained.untrained.items()})
    for name, each in found.items():
        run.log_metrics({f"drift_{name}_mean": each.mean, f"drift_{name}_largest": each.largest})
    run.log_metrics({f"new_{name}": float(count) for name, count in going.counts().items()})
    run.log_metrics({"train_rows": float(len(going.data.train))})
