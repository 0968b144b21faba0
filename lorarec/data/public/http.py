"""One HTTP request for a file or for the rest of it; a fault says whether it may pass."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import IO, Any, Protocol

PASSING_CODES = frozenset({408, 425, 429, 500, 502, 503, 504})
CHUNK = 1 << 18


class HttpError(Exception):
    """A request that did not bring what it should."""

    def __init__(
        self,
        reason: str,
        *,
        passing: bool = False,
        wait: float | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        """Whether the same request may go well later."""
        self.wait = wait
        """Seconds after which the server asks to come again."""
        self.code = code
        """The HTTP status, where there was one."""


class Readable(Protocol):
    """Anything that bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


@dataclass(frozen=True)
class Answer:
    """What a server sends."""

    body: Readable
    start: int
    """Offset in the file of the first byte: what was asked for, or 0 where it sends all of it."""
    total: int | None
    """Size of the whole file in bytes; None where the server does not tell."""
    validator: str
    """A strong ETag or a Last-Modified: the same for the same bytes; empty where there is none."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come.

        Raises:
            HttpError: The connection broke or fell silent.
        """
        while True:
            try:
                chunk = self.body.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise HttpError(f"the connection broke ({_said(error)})", passing=True) from error
            if not chunk:
                return
            yield chunk


@contextmanager
def request(url: str, start: int, validator: str, timeout: float) -> Iterator[Answer]:
    """Ask for a file from an offset on.

    Args:
        url: http or https.
        start: Bytes there are already; 0 asks for all.
        validator: Of the bytes there are: a server whose file has changed since sends all of it.
        timeout: Seconds to wait for the connection and for each piece.

    Yields:
        The answer. With `start` equal to the file's size its body is empty.

    Raises:
        HttpError: No answer, or one that is no file.
    """
    headers = {"User-Agent": f"lorarec/{_version()}"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    if not url.startswith(("http://", "https://")):
        raise HttpError(f"{url.partition(':')[0]} is no protocol for it; http or https is")
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            yield _answer_of_refusal(error, start)
        return
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error) from error
    with response:
        yield _answer(response, start, validator)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something that others may change on the way."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https://") and not newurl.startswith("https://"):
            raise HttpError(
                f"the server sends on from https to {newurl}, which is not safe", code=code
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """http, https and proxies; not the file: and ftp: of urllib's default."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _answer(response: http.client.HTTPResponse, start: int, validator: str) -> Answer:
    headers = response.headers
    length = headers.get("Content-Length", "")
    size = int(length) if length.isdigit() else None
    now = _validator(headers)
    if response.status != 206:
        return Answer(response, 0, size, now)
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != start:
        raise HttpError("the server sent another part than was asked for", code=206)
    if validator and now and now != validator:
        raise HttpError("the file changed on the server", code=412)
    rest = None if size is None else start + size
    return Answer(response, start, rest if found[2] == "*" else int(found[2]), now or validator)


def _answer_of_refusal(error: urllib.error.HTTPError, start: int) -> Answer:
    if error.code == 416 and start:
        size = error.headers.get("Content-Range", "").strip().removeprefix("bytes */")
        if size == str(start):  # all of it is here already
            return Answer(BytesIO(), start, start, "")
        raise HttpError("the file changed on the server", code=412)
    wait = error.headers.get("Retry-After", "")
    raise HttpError(
        f"the server answered {error.code} {error.reason}",
        passing=error.code in PASSING_CODES,
        wait=float(wait) if wait.isdigit() else None,
        code=error.code,
    )


def _validator(headers: Message) -> str:
    etag = headers.get("ETag", "").strip()
    strong = etag if etag and not etag.startswith("W/") else ""
    return strong or headers.get("Last-Modified", "").strip()


def _unreachable(error: Exception) -> HttpError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return HttpError(f"its certificate is not valid ({cause.verify_message})")
    if isinstance(cause, TimeoutError):
        return HttpError("it did not answer in time", passing=True)
    if isinstance(cause, socket.gaierror):
        return HttpError("its name could not be looked up, as without a network", passing=True)
    return HttpError(_said(cause), passing=True)


def _said(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _version() -> str:
    try:
        return version("lorarec")
    except PackageNotFoundError:
        return "0"
