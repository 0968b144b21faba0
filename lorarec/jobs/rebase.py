"""Bring adapters to a retrained base: carried over, trained again, and measured beside where they
came from. Nothing is reused without both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.errors import ConfigError, LorarecError, NotFoundError, did_you_mean
from lorarec.evaluation.evaluate import compare
from lorarec.jobs.choose import Chosen, choose_base
from lorarec.jobs.domain import DomainData, domain_data, touched_rows
from lorarec.jobs.evaluate import evaluate_arms
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, base_digest, base_of, find_adapter, is_named, load_all
from lorarec.jobs.ranking import Arena
from lorarec.jobs.record_trained import completed, record_trained
from lorarec.jobs.search import Start, search
from lorarec.jobs.validated import CUT, METRICS, Validated
from lorarec.lora.adapter import Adapter, AdapterInfo, grown_ids
from lorarec.lora.attach import attach, restore
from lorarec.lora.derivation import Derivation
from lorarec.lora.rebasing import Alignment, Carried, aligned, carried
from lorarec.models.base import BaseModel
from lorarec.storage import sha256_bytes
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import finished
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.loop import History

NEWEST = "newest"
"""In place of the new base's URI: the newest finished one."""
OLD, BARE, CARRIED, REFIT = "old", "base", "carried", "rebased"
"""Arms: the old adapter on its base, the new base bare, the adapter carried over without training,
and that trained again."""


@dataclass(frozen=True)
class Rebased:
    """What became of one adapter."""

    adapter: Adapter
    parent: Named
    alignment: Alignment
    counts: dict[str, int]
    """Ids, as `Carried.counts`."""
    history: History
    measured: Validated | None
    """The arms on the same validation users, the first as the reference; None where the domain has
    no validation rows."""
    refused: bool
    """Whether more recall was lost than was allowed: nothing was kept then."""
    run: str | None
    """`runs:/<id>`; None where it was refused."""
    stored: int
    """Bytes on disk; 0 where it was refused."""
    seconds: float


@dataclass(frozen=True)
class RebasedAll:
    """What became of many."""

    done: list[Rebased]
    failed: dict[str, str]
    """Adapter → the error that ended it."""


def rebase(
    settings: Settings,
    store: Store,
    text: str | None,
    to: str,
    base: str | None = None,
    paths: Sequence[Path] = (),
    max_loss: float | None = None,
    listen: Listener = SILENT,
) -> RebasedAll:
    """Bring one adapter, or the newest of every domain, to another base.

    Args:
        settings: Its sections `adapt`, without rank, targets and alpha, `train` and `evaluate`.
        store: Where adapters and bases are and the runs go.
        text: Which adapter, as `find_adapter` takes it; a domain is its newest adapter that is not
            on the new base. None is the newest of every domain.
        to: URI of the new base, or `newest`.
        base: URI of the old base, which domains are looked up on; None is each adapter's own.
        paths: Other logs than the new base's, by choice.
        max_loss: Recall at 20 on validation that may be lost; None lets anything pass.
        listen: Takes words and progress.

    Raises:
        NotFoundError: There is no such adapter or base.
        ConfigError: It is on the new base already, or may have been trained on what the new base's
            split holds out.
        LorarecError: The one adapter that was asked for, or all of them, could not be rebased.
    """
    new = choose_base(store, None if to == NEWEST else to, listen)
    texts = [_newest(store, text, new, base)] if text else _all(store, new, base)
    named = [find_adapter(store, each, None, listen) for each in texts]
    for each in named:
        _check_other(each, new)
    info = new.base.info
    domain = named[0].info.domain if len(named) == 1 else None
    frame, source = info.data.read_again(info.split, paths, domain=domain)
    done: list[Rebased] = []
    failed: dict[str, str] = {}
    errors: list[LorarecError] = []
    for place, each in enumerate(named):
        if len(named) > 1:
            listen.say(f"{each.info.domain}: {place + 1} of {len(named)} adapters.")
        try:
            done.append(
                _rebase(settings, store, each, new, frame, source, base, paths, max_loss, listen)
            )
        except LorarecError as error:
            if len(named) == 1:
                raise
            listen.say(f"Warning: {each.info.domain} was not rebased: {error}")
            failed[each.name] = str(error)
            errors.append(error)
    if not done:
        raise errors[0]
    return RebasedAll(done, failed)


