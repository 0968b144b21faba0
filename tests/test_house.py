"""The house around the package: pages tell the truth, make and CI parse, the sample is as made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import ROOT, blocks, commands, named, pages, project_files, words

from lorarec.cli.main import COMMANDS
from lorarec.config import load_settings

SAMPLE = ROOT / "data" / "sample" / "interactions.parquet"
PAGES = pages()
README = (ROOT / "README.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
FIRST_WORDS = {"make", "lorarec", "printf", ".", ".venv/bin/pytest", ".venv/bin/pre-commit"}
# Written so that this file does not hold what it looks for.
MACHINE = re.compile(
    r"/(?:home|root|Users|work)/\w|index[-]url|registry[=]|\bpypi\.|[\w-]+\.pytorch\."
)


def run(*arguments: str | Path, **keywords: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, **keywords)  # type: ignore[call-overload,no-any-return]


def anchors(page: Path) -> set[str]:
    """The names that links to a page's headings may use."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in headings}


def test_there_are_pages() -> None:
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {
        named(page) for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in (link for link in links if "://" not in link):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_pages_are_ones_we_have(page: Path) -> None:
    for block in blocks(page, "sh"):
        assert run("sh", "-n", "-c", block).returncode == 0, block
    for command in commands(page):
        first, second, *_ = [*words(command), ""]
        assert first in FIRST_WORDS, command
        assert first != "lorarec" or second in COMMANDS, command


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_in_pages_are_there(page: Path) -> None:
    inline = re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))
    shown = [words(line)[1] for line in commands(page) if words(line)[0] == "make"]
    assert set(inline) | set(shown) <= TARGETS


def test_the_readme_names_every_command() -> None:
    assert [name for name in COMMANDS if f"`lorarec {name}" not in README] == []


def test_the_first_screen_has_the_two_commands() -> None:
    first = README.splitlines()[:30]
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_in_pages_are_settings(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        (tmp_path / "shown.toml").write_text(block, encoding="utf-8")
        load_settings(tmp_path / "shown.toml", environ={})


def test_the_example_settings_are_settings() -> None:
    assert load_settings(ROOT / "pipelines" / "lorarec.toml", environ={}).adapt.rank == 8


def test_the_architecture_names_every_room_and_no_file_that_is_gone() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "lorarec").glob("*/__init__.py")}
    assert {room for room in rooms if f"**`{room}/`**" not in text} == set()
    files = {path.name for path in project_files()}
    assert set(re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", text)) <= files


def test_the_sample_is_what_synth_writes() -> None:
    from lorarec.data.logs import load_logs, logs_digest
    from lorarec.data.synthetic import make_logs

    assert logs_digest(load_logs(SAMPLE)) == logs_digest(make_logs())
    assert SAMPLE.stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("path", "kept_out"),
    [
        ("data/README.md", False),
        ("data/sample/interactions.parquet", False),
        ("mlruns/README.md", False),
        ("data/larger.parquet", True),
        ("mlruns/mlflow.db", True),
        ("mlruns/artifacts/1/base.json", True),
        (".demo/mlruns/mlflow.db", True),
        (".venv/bin/python", True),
    ],
)
def test_git_keeps_out_what_is_large_or_local(path: str, kept_out: bool) -> None:
    ignored = run("git", "check-ignore", "--no-index", "-q", path, cwd=ROOT).returncode
    if ignored not in {0, 1}:
        pytest.skip("git does not answer here: not a git checkout")
    assert (ignored == 0) is kept_out


@pytest.mark.parametrize("path", [p for p in project_files() if p.suffix == ".py"], ids=named)
def test_no_file_is_above_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_no_file_names_a_machine_or_an_index() -> None:
    found = [
        f"{named(path)}:{number}: {line.strip()}"
        for path in project_files()
        if path.suffix not in {".parquet", ".png"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(("script", "shell"), [(".ci/run", "bash"), ("scripts/demo.sh", "sh")])
def test_scripts_parse_and_can_be_run(script: str, shell: str) -> None:
    found = run(shell, "-n", ROOT / script)
    assert found.returncode == 0, found.stderr
    assert os.access(ROOT / script, os.X_OK)


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Path:
    """What `make` reads, and no .venv."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints-cpu.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    outside = {"TORCH", "PIP_ARGS", "PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environ = {name: value for name, value in os.environ.items() if name not in outside}
    return run("make", *arguments, cwd=folder, env=environ)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_can_be_planned_in_a_fresh_clone(fresh_clone: Path, target: str) -> None:
    planned = make(fresh_clone, "-n", target)
    assert planned.returncode == 0, planned.stderr
    installs = target in {"install", "install-bench", "demo", "year", "test", "lint"}
    assert ("-m venv .venv" in planned.stdout) is installs
    assert ("pip install" in planned.stdout) is installs


def test_the_cpu_build_is_the_default_and_the_user_may_choose(fresh_clone: Path) -> None:
    default = make(fresh_clone, "-n", "install").stdout
    assert "-c constraints-cpu.txt -e ." in default
    chosen = make(fresh_clone, "-n", "install", "TORCH=torch>=2.6", "PIP_ARGS=--pre").stdout
    assert "--pre 'torch>=2.6' -e ." in chosen
    assert "constraints-cpu" not in chosen


def test_the_choice_of_torch_is_remembered(fresh_clone: Path) -> None:
    (fresh_clone / ".venv").mkdir()
    (fresh_clone / ".venv" / ".lorarec-torch").write_text("torch>=2.6\n")
    planned = make(fresh_clone, "-n", "test").stdout
    assert "'torch>=2.6' -e '.[dev]'" in planned
    assert "constraints-cpu" not in planned


def test_an_old_python_is_refused_with_a_word(fresh_clone: Path) -> None:
    old = fresh_clone / "python-old"
    old.write_text('#!/bin/sh\necho "Python 3.9.6"\nexit 1\n')
    old.chmod(0o755)
    refused = make(fresh_clone, "install", "PYTHON=./python-old")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer. Found: Python 3.9.6." in refused.stderr
    assert not (fresh_clone / ".venv").exists()
