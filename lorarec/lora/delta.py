"""What every part of an adapter is."""

from __future__ import annotations

from torch import nn


class Delta(nn.Module):
    """A part of an adapter that stands in for a module of the base; `enabled` turns it off."""

    enabled: bool = True
