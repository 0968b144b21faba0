"""What stands before the routes: the token, the size of a body, the time of a request, a count."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorarec.serving.limits import Limits
from lorarec.serving.problems import problem

if TYPE_CHECKING:
    from lorarec.serving.meter import Meter


class _TooLargeError(Exception):
    """More bytes came than a body may have."""


class Guard:
    """ASGI middleware.

    Args:
        app: What it stands before.
        limits: Of a request.
        token: That a request must bring as `Authorization: Bearer TOKEN`; None asks for none.
        opened: Paths that need no token.
        meter: Counts answers by status.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        token: str | None,
        opened: tuple[str, ...],
        meter: Meter,
    ) -> None:
        self.app, self.limits, self.opened, self.meter = app, limits, opened, meter
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await asyncio.wait_for(self._guarded(scope, receive, counted), self.limits.seconds)
        except TimeoutError:
            if not status:
                seconds = f"{self.limits.seconds:g} s"
                answer = problem(503, "Took too long", f"It was not answered within {seconds}.")
                await answer(scope, receive, counted)
        finally:
            self.meter.answered(scope["path"], status or 500, time.perf_counter() - began)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if not self._allowed(scope["path"], headers):
            answer = problem(
                401, "A token is needed", "Expected the header Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
            await answer(scope, receive, send)
            return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limits.body:
            await self._too_large(scope, receive, send)
            return
        taken, begun = 0, False

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limits.body:
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            # What the routes make of a body that was cut off is not what went wrong.
            if taken > self.limits.body:
                return
            begun = True
            await send(message)

        with contextlib.suppress(_TooLargeError):
            await self.app(scope, bounded, noted)
        if taken > self.limits.body and not begun:
            await self._too_large(scope, receive, send)

    def _allowed(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._expected is None or path in self.opened:
            return True
        return hmac.compare_digest(headers.get(b"authorization", b""), self._expected)

    async def _too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problem(
            413, "Too large", f"Expected a body of at most {self.limits.body:,} bytes.",
            {"Connection": "close"},
        )  # fmt: skip
        await answer(scope, receive, send)
