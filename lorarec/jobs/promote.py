"""Register an adapter and, where the gate says yes, make it the champion of its domain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorarec.config import Settings
from lorarec.data.tables import write_parquet
from lorarec.errors import ConfigError, LorarecError, NotFoundError
from lorarec.evaluation.evaluate import RECALL_DENOMINATOR, ArmResult
from lorarec.evaluation.gate import CHALLENGER, Verdict
from lorarec.jobs.choose import Chosen
from lorarec.jobs.gate import Contender, Judged, judge
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, base_of, find_adapter, load_all, newest_of
from lorarec.lora.config import recorded_rank
from lorarec.tracking.champions import (
    FORCE,
    PROMOTE,
    Reign,
    advance_base,
    check_unmoved,
    deciding,
    move,
    reign,
    set_challenger,
)
from lorarec.tracking.model_names import BASE_MODEL, model_name
from lorarec.tracking.registry import find_run, newest_base
from lorarec.tracking.runs import TAG, standard_tags
from lorarec.tracking.store import Store
from lorarec.tracking.versions import (
    Version,
    find_version,
    register,
    tag_version,
    versions,
)

REFUSED, REGISTERED, ALREADY = "refused", "registered", "already"
"""What becomes of an adapter that is not promoted: the gate said no; only a challenger was asked
for; it is the champion already."""


@dataclass(frozen=True)
class Promoted:
    """What became of an adapter that was brought to the gate."""

    domain: str
    outcome: str
    """`promote`, `force`, `refused`, `registered` or `already`."""
    version: Version
    before: int | None
    """The champion's version before; None where the bare base served."""
    verdict: Verdict | None
    """None where the gate was not asked, or with force could not be."""
    run: str | None
    """The run that holds the measurement."""

    @property
    def refused(self) -> bool:
        """Whether the gate said no and was obeyed."""
        return self.outcome == REFUSED


def promote(
    settings: Settings,
    domain: str,
    store: Store,
    adapter: str | None = None,
    base: str | None = None,
    paths: Sequence[Path] = (),
    *,
    challenger_only: bool = False,
    force: str | None = None,
    listen: Listener = SILENT,
) -> Promoted:
    """Bring an adapter of a domain to the gate; the alias `champion` moves last, or not at all.

    The adapter becomes a version of the domain's registered model whatever the gate says, with the
    verdict as a tag, and its base one of the base's. Where it does not become the champion it is
    the challenger.

    Args:
        settings: Its section `gate` is the policy.
        domain: Its name.
        store: Where runs and registered models are.
        adapter: URI; None is the domain's newest on the base.
        base: URI; None is the adapter's, or without `adapter` the newest.
        paths: Other logs than the base's to decide on, by choice.
        challenger_only: Register it and ask nothing.
        force: A reason to promote it whatever the gate says.
        listen: Takes words.

    Raises:
        NotFoundError: There is no such adapter, base, part or metric.
        ConfigError: The adapter is in a folder that no run made.
        DataError: There is nothing to decide on.
        ChampionMovedError: Another process moved the champion meanwhile; nothing was moved here.
    """
    before = reign(store, domain)
    named = _named(store, domain, adapter, base, listen)
    # One that went on has learnt what its base's split holds out: it is judged after its own.
    chosen = base_of(store, named, base, listen).beside(named.info)
    contender = Contender(chosen, load_all([named], chosen)[0], named.stored)
    serving = _serving(store, before)
    if serving is not None and serving.tag("digest") == named.info.digest:
        return Promoted(domain, ALREADY, serving, before.version, None, None)
    judged, run = None, None
    if not challenger_only:
        try:
            champion = None if serving is None else _contender(store, serving)
            judged, run = _judged(settings, domain, store, contender, champion, paths, listen)
        except LorarecError as error:
            if force is None:
                raise
            listen.say(f"The gate could not decide, and is not asked: {error}")
    with deciding(store):
        check_unmoved(store, before)
        version = _registered(store, domain, named, chosen)
        if judged is not None:
            tag_version(store, version, _verdict_tags(settings, judged, run, force))
        outcome = REGISTERED if challenger_only else REFUSED
        if force is not None or (judged is not None and judged.verdict.passed):
            outcome = FORCE if force is not None else PROMOTE
            advance_base(store, int(str(version.tag("base_version")).rpartition("/")[2]))
            move(store, before, version.number, outcome, reason=force or "")
        elif before.version != version.number:
            set_challenger(store, domain, version.number)
    verdict = judged.verdict if judged else None
    return Promoted(domain, outcome, version, before.version, verdict, run)


