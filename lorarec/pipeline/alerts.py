"""The outcome of a retraining told to a webhook; one that fails never fails the retraining."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would follow a redirect by GET, without the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def post(url: str, message: Mapping[str, Any], timeout: float) -> str:
    """POST a message as JSON, and wait so long at most for the whole answer.

    Args:
        url: http or https.
        message: Plain values.
        timeout: Seconds in all; of an answer that drips in byte by byte too.

    Returns:
        Why it did not arrive; empty where it did.
    """
    found = ["it did not answer within " + f"{timeout:g} s"]

    def send() -> None:
        found[0] = _send(url, message, timeout)

    # urllib's own limit is of each read alone, and of no look-up of the name.
    sender = threading.Thread(target=send, name="lorarec-webhook", daemon=True)
    sender.start()
    sender.join(timeout)
    return found[0]


def _send(url: str, message: Mapping[str, Any], timeout: float) -> str:
    try:
        request = urllib.request.Request(
            url,
            data=json.dumps(message, allow_nan=False).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "lorarec"},
            method="POST",
        )
        with _OPENER.open(request, timeout=timeout) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        return f"it answered {error.code} {error.reason}"
    except (ValueError, http.client.HTTPException) as error:
        # Whose words may hold the URL, which is a secret.
        return f"it cannot be reached: {type(error).__name__}; is the URL whole?"
    except OSError as error:
        return f"it cannot be reached: {getattr(error, 'reason', None) or error}"
    return ""
