"""A real headless browser, driven by its DevTools protocol over a pipe: no package, no port, no network.

with Browser() as browser:
    page = browser.open(path.as_uri())
    assert page.evaluate("document.title") == "..."
    page.press("End")
"""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
"""Looked for in the path; MANYHANDS_BROWSER names another."""

PATIENCE_S: Final = 240.0

END_S: Final = 30.0
"""For it to end politely."""

KEYS: Final = {
    " ": 32,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "Home": 36,
    "End": 35,
    "Escape": 27,
    "Enter": 13,
    "+": 187,
}


def find_browser() -> str | None:
    """A browser of Chromium's family, or None."""
    named = os.environ.get("MANYHANDS_BROWSER")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


def _pipe(*, theirs: int) -> tuple[int, int]:
    """(their end, ours); theirs out of the way of the descriptors that it shall become."""
    ends = list(os.pipe())
    low = ends[theirs]
    ends[theirs] = fcntl.fcntl(low, fcntl.F_DUPFD, 10)
    os.close(low)
    return ends[theirs], ends[1 - theirs]


class BrowserError(Exception):
    """It did not start, did not answer, or refused."""


class Browser:
    """One browser process with a profile of its own, thrown away at the end."""

    def __init__(self, *, dark: bool = False, width: int = 1280, height: int = 1600) -> None:
        program = find_browser()
        if program is None:
            raise BrowserError("there is no headless browser on this machine")
        self._profile = tempfile.TemporaryDirectory(prefix="manyhands-browser-", ignore_cleanup_errors=True)
        self.dark = dark
        theirs_in, self._out = _pipe(theirs=0)
        theirs_out, self._in = _pipe(theirs=1)
        # The protocol is spoken on descriptors 3 and 4, whatever else is open.
        script = f'exec 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "browser", program, "--headless", "--remote-debugging-pipe",
             "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
             "--force-prefers-reduced-motion", f"--window-size={width},{height}",
             f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that all that it starts can be ended together
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The program may be a script that waits for the browser itself: a signal would end the script alone,
        # and the other would go on writing into the folder that we remove.
        with suppress(OSError):
            os.write(self._out, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        os.close(self._out)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._end_session()
        self._process.wait()
        os.close(self._in)
        self._profile.cleanup()

    def _end_session(self) -> None:
        """End every process that it has started, and wait until none is left."""
        deadline = time.monotonic() + PATIENCE_S
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.poll()
                time.sleep(0.01)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._number:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error']['message']}")
            else:
                result: dict[str, Any] = answer["result"]
                return result

    def wait_for(self, method: str) -> None:
        """Until this event has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 16)
            if not data:
                raise BrowserError("the browser has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def open(self, address: str) -> "Page":
        """Load an address in a new tab, offline, and wait until it is there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1,
        )  # fmt: skip
        scheme = "dark" if self.dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}, *REDUCED]
        page.call("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        page.call("Page.navigate", url=address)
        self.wait_for("Page.loadEventFired")
        return page


REDUCED: Final = [{"name": "prefers-reduced-motion", "value": "reduce"}]
"""Pages that begin by themselves stand still for a test."""


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key, as a keyboard sends it."""
        facts: dict[str, Any] = {
            "key": key,
            "windowsVirtualKeyCode": KEYS.get(key, 0),
            "modifiers": 8 if shift else 0,
        }
        if len(key) == 1:
            facts["text"] = key
        elif key == "Enter":
            facts["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def click(self, x: float, y: float) -> None:
        """The left mouse button, at this place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def wait_until(self, condition: str) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(condition):
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {condition}")

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """Uncaught errors, console errors, and whatever it tried to load."""
        found = []
        for event in self._browser.events:
            method, facts = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(facts["exceptionDetails"]))
            elif method == "Log.entryAdded" and facts["entry"]["level"] == "error":
                found.append(facts["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                url = facts["request"]["url"]
                if not url.startswith(("file:", "data:")):
                    found.append(f"loaded {url}")
        return found
