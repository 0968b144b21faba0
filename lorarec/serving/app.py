"""The HTTP server's routes: what is asked for, what is answered, and every refusal as a problem."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from starlette.exceptions import HTTPException

from lorarec.errors import LorarecError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.serving.guard import Guard
from lorarec.serving.limits import Limits
from lorarec.serving.meter import Meter
from lorarec.serving.pool import Pool, UnknownDomainError
from lorarec.serving.problems import problem
from lorarec.serving.snapshot import Query

OPEN = ("/healthz",)
"""Paths that need no token."""


def make_app(
    pool: Pool,
    limits: Limits | None = None,
    token: str | None = None,
    poll_seconds: float = 0.0,
    listen: Listener = SILENT,
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        pool: Answers.
        limits: Of a request; None is the defaults.
        token: That every request but those of `OPEN` must bring; None asks for none.
        poll_seconds: Between looks at what serves each domain; 0 never looks.
        listen: Takes words about swaps.
    """
    bounds = limits or Limits()
    meter = Meter(pool)
    one, many = _schemas(bounds)
    body = Annotated[
        Annotated[one, Tag("one")] | Annotated[many, Tag("many")],  # type: ignore[valid-type]
        Discriminator(lambda value: "many" if _has(value, "requests") else "one"),
    ]
    # More would only wait for the same cores. One that timed out holds its thread to its end, so
    # that what was given up cannot pile up.
    workers = ThreadPoolExecutor(bounds.threads, "recommend")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        looking = threading.Thread(
            target=_look, args=(pool, meter, poll_seconds, stop, listen), daemon=True
        )
        if poll_seconds > 0:
            looking.start()
        yield
        stop.set()
        workers.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="lorarec",
        version=version("lorarec"),
        description="Ranked items of a domain for a user, by its id or by what it had.",
        lifespan=lifespan,
    )
    app.add_middleware(Guard, limits=bounds, token=token, opened=OPEN, meter=meter)

    async def recommend(asked: Any) -> Any:
        batch = asked.requests if hasattr(asked, "requests") else [asked]
        queries = [Query(r.domain, r.user_id, tuple(r.history), r.k) for r in batch]
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(workers, pool.answer, queries)
        except UnknownDomainError:
            raise
        except LorarecError as error:
            listen.say(f"A request was refused: {error}")
            raise
        found = [answer.as_dict() for answer in answers]
        return {"results": found} if hasattr(asked, "requests") else found[0]

    recommend.__annotations__["asked"] = body
    app.post("/recommend", summary="The best items for a user, or for each of a batch.")(recommend)

    @app.get("/domains", summary="What can be asked for, and what serves it.")
    async def domains() -> dict[str, Any]:
        held = {snapshot.domain: snapshot for snapshot in pool.held}
        return {
            "domains": [
                {
                    "domain": name,
                    "loaded": name in held,
                    "version": held[name].version if name in held else None,
                    "adapter_digest": held[name].adapter_digest if name in held else None,
                    "items": len(held[name].recommender.arena.catalogue) if name in held else None,
                }
                for name in pool.source.domains()
            ]
        }

    @app.get("/healthz", summary="Whether the server answers.")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Counters, as Prometheus reads them.")
    async def metrics() -> Response:
        return PlainTextResponse(meter.text(), media_type="text/plain; version=0.0.4")

    for kind, told in _HANDLERS.items():
        app.add_exception_handler(kind, told)
    return app


def _schemas(limits: Limits) -> tuple[type[BaseModel], type[BaseModel]]:
    """What one request and a batch of them look like, within the limits."""
    text = Annotated[str, Field(min_length=1, max_length=limits.id_length)]

    class Recommend(BaseModel):
        """A user by its id, or by what it had, or both."""

        model_config = ConfigDict(extra="forbid", strict=True)
        domain: text
        user_id: text | None = None
        history: Annotated[list[text], Field(max_length=limits.history)] = []
        k: Annotated[int, Field(ge=1, le=limits.k)] = 10

    class RecommendMany(BaseModel):
        """Several of them; those of one domain are answered by one version of it."""

        model_config = ConfigDict(extra="forbid", strict=True)
        requests: Annotated[list[Recommend], Field(min_length=1, max_length=limits.batch)]

    return Recommend, RecommendMany


def _has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, dict) else hasattr(value, name)


def _look(
    pool: Pool, meter: Meter, seconds: float, stop: threading.Event, listen: Listener
) -> None:
    """Swap what has moved, again and again; what goes wrong once must not be the last look."""
    while not stop.wait(seconds):
        try:
            found = pool.refresh()
        except Exception as error:
            meter.refreshed(0, 1)
            listen.say(f"Could not look what serves: {type(error).__name__}: {error}")
            continue
        meter.refreshed(len(found.swapped), len(found.failed))
        for domain, newer in found.swapped.items():
            listen.say(f"{domain} is now served by {newer}.")
        for domain, why in found.failed.items():
            listen.say(f"{domain} stays as it is: {why}")


async def _invalid(_: Request, error: Any) -> JSONResponse:
    faults = [
        {"where": _where(fault["loc"]), "what": fault["msg"]} for fault in error.errors()[:10]
    ]
    first = faults[0]
    return problem(422, "Not a request", f"{first['where']}: {first['what']}", errors=faults)


def _where(place: tuple[Any, ...]) -> str:
    """`requests.1.k` of pydantic's place, without what is ours in it."""
    return ".".join(str(part) for part in place if part not in ("body", "one", "many")) or "body"


async def _http(_: Request, error: Any) -> JSONResponse:
    return problem(error.status_code, str(error.detail), headers=error.headers)


async def _absent(_: Request, error: Any) -> JSONResponse:
    return problem(404, "Not found", str(error))


async def _refused(_: Request, __: Any) -> JSONResponse:
    # The words of such an error are for who runs the server: they name its folders.
    return problem(503, "The domain cannot be served now")


async def _unexpected(_: Request, __: Any) -> JSONResponse:
    return problem(500, "Unexpected error")


_HANDLERS: dict[type[Exception], Callable[[Request, Any], Awaitable[JSONResponse]]] = {
    RequestValidationError: _invalid,
    HTTPException: _http,
    UnknownDomainError: _absent,
    LorarecError: _refused,
    Exception: _unexpected,
}
