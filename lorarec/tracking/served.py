"""Which adapter of a domain serves: the champion, or the newest where none was ever registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorarec.tracking.model_names import model_name
from lorarec.tracking.refusals import refusals
from lorarec.tracking.registry import newest_adapter
from lorarec.tracking.versions import ABSENT, CHAMPION

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
    from mlflow.exceptions import MlflowException

    name = model_name(domain)
    with refusals(store.uri):
        try:
            model = store.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            model = None
    if model is not None:
        number = model.aliases.get(CHAMPION)
        return None if number is None else f"models:/{name}/{number}"
    info = newest_adapter(store, domain=domain, base_digest=base_digest)
    return None if info is None else info.uri
