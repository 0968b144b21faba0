"""Settings: lorarec.toml, then `LORAREC_*`, then command-line options and `--set key=value`."""

from lorarec.config.loading import load_settings
from lorarec.config.sections import (
    Adapt,
    Data,
    Evaluate,
    Features,
    Implicit,
    Model,
    Tracking,
    Train,
)
from lorarec.config.settings import Settings

__all__ = [
    "Adapt",
    "Data",
    "Evaluate",
    "Features",
    "Implicit",
    "Model",
    "Settings",
    "Tracking",
    "Train",
    "load_settings",
]