def _rebase(
    settings: Settings,
    store: Store,
    named: Named,
    new: Chosen,
    frame: pl.DataFrame,
    source: DataSource,
    base: str | None,
    paths: Sequence[Path],
    max_loss: float | None,
    listen: Listener,
) -> Rebased:
    old = base_of(store, named, base, listen)
    (adapter,) = load_all([named], old)
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    domain = adapter.info.domain
    split = _held_out(named, old, new, adapter)
    if split != new.base.info.split:
        listen.say(
            f"{named.name} was trained on rows up to {split.t_valid}, later than the new base: "
            f"what follows is split there."
        )
        new = new.at(split)
        frame, source = new.base.info.data.read_again(split, paths, domain=domain)
    data = domain_data(new.base, frame, domain)
    alignment = aligned(old.base, new.base)
    start, found = _start(adapter, old, new, data, alignment, settings.adapt.grown_ridge)
    listen.say(_sentence(named, alignment, found))
    config = adapter.info.config.model_copy(update={"seed": settings.train.seed})
    trained = search(settings, config, new.base, data, device, listen, None, start)
    blank = _blank(adapter, new, data, source)
    made = completed(trained, replace(blank, model=trained.model))
    arms: dict[str, Adapter | None] = {
        BARE: None,
        CARRIED: replace(blank, model=start.model()),
        REFIT: made,
    }
    arena = Arena.of(frame, domain)
    measured = _measured(settings, arena, old, new, adapter, arms, listen)
    if measured is None and max_loss is not None:
        raise ConfigError(
            f"--max-loss {max_loss:g} has no validation rows of {domain!r} to be held against. "
            f"Expected a domain that has some; or leave --max-loss out."
        )
    told = (named, alignment, found.counts, trained.history, measured)
    if measured is not None and max_loss is not None and measured.loss(REFIT) > max_loss:
        return Rebased(made, *told, True, None, 0, trained.seconds)
    params = {"rebased_from": named.name, "aligned": round(alignment.cosine, 4)}
    tags = {"data_digest": source.digest, "device": device}
    with record_trained(
        settings, store, "rebase", made.info, new, params, [named.name], tags
    ) as recording:
        recording.run.log_inputs(read_logs(source))
        made, stored = recording.keep(trained, made)
        metrics = {f"ids_{what}": float(count) for what, count in found.counts.items()}
        for arm in measured.results if measured is not None else ():
            metrics |= {f"{arm}/{k}": v for k, v in measured.metrics(arm).items()}  # type: ignore[union-attr]
        recording.run.log_metrics({**metrics, "alignment": alignment.cosine})
    return Rebased(made, *told, False, recording.run.uri, stored, trained.seconds)


def _start(
    adapter: Adapter,
    old: Chosen,
    new: Chosen,
    data: DomainData,
    alignment: Alignment,
    ridge: float,
) -> tuple[Start, Carried]:
    """The adapter on the new base, turned to it and not trained yet."""
    base, config = new.base, adapter.info.config
    touched = touched_rows(base, data, ridge)
    grown = {
        "users": grown_ids(data.users, len(base.users)),
        "items": grown_ids(data.items, len(base.items)),
    }
    found = carried(adapter, old.base, base, touched, grown, alignment)

    def model() -> BaseModel:
        return restore(base.model, config, found.tensors).requires_grad_(False)

    start = Start(
        model,
        lambda: attach(base.model, config, touched),
        (len(touched.users), len(touched.items)),
        "the adapter is what was carried over",
        "the adapter leaves the new base as it is",
        fixed_cold=True,
    )
    return start, found


def _blank(adapter: Adapter, new: Chosen, data: DomainData, source: DataSource) -> Adapter:
    """The record of the adapter on the new base, but for what training tells."""
    base, before = new.base, adapter.info
    others = [] if source.digest == base.info.data.digest else [source]
    info = AdapterInfo(
        domain=before.domain,
        config=before.config,
        dim=base.model.dim,
        digest=sha256_bytes(),
        weights_digest=sha256_bytes(),
        base_digest=base.digest,
        base_users=len(base.users),
        base_items=len(base.items),
        user_vocabulary=base.users.digest(),
        item_vocabulary=base.items.digest(),
        data_digest=source.digest,
        split=base.info.split,
        learning_rate=0.0,
        metrics={},
        parameters={"factors": 0, "grown": 0, "full": 0},
        versions={},
        trained_on=[each.model_copy(update={"split": None}) for each in others],
        made_of=Derivation(how="rebase", parents=[before.digest], weights=[1.0], kept={}),
    )
    return Adapter(base.model, data.users, data.items, info)


def _measured(
    settings: Settings,
    arena: Arena,
    old: Chosen,
    new: Chosen,
    adapter: Adapter,
    arms: Mapping[str, Adapter | None],
    listen: Listener,
) -> Validated | None:
    """All arms on the validation users of the new base's split, the old adapter first."""
    try:
        arena.held_out("valid")
    except NotFoundError as error:
        listen.say(f"Nothing was measured: {error}")
        return None
    chosen = settings.with_options({"evaluate.k": str(CUT)})
    results, _ = evaluate_arms(chosen, arena, new, dict(arms), list(arms), "valid")
    if why := _seen(old, new, adapter):
        listen.say(f"The old adapter is not measured beside it: {why}.")
    else:
        before, _ = evaluate_arms(chosen, arena, old, {OLD: adapter}, [OLD], "valid")
        results = {**before, **results}
    differences = compare(
        results,
        next(iter(results)),
        metrics=METRICS,
        resamples=settings.evaluate.bootstrap,
        seed=settings.train.seed,
        confidence=settings.evaluate.confidence,
    )
    return Validated(results, differences)


