"""Which runs a report is of: from what was named to evaluations and the base that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lorarec.errors import ConfigError, NotFoundError
from lorarec.jobs.named_adapter import ADAPTER_KINDS
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import (
    BASE_KINDS,
    find_run,
    finished,
    nested_runs,
    newest,
    newest_base,
    resolve,
)
from lorarec.tracking.store import Store

TEST = "test"


@dataclass
class Meant:
    """The runs of a report."""

    evaluations: dict[str, RunInfo] = field(default_factory=dict)
    """By domain."""
    together: RunInfo | None = None
    """The `evaluate --all-domains` that they are of, where one was named or is the newest."""
    adapters: list[RunInfo] = field(default_factory=list)
    """Adapters that were named."""
    base_digest: str | None = None
    base_run: str | None = None
    asked: list[RunInfo] = field(default_factory=list)
    """What was named, resolved."""


def meant(store: Store, texts: Sequence[str]) -> Meant:
    """The runs that texts name; nothing named is the newest base and what was measured on it.

    Args:
        store: Where to look.
        texts: `runs:/ID`, run ids or `models:/…`, of evaluate, evaluate --all-domains, adapt (one
            domain, many, a sweep), full fine-tuning, pretrain or import. One that is no
            evaluation stands for the newest evaluation of its domain, of a base of each domain.

    Raises:
        NotFoundError: A run is not there, or nothing has been made yet.
        ConfigError: The runs are of different bases, or one is of a kind that a report is not of.
    """
    found = Meant()
    if not texts:
        base = newest_base(store)
        if base is None:
            raise NotFoundError(
                f"There is no finished base in {store.shown}. Expected one to report on; make it "
                f"first: lorarec pretrain --data PATH"
            )
        _on_base(store, found, base)
        return found
    for text in texts:
        info = _run_of(store, text)
        found.asked.append(info)
        _add(store, found, info)
    return found


def _run_of(store: Store, text: str) -> RunInfo:
    if text.startswith("models:/"):
        errors = []
        for kind in ("adapter", "base"):
            try:
                _, info = resolve(store, text, kind)
            except NotFoundError as error:
                errors.append(error)
                continue
            if info is not None:
                return info
        if errors:
            raise errors[0]
        raise NotFoundError(
            f"{text} was registered without a run. Expected one that a run made. See: lorarec runs"
        )
    return find_run(store, text.strip().removeprefix("runs:/").strip("/").partition("/")[0])


def _add(store: Store, found: Meant, info: RunInfo) -> None:
    if info.kind in BASE_KINDS:
        _on_base(store, found, info)
    elif info.kind == "evaluate":
        if info.tag("protocol"):
            raise ConfigError(
                f"The run {info.run_id} measured by the protocol {info.tag('protocol')}, on lists "
                f"of its own. Expected an evaluation by full ranking: lorarec evaluate --domain "
                f"{info.domain}"
            )
        _same_base(found, info)
        found.evaluations[str(info.domain)] = info
    elif info.kind == "evaluate-all":
        _same_base(found, info)
        found.together = info
        for each in nested_runs(store, info.run_id):
            if each.kind == "evaluate" and each.status == "FINISHED":
                found.evaluations[str(each.domain)] = each
    elif info.kind == "sweep" or info.kind == "adapt-all" or info.kind in ADAPTER_KINDS:
        _same_base(found, info)
        own = nested_runs(store, info.run_id) if info.kind in ("sweep", "adapt-all") else [info]
        for each in own:
            if each.kind not in ADAPTER_KINDS or each.status != "FINISHED" or each.passed_over:
                continue
            found.adapters.append(each)
            measured = _newest_evaluation(store, each)
            if measured is not None:
                found.evaluations.setdefault(str(each.domain), measured)
    else:
        raise ConfigError(
            f"The run {info.run_id} is of the kind {info.kind}. Expected evaluate, adapt, sweep, "
            f"full, pretrain or import; see which there are: lorarec runs"
        )


def _newest_evaluation(store: Store, adapter: RunInfo) -> RunInfo | None:
    """The newest evaluation with this adapter among its arms, on the test part where there is."""
    tags = {
        "domain": adapter.domain,
        "base_digest": adapter.tag("base_digest"),
        "adapter_digest": adapter.tag("adapter_digest"),
    }
    on_test = newest(store, "evaluate", **tags, part=TEST)
    return on_test or newest(store, "evaluate", **tags)


def _on_base(store: Store, found: Meant, base: RunInfo) -> None:
    _same_base(found, base)
    found.base_run = base.uri
    measured = [
        info
        for info in finished(store, ["evaluate"], base_digest=found.base_digest)
        if not info.tag("protocol") and info.domain is not None
    ]
    # Stable: newest first, and the test part before any other.
    for info in sorted(measured, key=lambda info: info.part != TEST):
        found.evaluations.setdefault(str(info.domain), info)
    together = newest(store, "evaluate-all", base_digest=found.base_digest)
    if together is not None:
        nested = {each.run_id for each in nested_runs(store, together.run_id)}
        if {info.run_id for info in found.evaluations.values()} <= nested:
            found.together = together


def _same_base(found: Meant, info: RunInfo) -> None:
    digest = info.tag("base_digest")
    if found.base_digest not in (None, digest):
        raise ConfigError(
            f"The run {info.run_id} ({info.kind} {info.name}) is of the base with digest "
            f"{str(digest)[:12]}, and those before it of {str(found.base_digest)[:12]}. Expected "
            f"runs of one base; make a report for each."
        )
    found.base_digest = digest
    found.base_run = found.base_run or info.tag("base_run")
