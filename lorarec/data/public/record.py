"""What is known of a public data set, and what a person may choose of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from lorarec.errors import ConfigError, NotFoundError, did_you_mean

Chosen = dict[str, tuple[str, ...]]
"""Option, such as `market` → the values chosen, in the source's spelling."""
ALL = "all"


@dataclass(frozen=True)
class Choice:
    """An option that a source takes."""

    option: str
    """`market`, `category`, `variant` or `domain_by`; the command line writes `--domain-by`."""
    values: tuple[str, ...]
    """What may be chosen, in the source's spelling."""
    default: tuple[str, ...]
    """What is taken when nothing is said."""
    many: bool = True
    """Whether several may be chosen."""
    selects: bool = True
    """Whether it says which files are meant; otherwise it says what is made of them."""

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return "--" + self.option.replace("_", "-")


@dataclass(frozen=True)
class RemoteFile:
    """One file to download."""

    url: str
    name: str
    """Where it goes below the folder of downloads; its parts are joined by `/`."""
    checksum: str = ""
    """`md5:...` or `sha256:...` that the source publishes; empty where it publishes none."""


@dataclass(frozen=True)
class Source:
    """A public data set."""

    name: str
    title: str
    size: str
    """Of the download, in words."""
    domain: str
    """What a domain is, in words."""
    licence: str
    citation: str
    page: str
    """The page of the people who publish it."""
    layout: str
    """Which converter reads its files: a key of `convert.LAYOUTS`."""
    urls: Mapping[str, str]
    """Name → URL of each file; `{market}` and the like stand for what was chosen."""
    choices: tuple[Choice, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Name → published checksum, as in `RemoteFile.checksum`."""
    unpacked_gib: int = 8
    """What its files may take unpacked; an archive that holds more is not the original."""

    def choose(self, given: Mapping[str, Sequence[str]], importing: bool = False) -> Chosen:
        """What is meant by the options given.

        Args:
            given: Option → values; an option without values counts as not given. `all` stands for
                every value.
            importing: The files are there already: what is not said selects all of them.

        Returns:
            Every option of the source with its values; in the order of the source.

        Raises:
            ConfigError: The source does not take an option, or takes one value and got more.
            NotFoundError: A value is not one of the source's.
        """
        takes = {choice.option: choice for choice in self.choices}
        given = {option: values for option, values in given.items() if values}
        for option in given:
            if option not in takes:
                flags = ", ".join(c.flag for c in self.choices) or "no such option"
                raise ConfigError(
                    f"{self.name} takes no --{option.replace('_', '-')}: it takes {flags}. "
                    f"A domain of it is {self.domain}."
                )
        chosen = {}
        for option, choice in takes.items():
            if option in given:
                chosen[option] = _matched(self.name, choice, given[option])
            elif not (importing and choice.selects):
                chosen[option] = choice.default
        return chosen

    def files(self, chosen: Chosen) -> list[RemoteFile]:
        """The files to download for what was chosen, in a fixed order."""
        selecting = [c.option for c in self.choices if c.selects]
        files = {}
        for values in product(*(chosen[option] for option in selecting)):
            words = dict(zip(selecting, values, strict=True))
            for name, url in self.urls.items():
                name = name.format(**words)
                files[name] = RemoteFile(url.format(**words), name, self.checksums.get(name, ""))
        return list(files.values())


def _matched(name: str, choice: Choice, given: Sequence[str]) -> tuple[str, ...]:
    if choice.many and [value.lower() for value in given] == [ALL]:
        return choice.values
    known = {value.lower(): value for value in choice.values}
    for value in given:
        if value.lower() not in known:
            raise NotFoundError(
                f"{name} has no {choice.option.replace('_', ' ')} {value!r}."
                f"{did_you_mean(value, choice.values)} "
                f"Expected {choice.flag} with one of {', '.join(choice.values)}."
            )
    found = tuple(dict.fromkeys(known[value.lower()] for value in given))
    if not choice.many and len(found) > 1:
        raise ConfigError(
            f"{name} takes one {choice.flag}, not {len(found)} ({', '.join(found)}). "
            f"Name one of {', '.join(choice.values)}."
        )
    return found
