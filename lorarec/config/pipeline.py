"""The section `[pipeline]`: what a scheduled retraining reads, when what is due, and its limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from lorarec.config.cron import checked_cron
from lorarec.config.section import Positive, Section, listed

Bits = Annotated[float, Field(gt=0.0, le=1.0)]


class Pipeline(Section):
    """A retraining that is left running. Paths are relative to the working directory."""

    logs: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    """Files, folders and patterns of logs; new files there are taken by the next retraining."""

    prepared: str = Field(default="prepared", min_length=1)
    """Folder of the prepared data set, made by the first retraining."""

    work: str = Field(default="retraining", min_length=1)
    """Folder of the journal, the history, the pages and the indexes."""

    cron: Annotated[str, AfterValidator(checked_cron)] | None = None
    """When it runs, as a line of cron in UTC, such as `0 3 * * *`; None where something else
    starts it."""

    window_days: Positive | None = None
    """Days before the newest row that are held out of training and that `[gate] part` decides on:
    the last so many where that is `valid`; where it is `test`, as many as validation before it.
    None keeps the shares of `[data]`."""

    base_max_age_days: Positive = 7.0
    """A base of this age is due."""

    base_drift: Bits | None = None
    """A base is due where rows since it are this far from those it had: Jensen-Shannon divergence
    over items, in bits above chance. None does not ask."""

    min_new_rows: int = Field(default=100, ge=1)
    """Rows of a domain since its adapter that make it due."""

    max_age_days: Positive | None = None
    """An adapter of this age is due where its domain has any new row; None does not ask."""

    drift: Bits | None = None
    """As `base_drift`, of a domain since its adapter."""

    budget_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    """A retraining begins no further domain after so long; 0 is no limit. Domains left over are
    postponed, and come first the next time."""

    attempts: int = Field(default=3, ge=1)
    """How often is tried what may pass by itself, such as a store that is locked."""

    backoff_seconds: Annotated[float, Field(ge=0.0)] = 2.0
    """The wait before the second attempt; each further one is twice as long."""

    webhook: SecretStr | None = None
    """URL that gets the outcome as JSON by POST; None tells nobody. No run records it, as whoever
    has it may write there."""

    webhook_timeout_seconds: Positive = 10.0
    """How long the webhook may take."""

    index: str | None = None
    """Index that is built of each new champion: auto, Flat or a FAISS factory string; None builds
    none, as `lorarec serve` reads the champions themselves."""

    report: bool = False
    """Evaluate all domains by `[evaluate]` on the test part and write the page of `lorarec report`
    as well: as costly as those arms."""

    keep: int = Field(default=10, ge=1)
    """How many of the newest pages and reports are kept, and of each domain indexes."""

    keep_adapters: int | None = Field(default=None, ge=1)
    """How many of the newest versions and adapters of each domain stay in the store, and how many
    bases, as by `lorarec gc --keep`; what serves, or would after a rollback, stays besides. None
    removes nothing."""

    @field_validator("webhook")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = ("http://", "https://")
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError("a URL that begins with http:// or https://")
        return value