def _held_out(named: Named, old: Chosen, new: Chosen, adapter: Adapter) -> SplitRecord:
    """The split to train and measure at: nothing that the old adapter has learnt is held out by it.

    What an adapter has learnt is carried over, so a row that trained it may not be measured on.

    Raises:
        ConfigError: No split is known to hold out other rows than those that trained it.
    """
    split, before = new.base.info.split, adapter.info.split
    if split.used == before.used == "time":
        if before.t_valid is None or split.t_valid is None or before.t_valid <= split.t_valid:
            return split
        later = split.model_copy(update={"t_end": None}).cut_at(before.cutoffs)
        return later.model_copy(update={"counts": {}, "repeats": {}, "core": None, "notes": []})
    told = split.used == before.used == "column" and not split.follows_the_rows
    if not told and (why := _seen(old, new, adapter)):
        raise ConfigError(
            f"{named.name} cannot be carried over: {why}, and what was learnt of them would come "
            f"along. Expected both to be split by time, or of the same logs and split; begin anew: "
            f"lorarec adapt --domain {adapter.info.domain} --base {new.run or 'NEWBASE'}"
        )
    return split


def _seen(old: Chosen, new: Chosen, adapter: Adapter) -> str:
    """Why the old base or adapter may have been trained on what is held out now; "" where not."""
    before, after = old.base.info, new.base.info
    if before.split.used == after.split.used == "time":
        first, then = adapter.info.split.t_valid, after.split.t_valid
        if first is not None and then is not None and first <= then:
            return ""
        return "its cut-off is later, so it was trained on rows that are held out here"
    same = before.data.digest == after.data.digest == adapter.info.data_digest
    if same and before.split == after.split:
        return ""
    return (
        "its base was split otherwise, so it may have been trained on rows that are held out here"
    )


def _sentence(named: Named, alignment: Alignment, found: Carried) -> str:
    c = found.counts
    text = (
        f"Carried {named.name}: {c['kept']:,} ids keep their factors, {c['grown']:,} stay grown, "
        f"{c['learnt']:,} that were grown the new base has learnt, {c['lost']:,} that it does not "
        f"know are grown now, {c['gone']:,} have no train row any more, {c['new']:,} are new. The "
        f"bases agree by a cosine of {alignment.cosine:.3f} after the turn."
    )
    return f"{text} Begun anew: {', '.join(found.fresh)}." if found.fresh else text


def _check_other(named: Named, new: Chosen) -> None:
    if named.info.base_digest == new.base.digest:
        raise ConfigError(
            f"The adapter {named.name} is on the base with digest {new.base.digest} already. "
            f"Expected another base; to go on there: lorarec adapt --domain {named.info.domain} "
            f"--from {named.name}"
        )


def _newest(store: Store, text: str, new: Chosen, base: str | None) -> str:
    """What names the adapter: the text, or the newest run of the domain that is not on the base."""
    if is_named(text):
        return text
    runs = _elsewhere(store, new, base)
    for info in runs:
        if info.tag("domain") == text:
            return info.uri
    names = sorted({name for info in runs if (name := info.tag("domain"))})
    raise NotFoundError(
        f"There is no adapter {text!r} to rebase: no run, no folder with an adapter.json, and no "
        f"domain with an adapter on another base.{did_you_mean(text, names)} See: lorarec adapters "
        f"list"
    )


def _all(store: Store, new: Chosen, base: str | None) -> list[str]:
    newest: dict[str, str] = {}
    for info in _elsewhere(store, new, base):
        newest.setdefault(info.tag("domain") or "", info.uri)
    if not newest:
        raise NotFoundError(
            f"There is no adapter on another base than {new.run or new.base.digest} in "
            f"{store.shown}. Expected one; make it: lorarec adapt --domain D. See: lorarec "
            f"adapters list"
        )
    return [newest[name] for name in sorted(newest)]


def _elsewhere(store: Store, new: Chosen, base: str | None) -> list[RunInfo]:
    """Trained adapters that are not on the new base, the one that began last first."""
    digest = None if base is None else base_digest(store, base)
    return [
        info
        for info in finished(store, ["adapt"], base_digest=digest)
        if not info.passed_over and info.tag("base_digest") != new.base.digest
    ]
