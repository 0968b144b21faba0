"""Side features of users and items: tables → arrays that a tower takes, statistics from train only.

Any id of the table gets its features, also one that has no interaction: grow the vocabulary by the
table's ids and transform all of its rows. What is unknown or missing has a place of its own.
"""

from lorarec.data.features.artefact import load_encoder, save_encoder
from lorarec.data.features.encoder import FeatureEncoder
from lorarec.data.features.infer import Inferred, infer_specs
from lorarec.data.features.reading import read_features
from lorarec.data.features.specs import FeatureSpec
from lorarec.data.features.table import Bags, FeatureTable, Vectors

__all__ = [
    "Bags",
    "FeatureEncoder",
    "FeatureSpec",
    "FeatureTable",
    "Inferred",
    "Vectors",
    "infer_specs",
    "load_encoder",
    "read_features",
    "save_encoder",
]
