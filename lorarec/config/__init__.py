"""Settings: lorarec.toml, then `LORAREC_*`, then command-line options and `--set key=value`."""

from lorarec.config.gate import Gate
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
from lorarec.config.tuning import Tune

__all__ = [
    "Adapt",
    "Data",
    "Evaluate",
    "Features",
    "Gate",
    "Implicit",
    "Model",
    "Settings",
    "Tracking",
    "Train",
    "Tune",
    "load_settings",
]
