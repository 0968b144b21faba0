"""A published index is of the champion as it is now."""

from __future__ import annotations

from world import World

from lorarec.jobs.promote import promote
from lorarec.pipeline.publish import publish
from lorarec.record import load_record, save_record
from lorarec.retrieval.artefact import RECORD, IndexInfo


def test_an_index_of_another_digest_is_built_anew_and_no_other(world: World) -> None:
    settings = world.settings.with_options({"gate.min_effect": -1.0, "pipeline.index": "Flat"})
    promote(settings, "books", world.store, world.adapter, force="test")
    place = publish(settings, world.store, world.folder / "work", "books")
    assert place is not None
    made = load_record(place / RECORD, IndexInfo)
    inode = place.stat().st_ino
    publish(settings, world.store, world.folder / "work", "books")
    assert place.stat().st_ino == inode
    save_record(place / RECORD, made.model_copy(update={"base_digest": "0" * 64}))
    publish(settings, world.store, world.folder / "work", "books")
    assert load_record(place / RECORD, IndexInfo).base_digest == made.base_digest
