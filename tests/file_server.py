"""A web server on this machine for the tests of downloads: files, and faults on request."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep
from types import TracebackType

Fault = int | str
"""A status, or `cut:N`: break off after N bytes; `stall`: say nothing; `to:URL`: redirect."""


class FileServer:
    """`server.files["a"] = b"..."` is served at `server.url("a")`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        """Faults of the next requests for a file, in order."""
        self.ranges = True
        """Whether a part of a file can be had."""
        self.etags = True
        """Whether it says which version of a file it sends."""
        self.headers: dict[str, str] = {}
        """Sent with every fault."""
        self.requests: list[tuple[str, str]] = []
        """File and Range of each request so far."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/{name}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Be silent."""

            def do_GET(self) -> None:
                name = self.path.removeprefix("/")
                asked = self.headers.get("Range", "")
                server.requests.append((name, asked))
                fault = server.faults[name].pop(0) if server.faults[name] else None
                if isinstance(fault, str) and fault.startswith("to:"):
                    self._refuse(302, {"Location": fault.removeprefix("to:")})
                elif fault == "stall":
                    sleep(0.5)
                elif isinstance(fault, int):
                    self._refuse(fault, server.headers)
                elif name not in server.files:
                    self._refuse(404, {})
                else:
                    self._send(server.files[name], asked, fault)

            def _refuse(self, code: int, headers: dict[str, str]) -> None:
                self.send_response(code)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _send(self, body: bytes, asked: str, fault: str | None) -> None:
                etag = f'"{hashlib.md5(body).hexdigest()}"'
                start = int(asked[len("bytes=") : -1]) if asked and server.ranges else 0
                if server.etags and self.headers.get("If-Range", etag) != etag:
                    start = 0
                if start and start >= len(body):
                    self._refuse(416, {"Content-Range": f"bytes */{len(body)}"})
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                if server.etags:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                end = start + int(fault.removeprefix("cut:")) if fault else len(body)
                self.wfile.write(body[start:end])

        return Handler
