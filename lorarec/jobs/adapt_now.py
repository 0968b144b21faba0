"""A first adapter on a base whose prepared data set has grown and moved on since."""

from __future__ import annotations

from lorarec.config import Settings
from lorarec.data.later_split import goes_on
from lorarec.errors import DataError
from lorarec.jobs.adapt import Adapted, shape, train_adapter
from lorarec.jobs.choose import choose_base
from lorarec.jobs.listener import SILENT, Listener
from lorarec.tracking.store import Store


def adapt_now(
    settings: Settings, domain: str, store: Store, base: str | None = None,
    listen: Listener = SILENT,
) -> Adapted:  # fmt: skip
    """Train an adapter on the base's data set as it is now, cut where that is cut now.

    `adapt` reads it as it was when the base was trained, where a domain that came since is not.

    Args:
        settings: As `adapt` takes them.
        domain: To adapt to; the base need not have seen it.
        store: Where the base is and the run goes.
        base: URI of a base; None is the newest.
        listen: Takes words and progress.

    Raises:
        DataError: The base is of other logs than a prepared data set, or the domain has no train
            row.
        NotFoundError: There is no such base or domain.
    """
    chosen = choose_base(store, base, listen)
    config = shape(settings, chosen.base)
    info = chosen.base.info
    dataset = info.data.dataset()
    if dataset is None:
        raise DataError(
            f"The base was trained on the logs {', '.join(info.data.paths)}. Expected a prepared "
            f"data set, which can grow; adapt on the logs as they were: lorarec adapt --domain "
            f"{domain}"
        )
    split = info.split
    if dataset.split is not None and goes_on(dataset.split, split):
        chosen = chosen.at(dataset.split)
        split = dataset.split
    frame, source = info.data.read_again(split, [dataset.folder], domain=domain)
    return train_adapter(settings, config, domain, store, chosen, frame, source, listen)
