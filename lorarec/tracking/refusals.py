"""What MLflow, its database or the disk refuse, as one `StoreError` a person can act on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from lorarec.errors import LorarecError, PassingError, StoreError
from lorarec.tracking.reach import without_password

_SIGNS = (
    (
        ("readonly database", "read-only", "attempt to write a readonly", "permission denied"),
        "it is read-only",
        "Make it writable, or choose another store with MLFLOW_TRACKING_URI or tracking.uri.",
    ),
    (
        ("database or disk is full", "no space left", "disk quota", "file too large"),
        "the disk is full",
        "Free some space and run the command again.",
    ),
    (
        ("disk i/o error",),
        "the disk failed or is full",
        "Check the disk and its free space, then run the command again.",
    ),
    (
        ("database is locked", "database table is locked"),
        "another process holds it locked",
        "Wait for that process to end, or stop it, and run the command again.",
    ),
    (
        ("out-of-date database schema", "can't locate revision"),
        "its schema is of another MLflow version",
        "Take a backup, then run: mlflow db upgrade '{uri}'",
    ),
    (
        ("file is not a database", "database disk image is malformed", "file is encrypted"),
        "it is not a whole SQLite database",
        "Restore it from a backup, or move it away to begin a new one.",
    ),
    (
        ("unable to open database file", "not a directory"),
        "it could not be opened",
        "Correct the path in MLFLOW_TRACKING_URI or tracking.uri.",
    ),
    (
        ("max retries", "connection refused", "failed with exception", "could not connect"),
        "it does not answer",
        "Start the server, or correct MLFLOW_TRACKING_URI or tracking.uri.",
    ),
    (
        ("must be in the 'active' state",),
        "a run was deleted while it was written to",
        "Run the command again; of a run that was deleted by mistake, mlflow runs restore.",
    ),
    (
        ("password authentication failed", "access denied", "no password supplied"),
        "it does not let this user in",
        "Correct user and password in MLFLOW_TRACKING_URI or tracking.uri.",
    ),
    (
        ("filestore", "file store", "filesystem tracking backend", "file-based"),
        "MLflow no longer writes to plain folders",
        "Use a database instead, such as sqlite:///mlruns/mlflow.db.",
    ),
)
_PASSING = ("another process holds it locked", "it does not answer")
"""Reasons that may be gone by themselves."""


_POSTGRES = (
    "Run: pip install 'lorarec[postgres]', and write the URI as postgresql+psycopg://USER@HOST/NAME"
)
DRIVERS = {
    "psycopg": _POSTGRES,
    "psycopg2": _POSTGRES,
    "pymysql": "Run: pip install pymysql",
    "MySQLdb": "Run: pip install pymysql, and write the URI as mysql+pymysql://USER@HOST/NAME",
    "boto3": "Run: pip install boto3",
}
"""Packages that a store or its artifacts may need, and what to do where one is missing."""


def _refusal(uri: str, error: BaseException) -> StoreError:
    uri = without_password(uri)
    text = str(error)
    plain = text.lower()
    for signs, reason, remedy in _SIGNS:
        if any(sign in plain for sign in signs):
            kind = PassingError if reason in _PASSING else StoreError
            return kind(
                f"The MLflow store {uri} refused: {reason}. Expected a store that answers and "
                f"can be written to. {remedy.format(uri=uri)}"
            )
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return StoreError(
        f"The MLflow store {uri} refused: {first_line[:300]} Expected a store that answers and "
        f"can be written to. Check MLFLOW_TRACKING_URI or tracking.uri."
    )


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Turn what goes wrong in the block into a `StoreError` about the store `uri`.

    Raises:
        StoreError: MLflow, SQLAlchemy, SQLite or the operating system raised in the block.
    """
    try:
        yield
    except LorarecError:
        raise
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise _refusal(uri, error) from error
    except ModuleNotFoundError as error:
        if error.name not in DRIVERS:
            raise
        raise StoreError(
            f"The MLflow store {without_password(uri)} needs the Python package {error.name!r}. "
            f"Expected it to be installed. {DRIVERS[error.name]}"
        ) from error
    except Exception as error:
        family = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
        if family & {"mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3"}:
            raise _refusal(uri, error) from error
        raise
