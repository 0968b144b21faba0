"""Side features for a base: read, fitted on its train ids, and as what the towers hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from lorarec.config import Settings
from lorarec.data.features import FeatureEncoder, infer_specs, read_features
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError
from lorarec.jobs.listener import Listener
from lorarec.models.artefact import FeaturesInfo, Side, SideFeatures
from lorarec.models.features import FeatureEmbedding
from lorarec.storage import sha256_file

ID_COLUMNS: dict[Side, str] = {"users": "user_id", "items": "item_id"}


@dataclass(frozen=True)
class Sides:
    """The feature tables of users and items, and what is learnt of them from train ids."""

    paths: dict[Side, Path] = field(default_factory=dict)
    """Absolute, of those that there are."""
    frames: dict[Side, pl.DataFrame] = field(default_factory=dict)
    """One row an id."""
    features: dict[Side, SideFeatures] = field(default_factory=dict)
    """Empty until `fitted`."""

    def fitted(
        self, settings: Settings, users: Vocabulary, items: Vocabulary, listen: Listener
    ) -> Sides:
        """These tables with their encoders.

        Args:
            settings: Its section `features` says what columns are.
            users: With a train row.
            items: With a train row.
            listen: Takes which columns are features, what is left out and why.

        Raises:
            DataError: No train id has a row, or a column does not hold what its kind allows.
            ConfigError: A column is described that is not there, or no column is a feature.
        """
        found: dict[Side, SideFeatures] = {}
        described = {
            "users": settings.features.user_columns,
            "items": settings.features.item_columns,
        }
        trained = {"users": users, "items": items}
        for side, frame in self.frames.items():
            train, column = trained[side], ID_COLUMNS[side]
            inferred = infer_specs(frame, column, train.series, described[side])
            encoder = FeatureEncoder.fit(frame, column, train.series, inferred.specs)
            for name, reason in inferred.left_out.items():
                listen.say(f"Features of {side}: {name} is left out, {reason}.")
            if not inferred.specs:
                raise ConfigError(
                    f"{self.paths[side]} has no column that is a feature. Say what one is, such as "
                    f"--set features.{side[:-1]}_columns.NAME.kind=categorical"
                )
            shown = ", ".join(f"{spec.name} ({spec.kind})" for spec in inferred.specs)
            listen.say(f"Features of {side}: {shown}.")
            others = frame[column].filter(train.rows(frame[column], missing="mark") < 0)
            found[side] = SideFeatures(encoder, Vocabulary().extend(others))
        return replace(self, features=found)

    def embedding(self, side: Side, train: Vocabulary, dim: int) -> FeatureEmbedding | None:
        """What a tower adds for the features of train ids, of described ones, and of none."""
        if side not in self.features:
            return None
        features = self.features[side]
        nobody = pl.Series([None], dtype=pl.String)
        ids = [train.series, features.described.series, nobody]
        table = features.encoder.transform(
            self.frames[side], pl.concat([series.rename("id") for series in ids])
        )
        return FeatureEmbedding(table, features.encoder.sizes, dim)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the tables' files, by the settings that name them."""
        return {f"features.{side}": sha256_file(path) for side, path in self.paths.items()}

    def info(self) -> dict[Side, FeaturesInfo]:
        """What base.json tells of them."""
        return {
            side: FeaturesInfo(
                path=str(self.paths[side]),
                digest=features.encoder.digest(),
                described=len(features.described),
                vocabulary=features.described.digest(),
            )
            for side, features in self.features.items()
        }


NO_SIDES = Sides()


def read_sides(settings: Settings) -> Sides:
    """The tables that the settings name, if any.

    Args:
        settings: Its section `features`.

    Raises:
        ConfigError: There are features for a model that has no place for them.
        DataError: A table cannot be read, or its ids are missing or repeat.
    """
    features = settings.features
    named: dict[Side, str | None] = {"users": features.users, "items": features.items}
    paths = {side: Path(p).expanduser().resolve() for side, p in named.items() if p is not None}
    if paths and settings.model.name != "two-tower":
        raise ConfigError(
            f"There are features of {' and '.join(paths)}, and the model {settings.model.name!r} "
            f"knows ids alone. Expected --model two-tower with them, or leave them out."
        )
    return Sides(paths, {side: read_features(p, ID_COLUMNS[side]) for side, p in paths.items()})
