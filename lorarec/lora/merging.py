"""An adapter written into a copy of its base: a base of its own, ready to be saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lorarec.errors import ConfigError
from lorarec.lora.adapter import Adapter
from lorarec.lora.attach import merged
from lorarec.lora.towers import read_by_histories, tower_deltas
from lorarec.models.artefact import Base, DomainBiases, library_versions, weights_digest
from lorarec.models.base import ItemBias, plain_tables, table_of
from lorarec.models.history import HistoryPool
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.origin import Merged
from lorarec.models.two_tower import TwoTower
from lorarec.storage import sha256_bytes


def merged_base(base: Base, adapter: Adapter) -> Base:
    """A base that scores as the adapter does, to rounding; neither of the two is touched.

    Its tables hold the base's rows, the grown ones behind them and what was appended since; its
    item bias has the domain's in it, for every item. Where users have histories that read items
    which the adapter moves, the history gets a table of its own, of the items as they were. Where
    the bias of another domain begins stays what it was; the merged domain's begins in the base.

    Args:
        base: Of the adapter.
        adapter: On it.

    Raises:
        ConfigError: It moves features that histories read, and a base on disk has them once.
    """
    _check_histories(adapter)
    model = _plain(base, adapter)
    info, known = base.info, adapter.info
    # What features and a history are known of stays; a grown row is its vector alone.
    towers = isinstance(model, TwoTower)
    users, items = (info.users, info.items) if towers else (len(adapter.users), len(adapter.items))
    record = info.model_copy(
        update={
            "bias": model.bias is not None,
            "digest": weights_digest(model, users, items),
            "weights_digest": sha256_bytes(),
            "users": users,
            "items": items,
            "user_vocabulary": adapter.users.digest(users),
            "item_vocabulary": adapter.items.digest(items),
            "domains": sorted({*info.domains, known.domain}),
            "excluded_domains": [d for d in info.excluded_domains if d != known.domain],
            "split": known.split,
            "tower": model.config if isinstance(model, TwoTower) else None,
            "metrics": known.metrics,
            "versions": library_versions(),
            "merged": Merged(
                base_digest=base.digest, adapter_digest=known.digest, domain=known.domain
            ),
        }
    )
    biases = {
        domain: _relative(biases, base, model)
        for domain, biases in base.domain_bias.items()
        if domain != known.domain
    }
    return Base(model, adapter.users, adapter.items, record, biases, base.features)


def _plain(base: Base, adapter: Adapter) -> MatrixFactorization | TwoTower:
    whole = merged(adapter.model)
    bias = whole.bias
    if bias is not None:
        with torch.no_grad():
            bias = ItemBias(bias(torch.arange(len(adapter.items))).unsqueeze(1).clone())
    plain = whole.replaced(bias=bias)
    assert isinstance(plain, MatrixFactorization | TwoTower)
    if isinstance(plain, TwoTower):
        _keep_histories(plain, base.model)
    return plain.requires_grad_(False)


def _check_histories(adapter: Adapter) -> None:
    if read := read_by_histories(adapter.model, tower_deltas(adapter.model)):
        raise ConfigError(
            f"The adapter moves {', '.join(read)}, and users' histories go on reading the base's. "
            f"Expected an adapter without them, since a base on disk has one of each: adapt with "
            f"other --targets, or serve base and adapter as they are."
        )


def _keep_histories(model: TwoTower, before: MatrixFactorization | TwoTower) -> None:
    """Let users go on being known by the items as they were: nothing the adapter moved reads them.

    In the adapted model histories read the base's items, and a base on disk has no others.
    """
    pool, known = model.history, model.known["items"]
    if pool is None or pool.table is not None:
        return
    was, now = (plain_tables(each)["items"][:known] for each in (before, model))
    if torch.equal(was, now):
        return
    own = HistoryPool(
        pool.offsets,
        pool.items,
        pool.power,
        attention=False,
        dim=pool.dim,
        table=table_of(was.clone()),
    )
    own.gate = pool.gate
    model.history = own
    model.config = model.config.model_copy(update={"history_table": "separate"})


def _relative(
    biases: DomainBiases, base: Base, model: MatrixFactorization | TwoTower
) -> DomainBiases:
    """The same biases beside the merged base's own."""
    rows = torch.from_numpy(biases.rows)
    before, after = (
        np.zeros(len(rows), np.float32) if values is None else values.numpy()
        for values in (base.model.item_bias(rows), model.item_bias(rows))
    )
    return replace(biases, values=(biases.values + before - after).astype(np.float32))
