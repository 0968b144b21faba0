"""All that is recorded of an adapter, read from its folder: its base need not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import (
    ADAPTER_KINDS,
    Named,
    base_digest,
    base_of,
    find_adapter,
    load_all,
)
from lorarec.lora.difference import Change, difference
from lorarec.lora.size import BYTES, AdapterSize
from lorarec.lora.state import AdapterState
from lorarec.storage import read_tensors
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import finished
from lorarec.tracking.store import Store


@dataclass(frozen=True)
class Described:
    """An adapter on disk, counted."""

    named: Named
    size: AdapterSize
    touched: dict[str, int]
    """Known rows that it moves, by `users` and `items`; and items with a `bias`."""
    grown: dict[str, int]
    """Ids that the base has never seen, by `users` and `items`."""

    @property
    def full_optimizer_bytes(self) -> int:
        """What Adam keeps for full fine-tuning of the same rows."""
        return AdapterSize(self.size.full, 0, self.size.full).optimizer_bytes

    @property
    def full_bytes(self) -> int:
        """The numbers of full fine-tuning of the same rows, as float32."""
        return self.size.full * BYTES


def list_adapters(
    store: Store, domain: str | None = None, base: str | None = None, limit: int = 20
) -> list[RunInfo]:
    """Runs that made an adapter, newest first.

    Args:
        store: Where to look.
        domain: Of this one alone.
        base: URI of the base that they are of; None is any.
        limit: At most so many.

    Raises:
        NotFoundError: There is no such base.
    """
    digest = None if base is None else base_digest(store, base)
    runs: list[RunInfo] = []
    for info in finished(store, ADAPTER_KINDS, domain=domain, base_digest=digest):
        runs.append(info)
        if len(runs) >= limit:
            break
    return runs


def describe_adapter(
    store: Store, text: str, base: str | None = None, listen: Listener = SILENT
) -> Described:
    """Size, rows and record of an adapter.

    Args:
        store: Where runs are looked up.
        text: As for `find_adapter`.
        base: The base that a domain is looked up on.
        listen: Takes words.

    Raises:
        NotFoundError: There is none.
        ArtifactError: It is broken.
    """
    named = find_adapter(store, text, base, listen)
    info = named.info
    tensors = read_tensors(named.folder / "adapter.safetensors", info.weights_digest)

    def count(name: str) -> int:
        return len(tensors[name]) if name in tensors else 0

    counts = info.parameters
    return Described(
        named,
        AdapterSize(counts["factors"], counts["grown"], counts["full"]),
        {name: count(f"{name}.rows") for name in ("users", "items", "bias")},
        {name: count(f"{name}.grown") for name in ("users", "items")},
    )


@dataclass(frozen=True)
class Compared:
    """Two adapters side by side."""

    named: tuple[Named, Named]
    changes: list[Change]
    lengths: dict[str, float]
    """Mean length of the base's `users` and `items` rows, to hold the changes against."""


def compare_adapters(
    store: Store, texts: Sequence[str], base: str | None = None, listen: Listener = SILENT
) -> Compared:
    """What changes from the first adapter to the second.

    Raises:
        NotFoundError: There is no such adapter, or its base is not in the store.
        AdapterMismatchError: They are of different bases.
    """
    first, second = (find_adapter(store, text, base, listen) for text in texts)
    chosen = base_of(store, first, base, listen)
    a, b = (AdapterState.of(adapter) for adapter in load_all([first, second], chosen))
    model = chosen.base.model
    lengths = {
        name: float(getattr(model, name).weight.detach().norm(dim=1).mean())
        for name in ("users", "items")
    }
    return Compared((first, second), difference(a, b), lengths)
