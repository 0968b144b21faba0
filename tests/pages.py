"""The project's pages, read by the tests that hold them to what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def project_files() -> list[Path]:
    """Files that git tracks or would track; those of the working tree where git does not answer."""
    found = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if found.returncode != 0:
        return sorted(path for path in ROOT.rglob("*") if path.is_file() and not _local(path))
    names = found.stdout.split("\0")
    return sorted({path for name in names if name and (path := ROOT / name).is_file()})


def _local(path: Path) -> bool:
    """Whether a file was made here: an environment, a cache, a store."""
    first, *_ = parts = path.relative_to(ROOT).parts
    hidden = first.startswith(".") and first not in {".ci", ".gitignore", ".pre-commit-config.yaml"}
    return hidden or "__pycache__" in parts or (first == "mlruns" and path.name != "README.md")


def pages() -> list[Path]:
    """Every Markdown page."""
    return [path for path in project_files() if path.suffix == ".md"]


def named(path: Path) -> str:
    """A file's name from the top of the checkout, for test ids and messages."""
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of a page's sh blocks, in order."""
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def words(command: str) -> list[str]:
    """A command's words, without its comment."""
    return shlex.split(command, comments=True)
