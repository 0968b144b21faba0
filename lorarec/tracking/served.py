"""Which adapter of a domain serves: the champion, or the newest where none was ever registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorarec.tracking.model_names import model_name
from lorarec.tracking.registry import newest_adapter
from lorarec.tracking.versions import CHAMPION, registered_model

if TYPE_CHECKING:
    from lorarec.tracking.store import Store


def served_adapter(store: Store, domain: str, base_digest: str) -> str | None:
    """URI of the adapter that serves a domain now; None where the bare base does.

    The version under the alias `champion` of `lorarec-<domain>`. A registered model without that
    alias has no champion by decision, so its bare base serves. Where nothing was registered the
    newest adapter on the base does.

    Args:
        store: Where to look.
        domain: Its name.
        base_digest: Of the base whose newest adapter is meant.

    Raises:
        StoreError: The store refused.
    """
    name = model_name(domain)
    model = registered_model(store, name)
    if model is not None:
        number = model.aliases.get(CHAMPION)
        return None if number is None else f"models:/{name}/{number}"
    info = newest_adapter(store, domain=domain, base_digest=base_digest)
    return None if info is None else info.uri
