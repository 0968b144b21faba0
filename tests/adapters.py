"""An adapter of a small base, with grown rows of unusual ids."""

from __future__ import annotations

from lorarec.lora.adapter import Adapter, AdapterInfo, adapter_digest
from lorarec.lora.config import AdapterConfig
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel

NEW_USERS = ["Zoë", "用户"]
NEW_ITEMS = ["", "ключ 1", "a\x00b"]


def made(
    base: Base,
    model: BaseModel,
    config: AdapterConfig,
    new_users: list[str] = NEW_USERS,
    new_items: list[str] = NEW_ITEMS,
) -> Adapter:
    info = AdapterInfo(
        domain="books",
        config=config,
        dim=base.model.dim,
        digest=adapter_digest(model, (new_users, new_items)),
        weights_digest="",
        base_digest=base.digest,
        base_users=len(base.users),
        base_items=len(base.items),
        user_vocabulary=base.users.digest(),
        item_vocabulary=base.items.digest(),
        data_digest="d1",
        split=base.info.split,
        learning_rate=0.01,
        metrics={"valid_ndcg": 0.25},
        parameters={"factors": 1, "grown": 2, "full": 3},
        versions={"torch": "2"},
    )
    return Adapter(model, base.users.extend(new_users), base.items.extend(new_items), info)
