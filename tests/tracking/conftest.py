"""An open store in an empty project."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorarec.config import Settings
from lorarec.tracking import Store, open_store


@pytest.fixture
def store(project: Path, settings: Settings) -> Store:
    """Open to write."""
    return open_store(settings.tracking)
