"""What a section of the page is made of: text, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"
    """`text`; `note`, in small; or `missing`: why there is nothing to show."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    small: str = ""
    """A second line, such as an interval."""
    mark: str = ""
    """`good`, `bad`, or nothing; it is said in the text too, for colour alone tells nobody."""
    shade: float = 0.0
    """How full of colour it is, from 0 to 1."""


@dataclass(frozen=True)
class Table:
    """A table; its first column names the rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    note: str = ""

    @property
    def narrow(self) -> bool:
        """Whether two of its kind have room side by side."""
        small = max((len(cell.small) for row in self.cells for cell in row), default=0)
        return len(self.columns) <= 5 and small <= 16

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows, all as cells."""
        return [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in self.rows]


@dataclass(frozen=True)
class Chart:
    """A picture."""

    name: str
    """Unique in the page, letters, digits and dashes; the PNG's name too."""
    figure: Figure
    caption: str
    alt: str
    """What it shows, for whoever does not see it."""


@dataclass(frozen=True)
class Columns:
    """Lists side by side, such as before and after."""

    title: str
    note: str
    columns: Sequence[tuple[str, Sequence[tuple[str, bool]]]]
    """Heading, and its entries: text, and whether it is a hit."""


Block = Text | Table | Chart | Columns


@dataclass
class Section:
    """A part of the page, always there: where its data is missing it says so."""

    name: str
    title: str
    intro: str
    blocks: list[Block] = field(default_factory=list)

    def pictures_first(self) -> Section:
        """The same section with its pictures, side by side where there is room, before the rest."""
        self.blocks.sort(key=lambda block: not isinstance(block, Chart))
        return self

    def or_missing(self, why: str) -> Section:
        """The same section; with the reason where it has nothing."""
        if not self.blocks:
            self.blocks.append(Text(why, "missing"))
        return self
