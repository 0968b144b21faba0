"""Versions of registered models as plain values: found, listed and registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lorarec.errors import NotFoundError, did_you_mean
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import domain_of
from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from lorarec.tracking.store import Store

CHAMPION, CHALLENGER = "champion", "challenger"
"""The aliases: the version that serves, and the last one that was registered and does not."""
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
"""MLflow's codes for a name, a version or an alias that is not there."""
GONE = {*ABSENT, "NOT_FOUND"}
"""The same, and for runs."""
PAGE = 200


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: The registered model, such as `lorarec-books`.
        number: From 1.
        run_id: The run that made it; None where it names none.
        source: Where its artifact is.
        registered: When, UTC.
        tags: With their prefix, such as `lorarec.digest`.
        aliases: That point at it; empty in lists.
    """

    name: str
    number: int
    run_id: str | None
    source: str
    registered: datetime
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """`models:/NAME/NUMBER`, accepted wherever a base or an adapter is asked for."""
        return f"models:/{self.name}/{self.number}"

    def tag(self, name: str) -> str | None:
        """One of lorarec's own tags by its short name, such as `digest`."""
        return self.tags.get(TAG + name)


def versions(store: Store, name: str, digest: str | None = None) -> list[Version]:
    """Versions of a registered model, the first one first; empty where there is no such model.

    Args:
        store: Where to look.
        name: Of `model_names`, which no filter has to quote.
        digest: Of what they hold; None takes all.

    Raises:
        StoreError: The store refused.
    """
    of = "" if digest is None else f" and tags.`{TAG}digest` = '{digest}'"
    found: list[Version] = []
    token = None
    while True:
        with refusals(store.uri):
            page = store.client.search_model_versions(
                f"name = '{name}'{of}", max_results=PAGE, page_token=token
            )
        found += [plain(each) for each in page]
        token = page.token
        if not token:
            return sorted(found, key=lambda version: version.number)


def find_version(store: Store, uri: str) -> Version:
    """The version that `models:/NAME/NUMBER` or `models:/NAME@ALIAS` names.

    Raises:
        NotFoundError: There is no such model, version or alias.
        StoreError: The store refused.
    """
    from mlflow.exceptions import MlflowException

    name, at, alias = uri.removeprefix("models:/").partition("@")
    name, _, number = (name, "", "") if at else name.partition("/")
    with refusals(store.uri):
        try:
            return plain(
                store.client.get_model_version_by_alias(name, alias)
                if at
                else store.client.get_model_version(name, number)
            )
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            bare = " Where the bare base serves: --adapter none." if alias == CHAMPION else ""
            raise NotFoundError(
                f"There is no registered model version {uri!r} in {store.shown}"
                f"{_beside(store, name, alias)}{bare} Expected models:/NAME/VERSION or "
                f"models:/NAME@ALIAS. See: lorarec history --domain {domain_of(name) or 'D'}, or "
                f"lorarec ui"
            ) from error


def register(store: Store, name: str, run: RunInfo, path: str, tags: Mapping[str, str]) -> Version:
    """A new version whose source is a folder of a run's artifacts; nothing is copied.

    Args:
        store: Where to.
        name: The registered model, made where it is not there yet.
        run: That made the artifact.
        path: Of the folder among the run's artifacts, such as `adapter`.
        tags: With their prefix; set in the same step.

    Raises:
        StoreError: The store refused.
    """
    from mlflow.exceptions import MlflowException

    domain = domain_of(name)
    own = {f"{TAG}kind": "base"} if domain is None else {f"{TAG}domain": domain}
    with refusals(store.uri):
        try:
            store.client.create_registered_model(name, tags=own)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{run.artifact_uri.rstrip('/')}/{path}"
        return plain(
            store.client.create_model_version(
                name, source=source, run_id=run.run_id, tags=dict(tags)
            )
        )


def tag_version(store: Store, version: Version, tags: Mapping[str, str]) -> None:
    """Set tags of a version, under their full names.

    Raises:
        StoreError: The store refused.
    """
    with refusals(store.uri):
        for key, value in tags.items():
            store.client.set_model_version_tag(version.name, str(version.number), key, value)


def registered_model(store: Store, name: str) -> RegisteredModel | None:
    """A registered model with its tags and aliases, read at one moment; None where there is none.

    Raises:
        StoreError: The store refused.
    """
    from mlflow.exceptions import MlflowException

    with refusals(store.uri):
        try:
            return store.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            return None


def registered_domains(store: Store) -> list[str]:
    """The domains that have a registered model, sorted.

    Raises:
        StoreError: The store refused.
    """
    names: list[str] = []
    token = None
    while True:
        with refusals(store.uri):
            page = store.client.search_registered_models(max_results=PAGE, page_token=token)
        names += [each.name for each in page]
        token = page.token
        if not token:
            break
    return sorted(domain for name in names if (domain := domain_of(name)) is not None)


def plain(version: ModelVersion) -> Version:
    """The plain values of MLflow's version."""
    return Version(
        name=version.name,
        number=int(version.version),
        run_id=version.run_id or None,
        source=version.source,
        registered=datetime.fromtimestamp(version.creation_timestamp / 1000, tz=UTC),
        tags=dict(version.tags),
        aliases=tuple(sorted(version.aliases or ())),
    )


def _beside(store: Store, name: str, alias: str) -> str:
    """What there is in place of a version that is not: a sentence's end, or more sentences."""
    model = registered_model(store, name)
    if model is None:
        domain = domain_of(name)
        near = did_you_mean(domain, registered_domains(store)) if domain else ""
        return f": no model {name!r} is registered.{near}"
    if alias and alias not in model.aliases:
        named = ", ".join(f"{a} (version {v})" for a, v in sorted(model.aliases.items()))
        return f": {name} has no alias {alias!r}; it has {named or 'none'}."
    if alias:
        return f": its alias {alias!r} points at version {model.aliases[alias]}, which was deleted."
    numbers = [str(version.number) for version in versions(store, name)]
    return f"; {name} has the versions {', '.join(numbers[-10:]) or 'none'}."
