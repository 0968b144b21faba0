"""`lorarec serve`: one base and the adapters of all domains behind an HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, say
from lorarec.cli.shared import CONTEXT, base_option, data_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings

FILE = click.Path(path_type=Path, dir_okay=False)
COUNT = click.IntRange(min=1)


@click.command(context_settings=CONTEXT)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), metavar="N",
    help="0 takes a free one.",
)  # fmt: skip
@click.option(
    "--token-file", type=FILE, metavar="FILE",
    help="What requests must bring as Bearer token.  [default: LORAREC_TOKEN]",
)  # fmt: skip
@click.option(
    "--poll", default=10.0, show_default=True, type=click.FloatRange(min=0), metavar="SECONDS",
    help="Between looks at what serves each domain; 0 never looks.",
)  # fmt: skip
@click.option("--max-domains", default=64, show_default=True, type=COUNT, help="In memory at once.")
@click.option(
    "--max-mb", default=4096, show_default=True, type=COUNT, help="Of domains beside their base."
)
@click.option("--max-k", default=1000, show_default=True, type=COUNT, help="Items in a list.")
@click.option("--max-batch", default=256, show_default=True, type=COUNT, help="Requests in a body.")
@click.option("--max-body", default=1 << 20, show_default=True, type=COUNT, help="Bytes.")
@click.option(
    "--timeout", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS", help="For one request.",
)  # fmt: skip
@click.option(
    "--log-model", is_flag=True, help="Log all domains as one MLflow model instead, and end."
)
@base_option
@data_option
@json_option
@click.pass_obj
def serve(
    settings: Settings,
    host: str,
    port: int,
    token_file: Path | None,
    poll: float,
    max_domains: int,
    max_mb: int,
    max_k: int,
    max_batch: int,
    max_body: int,
    timeout: float,
    log_model: bool,
    base: str | None,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Serve recommendations over HTTP until Ctrl-C or SIGTERM.

    POST /recommend takes domain, user_id or history, and k, or a list of such under requests. GET
    /domains, /healthz, /metrics (Prometheus) and /docs. A domain is loaded when it is asked for;
    its champion serves it, or its newest adapter where none was registered, and a moved alias is
    swapped in while requests go on. Beyond loopback a token is needed.

    \b
    Example:
      lorarec serve --port 8000
      lorarec serve --host 0.0.0.0 --token-file token.txt
      lorarec serve --log-model
    """
    from lorarec.cli.listening import listening

    if log_model:
        from lorarec.serving.log_domains import log_domains
        from lorarec.tracking.store import open_store

        with listening() as listener:
            store = open_store(settings.tracking)
            logged = log_domains(store, base, paths, listener)
        if as_json:
            print_json({"model": logged.uri, "run": logged.run, "domains": logged.domains})
        else:
            click.echo(logged.uri)
            say(
                f"Next: MLFLOW_TRACKING_URI={store.shown} mlflow models serve -m {logged.uri} "
                f"--env-manager local"
            )
        return
    from lorarec.serving.server import bound_socket, need_server, read_token

    need_server()
    token = read_token(host, token_file)
    from lorarec.serving.app import make_app
    from lorarec.serving.limits import Limits
    from lorarec.serving.pool import Pool
    from lorarec.serving.server import serve as answer
    from lorarec.serving.store import StoreSource
    from lorarec.tracking.store import open_store

    with listening() as listener, bound_socket(host, port) as bound:
        store = open_store(settings.tracking, write=False)
        pool = Pool(StoreSource(store, base, paths, listener), max_domains, max_mb << 20)
        limits = Limits(body=max_body, k=max_k, batch=max_batch, seconds=timeout)
        app = make_app(pool, limits, token, poll, listener)
        where = f"[{host}]" if ":" in host else host
        address = f"http://{where}:{bound.getsockname()[1]}"
        names = pool.source.domains()
        answer(
            app,
            bound,
            lambda: say(f"{len(names)} domains are served at {address}. Ctrl-C ends it."),
        )
    say("Ended.")
