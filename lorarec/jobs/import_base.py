"""Import a model that was trained elsewhere as a base, and record it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from lorarec.config import Settings
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.foreign import NOTHING_STATED, Stated, opened
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.leakage import checked_leak
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.logit_scale import fitting_scale
from lorarec.jobs.reading import read_split_logs
from lorarec.models.artefact import Base, save_base
from lorarec.models.importing.factors import Factors
from lorarec.models.importing.ids import known_to
from lorarec.models.origin import Origin
from lorarec.storage import sha256_bytes
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store
from lorarec.training.device import resolve_device, set_threads
from lorarec.training.validation import RankingValidation


@dataclass(frozen=True)
class Imported:
    """What `import_base` leaves behind."""

    base: Base
    run: str
    """`runs:/<id>`."""
    known: dict[str, tuple[int, int]]
    """`users` and `items` of the train rows: known to the base, in all."""


def import_base(
    settings: Settings,
    model: Sequence[str] | Factors,
    paths: Sequence[Path],
    store: Store,
    stated: Stated = NOTHING_STATED,
    listen: Listener = SILENT,
) -> Imported:
    """Make a base of a model that was trained elsewhere and record it as one MLflow run.

    Rankings are the original's. Scores are its scores times `Origin.scale`, less the user's bias
    where it had one.

    Args:
        settings: Its section `data` for the split; `train` and `adapt` for the trials that choose
            the scale.
        model: A file, two files (users first), a folder, or the URI of a run's artifact or of a
            registered model; a base of lorarec is one too. Or vectors in memory, such as
            `importing.implicit_model.from_implicit` gives.
        paths: Logs, or a prepared data set: what is adapted to and evaluated on.
        store: Where URIs are looked up and the run goes.
        stated: What the file does not tell.
        listen: Takes words and progress.

    Raises:
        NotFoundError: The source is not there.
        ArtifactError: It is broken, or holds Python objects.
        DataError: It holds no model, its ids do not fit, or it has seen what is held out.
    """
    set_threads(settings.train.threads)
    device = resolve_device(settings.train.device)
    foreign = opened(model, store, stated)
    logs = read_split_logs(settings, paths, (), listen)
    frame, split = logs.frame, logs.split
    for note in foreign.notes:
        listen.say(note)
    foreign = foreign.identified(frame, paths, listen)
    until = foreign.until if stated.trained_until is None else stated.trained_until
    leak = checked_leak(split, until, stated.accept_leak, listen)
    train_rows = frame.filter(pl.col("split") == "train")
    known = known_to(foreign.users, foreign.items, train_rows)
    for name, (there, total) in known.items():
        if there < total:
            listen.say(
                f"{total - there:,} of the train rows' {total:,} {name} are unknown to the "
                f"imported model; adapters grow them."
            )
    digests = sorted(foreign.files.values())
    tags = standard_tags(
        data_digest=logs.source.digest,
        split=split.used,
        cutoff=split.t_test,
        device=device,
        source=foreign.source,
        source_digest=digests[0]
        if len(digests) == 1
        else sha256_bytes(*(digest.encode() for digest in digests)),
        leak=leak,
    )
    name = f"import-{foreign.kind.replace(' ', '-')}-d{foreign.dim}"
    with store.run(
        name, "import", params=settings.flat(), tags=tags, config=settings.model_dump()
    ) as run:
        run.log_inputs(read_logs(logs.source, "evaluation"))
        train, valid = train_and_valid(frame, foreign.users, foreign.items)
        domains = [d for d in train.domains if len(train.domain(d))]
        validation = RankingValidation(train, valid, domains, settings.train.seed)

        def made(scale: float) -> Base:
            base = foreign.base(settings, scale, logs)
            origin = Origin(
                source=foreign.source,
                kind=foreign.kind,
                files=dict(foreign.files),
                ids=foreign.ids,
                scale=scale,
                trained_until=until,
                leak=leak,
            )
            return replace(base, info=base.info.model_copy(update={"origin": origin}))

        scale = stated.scale if foreign.rescales else 1.0
        if scale is None:
            scale = fitting_scale(settings, made, frame, train, device, listen)
        base = made(scale)
        metrics = validation(dict.fromkeys(domains, base.model))
        base = replace(base, info=base.info.model_copy(update={"metrics": metrics}))
        with run.artifact_folder("base") as folder:
            save_base(base, folder)
        run.log_metrics({**metrics, **logs.left_out(), "scale": scale})
        run.log_json("split.json", split.model_dump())
        run.set_tags(standard_tags(base_digest=base.digest))
    return Imported(base, run.uri, known)
