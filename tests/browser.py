"""A browser without a window, told what to do over a pipe: Chromium's own DevTools protocol.

Messages are JSON with a zero byte behind each, from file descriptor 3 of the browser and to 4
(`--remote-debugging-pipe`), so no port is opened and no library is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """One tab."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._left = to, back, b""
        self._number, self._session = 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        mouse = [{"name": "hover", "value": "hover"}, {"name": "pointer", "value": "fine"}]
        self.call("Emulation.setEmulatedMedia", features=mouse)

    def call(self, method: str, *, seconds: float = 30.0, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its result."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while True:
            found = self._message(deadline)
            if found.get("id") == self._number:
                assert "error" not in found, found
                return dict(found["result"])

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._back], [], [], max(0, deadline - time.monotonic()))
            read = os.read(self._back, 1 << 20) if ready else b""
            assert read, "The browser has ended, or does not answer."
            self._left += read
        first, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(first))

    def before_any_page(self, script: str) -> None:
        """Run `script` first in every page that is opened from now on."""
        self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def size(self, width: int, height: int) -> None:
        """Of the page, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    def open(self, url: str, *words: str, seconds: float = 30.0) -> str:
        """Open a page and wait until it shows all `words`; its text."""
        self.call("Page.navigate", url="about:blank")  # a page that differs behind # is another
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + seconds
        while True:
            text = str(self.run("document.body ? document.body.innerText : ''"))
            missing = [word for word in words if word not in text]
            if not missing:
                return text
            assert time.monotonic() < deadline, f"{url} does not show {missing}, but:\n{text}"
            time.sleep(0.2)

    def picture(self) -> bytes:
        """The page as it is shown, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a browser that keeps what it must in the folder `profile`."""
    assert CHROMIUM is not None
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    # The shell puts the pipes at 3 and 4, where the browser looks for them.
    command = [
        *("sh", "-c", f'exec "$@" 3</dev/fd/{to_read} 4>/dev/fd/{back_write}', "sh"),
        *(CHROMIUM, *FLAGS, f"--user-data-dir={profile}"),
    ]
    process = subprocess.Popen(
        command,
        pass_fds=(to_read, back_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    os.close(to_read)
    os.close(back_write)
    try:
        page = Page(to_write, back_read)
        yield page
    finally:
        with suppress(AssertionError, OSError):
            page._session = ""
            page.call("Browser.close", seconds=5)
        process.terminate()
        process.wait(10)
        os.close(to_write)
        os.close(back_read)
