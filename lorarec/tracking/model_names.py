"""Names of registered models: `lorarec-base`, and `lorarec-<domain>` for any name of a domain.

MLflow refuses `/` and `:` in such a name, and its filters cannot quote every sign. So all ASCII
signs of a domain but letters, digits, `.`, `_` and `-` stand as `%` and two hex digits, as in URLs;
other letters stay as they are. The domain `base`, whose model would be the base's, is `%62ase`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from lorarec.errors import ConfigError

PREFIX = "lorarec-"
BASE_MODEL = f"{PREFIX}base"
MAX_NAME = 256
"""Characters that MLflow's tables have room for."""
_ESCAPED = re.compile(r"[^\w.\-]|%", re.ASCII)


def model_name(domain: str) -> str:
    """The registered model of a domain's adapters, such as `lorarec-books`.

    Raises:
        ConfigError: The domain is empty, or its name is longer than MLflow has room for.
    """
    name = PREFIX + "".join(_escaped(sign) for sign in domain)
    if name == BASE_MODEL:
        name = f"{PREFIX}%62ase"
    if not domain or len(name) > MAX_NAME:
        raise ConfigError(
            f"The domain {domain[:40]!r} cannot name a registered model: {name[:60]} has "
            f"{len(name)} characters. Expected a domain's name, and {MAX_NAME} at most."
        )
    return name


def domain_of(name: str) -> str | None:
    """The domain whose adapters a registered model has; None for the base's and for others."""
    if name == BASE_MODEL or not name.startswith(PREFIX):
        return None
    return unquote(name.removeprefix(PREFIX), errors="strict")


def _escaped(sign: str) -> str:
    """One character as it stands in a name."""
    if ord(sign) < 128 and _ESCAPED.fullmatch(sign):
        return f"%{ord(sign):02X}"
    return sign
