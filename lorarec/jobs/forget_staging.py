"""What a store without some ids is made of, written beside what it will replace."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from lorarec.data.forgotten import Forgotten
from lorarec.data.source import DataSource
from lorarec.data.tables import write_parquet
from lorarec.errors import ConfigError
from lorarec.jobs.forget_places import Places, same_logs
from lorarec.jobs.index_domain import without_rows
from lorarec.jobs.naming_files import TABLES, names_any, quoted
from lorarec.lora.adapter import AdapterInfo, load_adapter, save_adapter
from lorarec.lora.forgetting import rekeyed
from lorarec.models.artefact import Base, BaseInfo, load_base, save_base
from lorarec.models.forgetting import without_ids
from lorarec.record import load_record, save_record
from lorarec.retrieval.artefact import load_index, save_index
from lorarec.retrieval.augmented_artefact import RECORD as JOINED
from lorarec.retrieval.augmented_artefact import AugmentedInfo
from lorarec.storage import atomic_dir, atomic_path, beside
from lorarec.tracking.everything import all_versions
from lorarec.tracking.flip import Flip, Replacement, VersionTags
from lorarec.tracking.runs import TAG
from lorarec.tracking.store import Store

HIDDEN = "A message that named a forgotten id."


@dataclass(frozen=True)
class Touched:
    """One thing that is changed."""

    what: str
    """`data set`, `base`, `adapter`, `index`, `table`, `report`, `model`, `leftover`
    or `message`."""
    name: str
    """URI or path."""
    how: str


@dataclass
class Staging:
    """New files and folders beside the old ones, and what of the store changes with them."""

    places: Places
    forgotten: Forgotten
    digests: dict[str, str] = field(default_factory=dict)
    """Of bases and adapters, before → now."""
    touched: list[Touched] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What names an id and cannot be rewritten."""
    replaced: dict[Path, Path] = field(default_factory=dict)
    """Place → what lies beside it to take it."""
    removed: list[Path] = field(default_factory=list)

    def discard(self) -> None:
        """Remove what was written."""
        for staged in self.replaced.values():
            if staged.is_dir():
                shutil.rmtree(staged, ignore_errors=True)
            else:
                staged.unlink(missing_ok=True)

    def bases_and_adapters(self, logs: Sequence[DataSource]) -> None:
        """Every base, and every adapter on it.

        Args:
            logs: Sources as they are recorded from now on; see `renewed`.

        Raises:
            ArtifactError: One is broken.
        """
        waiting = dict(self.places.adapters)
        for folder, info in self.places.bases.items():
            base = load_base(folder)
            data = renewed(info.data, logs)
            own = [place for place, of in waiting.items() if of.base_digest == base.digest]
            try:
                now = without_ids(base, self.forgotten, data, folder)
            except ConfigError as error:
                self.refused.append(f"{self.places.names[folder]}: {error}")
                for place in own:
                    waiting.pop(place)
                continue
            if now.digest != base.digest or data != info.data:
                how = "row" if now.digest != base.digest else "its logs anew"
                self._folder("base", folder, partial(save_base, now), how)
            if now.digest != base.digest:
                self.digests[base.digest] = now.digest
            for place in own:
                self._adapter(place, waiting.pop(place), base, now, logs)
        for place in waiting:
            if any(names_any(file, self.forgotten) for file in place.glob("*.safetensors")):
                self.refused.append(f"the adapter in {place}, whose base is not here: --also BASE")
        self._name_parents()

    def _adapter(
        self, folder: Path, info: AdapterInfo, base: Base, now: Base, logs: Sequence[DataSource]
    ) -> None:
        trained_on = [renewed(source, logs) for source in info.trained_on]
        made = rekeyed(base, now, load_adapter(folder, base), self.forgotten, trained_on)
        if made.info.digest != info.digest:
            self.digests[info.digest] = made.info.digest
        same = made.info.model_copy(update={"weights_digest": info.weights_digest}) == info
        if not same:
            how = "row" if made.info.digest != info.digest else "its base anew"
            self._folder("adapter", folder, partial(save_adapter, made), how)

    def _name_parents(self) -> None:
        """Let what came of others name those by the digests that they have now."""
        for folder, info in self.places.adapters.items():
            made_of = info.made_of
            if made_of is None or not set(made_of.parents) & set(self.digests):
                continue
            parents = [self.digests.get(each, each) for each in made_of.parents]
            self._record(
                folder,
                "adapter.json",
                AdapterInfo,
                {"made_of": made_of.model_copy(update={"parents": parents})},
            )
        for folder, base in self.places.bases.items():
            if (merged := base.merged) is None:
                continue
            of = {
                name: self.digests.get(digest, digest)
                for name, digest in (
                    ("base_digest", merged.base_digest),
                    ("adapter_digest", merged.adapter_digest),
                )
            }
            if (now := merged.model_copy(update=of)) != merged:
                self._record(folder, "base.json", BaseInfo, {"merged": now})

    def _record(
        self,
        folder: Path,
        name: str,
        schema: type[AdapterInfo] | type[BaseInfo],
        update: Mapping[str, object],
    ) -> None:
        """Change the record of an artefact: where it lies to be, or in a copy of its file."""
        if folder in self.replaced:
            path = self.replaced[folder] / name
            save_record(path, load_record(path, schema).model_copy(update=update))
            return
        info = load_record(folder / name, schema).model_copy(update=update)
        self._file("record", folder / name, lambda path: save_record(path, info), "others anew")

    def indexes(self) -> None:
        """Indexes besides the store: without the items, bound to what base and adapter are now.

        Raises:
            ArtifactError: One is broken.
            DataError: One would be empty.
        """
        for folder in self.places.indexes:
            stored = load_index(folder)
            rows = stored.items.rows(self.forgotten.ids("items"), missing="mark")
            gone = rows[rows >= 0]
            base, adapter = stored.info.base_digest, stored.info.adapter_digest
            now = {
                "base_digest": self.digests.get(base, base),
                "adapter_digest": adapter and self.digests.get(adapter, adapter),
            }
            if len(gone) == len(stored.items):
                self.refused.append(f"the index in {folder}, which would be empty: remove it")
                continue
            if not len(gone) and now == {"base_digest": base, "adapter_digest": adapter}:
                continue
            left = without_rows(stored, gone)[0] if len(gone) else stored
            found = type(left)(left.index, left.items, left.info.model_copy(update=now))
            how = "row" if len(gone) else "its base anew"
            self._folder("index", folder, partial(save_index, found), how)
        for folder in self.places.joined:
            self._joined(folder)

    def _joined(self, folder: Path) -> None:
        if any(names_any(file, self.forgotten) for file in folder.glob("*.parquet")):
            self.refused.append(f"the index in {folder}: remove it, then lorarec index all")
            return
        info = load_record(folder / JOINED, AugmentedInfo)
        entries = [
            entry.model_copy(
                update={
                    "adapter_digest": entry.adapter_digest
                    and self.digests.get(entry.adapter_digest, entry.adapter_digest)
                }
            )
            for entry in info.domains
        ]
        base = self.digests.get(info.base_digest, info.base_digest)
        now = info.model_copy(update={"base_digest": base, "domains": entries})
        if now != info:
            file = folder / JOINED
            self._file("index", file, lambda path: save_record(path, now), "its base anew")

    def files(self) -> None:
        """Tables of users lose their rows; reports and logged models, made anew in no time, go, and
        whatever killed processes left."""
        for path in self.places.leftovers:
            self._gone("leftover", path, "removed")
        for path in self.places.files:
            if not names_any(path, self.forgotten):
                continue
            if path.suffix == ".parquet" and self._table(path):
                continue
            if path.suffix == ".html":
                self._gone("report", path, "removed; lorarec report writes it anew")
            else:
                self.refused.append(self.places.names[path])
        for folder in self.places.models:
            tables = [file for file in _inside(folder) if file.suffix in TABLES]
            if any(names_any(file, self.forgotten) for file in tables):
                self._gone("model", folder, "removed; lorarec serve --log-model logs it anew")
        for folder, run_id in self.places.trash.items():
            if any(names_any(file, self.forgotten) for file in _inside(folder)):
                self.refused.append(
                    f"artifacts of the deleted run {run_id}: restore it, or remove it for good: "
                    f"mlflow gc --run-ids {run_id}"
                )

    def left_over(self) -> None:
        """Note where bases, adapters and indexes would still name an id, which must be nowhere."""
        places = self.places
        for folder in (*places.bases, *places.adapters, *places.indexes, *places.joined):
            for file in _inside(self.replaced.get(folder, folder)):
                if self.replaced.get(file) is None and names_any(file, self.forgotten):
                    self.refused.append(f"{folder / file.name}")

    def _table(self, path: Path) -> bool:
        """Whether the rows of a table that name an id could be taken out of it."""
        frame = pl.read_parquet(path, glob=False)
        left = self.forgotten.kept(frame)
        if left.height == frame.height:
            return False
        self._file("table", path, lambda out: write_parquet(left, out), "row")
        if names_any(self.replaced[path], self.forgotten):
            self.refused.append(self.places.names[path])
        return True

    def _gone(self, what: str, path: Path, how: str) -> None:
        self.removed.append(path)
        self.touched.append(Touched(what, self.places.names.get(path, str(path)), how))

    def _folder(self, what: str, place: Path, write: Callable[[Path], object], how: str) -> None:
        staged = beside(place)
        with atomic_dir(staged) as folder:
            write(folder)
        self._staged(what, place, staged, how)

    def _file(self, what: str, place: Path, write: Callable[[Path], object], how: str) -> None:
        staged = beside(place)
        with atomic_path(staged) as path:
            write(path)
        self._staged(what, place, staged, how)

    def _staged(self, what: str, place: Path, staged: Path, how: str) -> None:
        self.replaced[place] = staged
        name = self.places.names.get(place, str(place))
        words = {"row": "without them"}
        self.touched.append(Touched(what, name, words.get(how, f"names {how}")))

    def flip(self, store: Store) -> Flip:
        """All that changes in the store, as one plan; tags and parameters are looked at here.

        Raises:
            StoreError: The store refused.
        """
        names = (f"{TAG}base_digest", f"{TAG}adapter_digest")
        tags: dict[str, dict[str, str]] = {}
        hidden = False
        for run in self.places.runs:
            if run.deleted:
                continue
            own = {
                n: self.digests[v]
                for n, v in run.info.tags.items()
                if n in names and v in self.digests
            }
            error = run.info.tags.get(f"{TAG}error", "")
            if quoted(error, self.forgotten):
                own[f"{TAG}error"], hidden = HIDDEN, True
                self.touched.append(Touched("message", run.info.uri, "hidden"))
            others = {**run.info.params, **run.info.tags, f"{TAG}error": ""}
            self.refused += [
                f"{key} of {run.info.uri}"
                for key, value in others.items()
                if quoted(value, self.forgotten)
            ]
            if own:
                tags[run.info.run_id] = own
        versions = []
        for version in all_versions(store):
            found = {
                f"{TAG}{name}": self.digests[digest]
                for name in ("digest", "base_digest")
                if (digest := version.tag(name)) in self.digests
            }
            if f"{TAG}digest" in found:
                found[f"{TAG}forgotten_from"] = str(version.tag("digest"))
            if found:
                versions.append(VersionTags(name=version.name, number=version.number, tags=found))
        return Flip(
            replaced=[
                Replacement(staged=str(s), target=str(place)) for place, s in self.replaced.items()
            ],
            removed=[str(path) for path in self.removed],
            run_tags=tags,
            version_tags=versions,
            vacuum=hidden,
        )


def renewed(source: DataSource, logs: Sequence[DataSource]) -> DataSource:
    """How a source of logs is recorded from now on; the same one where nothing changes."""
    for now in logs:
        was = now.model_copy(update={"without": source.without})
        if same_logs(was, source):
            return source.model_copy(update={"without": now.without, "rows": now.rows})
    return source


def _inside(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]
