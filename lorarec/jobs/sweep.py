"""`--rank 2,4,8`: an adapter of each rank, each a run of its own under one that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.evaluation.rank_curve import RankCurve
from lorarec.jobs.adapt import Adapted, costs, shape, train_adapter
from lorarec.jobs.auto_rank import check_validation, curve_of, free_targets, record_curve
from lorarec.jobs.choose import choose_base
from lorarec.jobs.domain import domain_data
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device
from lorarec.training.validation import RankingValidation


@dataclass(frozen=True)
class Swept:
    """What a sweep leaves behind."""

    run: str
    """`runs:/<id>`, with the adapters' runs under it."""
    adapters: dict[int, Adapted]
    """By rank, rising."""
    curve: RankCurve

    @property
    def chosen(self) -> Adapted:
        """The one of the smallest rank within one standard error of the best."""
        return self.adapters[self.curve.chosen]


def sweep(
    settings: Settings,
    domain: str,
    store: Store,
    base: str | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> Swept:
    """Train an adapter of each rank in `settings.adapt.rank` and choose one by validation.

    The logs are read once. A later command that is told no adapter takes the chosen one; the others
    are taken where they are named. A sweep that was broken off has chosen none.

    Args:
        settings: Its sections `adapt` and `train`; of `adapt.rank` all ranks.
        domain: To adapt to.
        store: Where the base is and the runs go.
        base: URI of a base; None is the newest.
        paths: Other logs than the base's, by choice.
        listen: Takes words and progress.

    Raises:
        NotFoundError: There is no such base or domain.
        ConfigError: A rank or the targets do not fit the base, or no target takes the ranks.
        DataError: The logs have changed, the domain has no train row, or there is nothing to
            validate on.
    """
    asked = settings.adapt.rank
    ranks = asked if isinstance(asked, tuple) else (settings.adapt.single_rank,)
    chosen = choose_base(store, base, listen)
    free_targets(chosen.base.model, settings.adapt.targets)
    each = {rank: settings.with_options({"adapt.rank": rank}) for rank in ranks}
    # Before any logs are read: a rank that cannot be is told at once.
    shapes = {rank: shape(one, chosen.base) for rank, one in each.items()}
    info = chosen.base.info
    frame, source = info.data.read_again(info.split, paths, domain=domain)
    data = domain_data(chosen.base, frame, domain)
    validation = RankingValidation(data.train, data.valid, [domain], settings.train.seed)
    shown = ",".join(map(str, ranks))
    check_validation(len(validation), domain, shown)
    tags = standard_tags(
        domain=domain,
        **chosen.tags,
        data_digest=source.digest,
        device=resolve_device(settings.train.device),
    )
    params = {**settings.flat(), "domain": domain}
    kept = settings.model_dump()
    with store.run(f"sweep-{domain}", "sweep", params=params, tags=tags, config=kept) as run:
        run.log_inputs(read_logs(source))
        adapters = {
            rank: train_adapter(
                one, shapes[rank], domain, store, chosen, frame, source, listen, run.id, True
            )
            for rank, one in each.items()
        }
        values = {
            rank: validation.by_user({domain: done.adapter.model})
            for rank, done in adapters.items()
        }
        curve = curve_of(domain, values, adapters[ranks[0]].untrained)
        best = adapters[curve.chosen]
        title = f"{domain}: an adapter trained at each rank"
        record_curve(run, curve, curve.record(), title)
        run.set_tags(standard_tags(rank=curve.chosen, adapter_run=best.run))
        run.log_metrics(best.adapter.info.metrics)
        run.log_metrics(costs(best.adapter.info.config, best.size, best.stored))
        run.log_metrics({"train_seconds": sum(each.seconds for each in adapters.values())})
        store.tag(best.run.removeprefix("runs:/"), standard_tags(chosen="yes"))
    return Swept(run.uri, adapters, curve)