def _named(
    store: Store, domain: str, adapter: str | None, base: str | None, listen: Listener
) -> Named:
    if adapter is None:
        found = newest_of(store, domain, base)
        listen.say(f"Adapter: {found.uri} ({found.name}), the newest of {domain}.")
        adapter = found.uri
    named = find_adapter(store, adapter, base, listen)
    if named.info.domain != domain:
        raise NotFoundError(
            f"The adapter {named.name} is of domain {named.info.domain!r}. Expected one of "
            f"{domain!r}; see: lorarec adapters list --domain {domain}"
        )
    if named.run is None:
        raise ConfigError(
            f"The adapter in {named.folder} is in no run of {store.shown}. Expected one that a run "
            f"made, so that its version has an origin: runs:/RUN_ID. See: lorarec adapters list"
        )
    return named


def _serving(store: Store, before: Reign) -> Version | None:
    if before.version is None:
        return None
    return find_version(store, f"models:/{model_name(before.domain)}/{before.version}")


def _contender(store: Store, version: Version) -> Contender:
    """The champion, loaded; where that fails it says how to go on without it."""
    try:
        named = find_adapter(store, version.uri, None, SILENT)
        chosen = base_of(store, named, None, SILENT)
        return Contender(chosen, load_all([named], chosen)[0], named.stored)
    except LorarecError as error:
        raise type(error)(
            f"The champion {version.uri} cannot be compared with. {error} To promote without a "
            f"comparison: --force --reason TEXT"
        ) from error


def _judged(
    settings: Settings,
    domain: str,
    store: Store,
    contender: Contender,
    champion: Contender | None,
    paths: Sequence[Path],
    listen: Listener,
) -> tuple[Judged, str]:
    """The verdict, in a run of its own with all that it was decided by."""
    info = contender.adapter.info
    tags = standard_tags(
        domain=domain,
        rank=recorded_rank(info.config),
        **contender.chosen.tags,
        adapter_digest=info.digest,
        part=settings.gate.part,
        recall_denominator=RECALL_DENOMINATOR,
    )
    params = {**settings.flat(), "domain": domain, "targets": info.config.describe()}
    with store.run(
        f"gate-{domain}", "gate", params=params, tags=tags, config=settings.model_dump()
    ) as run:
        judged = judge(settings, domain, contender, champion, paths, listen)
        run.log_inputs(read_logs(judged.source, "evaluation"))
        run.set_tags(standard_tags(data_digest=judged.source.digest))
        for arm, result in judged.results.items():
            run.log_metrics({f"{arm}_{key}": value for key, value in result.metrics().items()})
        measured = {"bytes_on_disk": float(contender.stored), "latency_ms": judged.latency}
        run.log_metrics({key: value for key, value in measured.items() if value is not None})
        run.log_json("verdict.json", judged.verdict.to_json())
        with run.artifact_folder("per_user") as folder:
            for arm, result in judged.results.items():
                frame = result.per_user_frame(judged.users.to_list())
                write_parquet(frame, folder / f"{arm}.parquet")
    return judged, run.uri


def _registered(store: Store, domain: str, named: Named, chosen: Chosen) -> Version:
    """The version of an adapter: the one that is there, or a new one; its base's likewise."""
    name = model_name(domain)
    assert named.run is not None
    for version in versions(store, name, named.info.digest):
        if version.run_id == named.run.run_id:
            return version
    tags = {
        "digest": named.info.digest,
        "base_digest": named.info.base_digest,
        "base_version": _registered_base(store, chosen).uri,
        "domain": domain,
        "targets": named.info.config.describe(),
        "bytes_on_disk": str(named.stored),
        "data_digest": named.info.data_digest,
    }
    path = named.folder.name
    return register(store, name, named.run, path, {TAG + key: tags[key] for key in tags})


def _registered_base(store: Store, chosen: Chosen) -> Version:
    digest = chosen.base.digest
    if there := versions(store, BASE_MODEL, digest):
        return there[0]
    run = newest_base(store, base_digest=digest)
    if chosen.run is not None:
        run = find_run(store, chosen.run.removeprefix("runs:/"))
    if run is None:
        raise ConfigError(
            f"The base with digest {digest} is in no run of {store.shown}, so it cannot be "
            f"registered. Expected one that a run made; import it first: lorarec import FOLDER"
        )
    tags = {"digest": digest, "domains": ",".join(chosen.base.info.domains)[:5000]}
    return register(store, BASE_MODEL, run, "base", {TAG + key: tags[key] for key in tags})


def _verdict_tags(
    settings: Settings, judged: Judged, run: str | None, force: str | None
) -> dict[str, str]:
    """What was measured and decided, as tags of the version."""
    verdict = judged.verdict.to_json() | {
        "policy": settings.gate.model_dump(),
        "forced": force,
        "warning": judged.warning or None,
    }
    tags = {
        "verdict": json.dumps(verdict, allow_nan=False),
        "decision": judged.verdict.decision,
        "part": settings.gate.part,
        "users": str(judged.verdict.users),
        "gate_run": str(run),
        **_metrics(judged.results[CHALLENGER]),
    }
    return {TAG + key: value for key, value in tags.items()}


def _metrics(result: ArmResult) -> dict[str, str]:
    """Each metric as a person reads it: its mean and interval."""
    return {
        key: f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]"
        for key, found in result.intervals.items()
    }
