"""A real browser for tests: Chromium, driven through chromedriver's own HTTP protocol, with a virtual authenticator.

Source: W3C WebDriver 2; W3C WebAuthn Level 3 §11 (user agent automation).
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.children import child

START_S = 120
WAIT_S = 120
SCRIPT_S = 120
CALL_S = 180
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def is_there() -> bool:
    """Tell whether this machine has a browser and its driver."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class DriverError(Exception):
    """What the driver could not do, in its own words: find an element that went with its page, for example."""


class Browser:
    """One window of a browser of its own."""

    def __init__(self, folder: Path, *, language: str = "en", more: Sequence[str] = ()) -> None:
        """Start it; `folder` is for its own files, `more` are arguments to Chromium."""
        self._driver, port = _started(folder / "chromedriver.log")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += [
            f"--user-data-dir={folder / 'profile'}",
            f"--accept-lang={language}",
            "--window-size=1280,1000",
            *more,
        ]
        options = {"goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")}}
        # Half a minute, the protocol's own, may be too short for axe-core on a large page while others compute.
        options["timeouts"] = {"script": SCRIPT_S * 1000}
        try:
            self._url = f"http://127.0.0.1:{port}"
            made = _patiently(lambda: self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}}))
        except BaseException:
            self._driver.kill()
            self._driver.wait()
            raise
        self._session = f"/session/{made['sessionId']}"

    def close(self) -> None:
        """End the browser."""
        try:
            self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(WAIT_S)

    def add_authenticator(self, transport: str = "internal") -> str:
        """Put a phone in the user's hand, or a key (``usb``), that agrees to everything; gives its id."""
        document = {"protocol": "ctap2", "transport": transport, "hasResidentKey": True, "hasUserVerification": True}
        return self._call("POST", f"{self._session}/webauthn/authenticator", {**document, "isUserVerified": True})

    def touch(self, authenticator: str, *, is_touched: bool) -> None:
        """Have the user touch an authenticator whenever it wants that, or not at all."""
        command = {"cmd": "WebAuthn.setAutomaticPresenceSimulation"}
        asked = {"authenticatorId": authenticator, "enabled": is_touched}
        self._call("POST", f"{self._session}/goog/cdp/execute", {**command, "params": asked})

    def passkeys(self, authenticator: str) -> int:
        """Count the passkeys on an authenticator."""
        return len(self._call("GET", f"{self._session}/webauthn/authenticator/{authenticator}/credentials"))

    def credential(self, authenticator: str) -> bytes:
        """Return the id of the first passkey on an authenticator."""
        (first, *_) = self._call("GET", f"{self._session}/webauthn/authenticator/{authenticator}/credentials")
        return base64.urlsafe_b64decode(first["credentialId"] + "==")

    def open(self, url: str) -> None:
        """Go to an address."""
        self._call("POST", f"{self._session}/url", {"url": url})

    @property
    def url(self) -> str:
        """Where the browser is."""
        return self._call("GET", f"{self._session}/url")

    @property
    def text(self) -> str:
        """What the page says."""
        return self.script("return document.body ? document.body.innerText : ''")

    def script(self, source: str) -> Any:  # noqa: ANN401  # what the script gives
        """Run a script in the page."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": source, "args": []})

    @contextmanager
    def early_script(self, source: str) -> Iterator[None]:
        """Run a script in each page that is opened, before its own."""
        execute = f"{self._session}/goog/cdp/execute"
        added = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": source}}
        made = self._call("POST", execute, added)
        try:
            yield
        finally:
            self._call("POST", execute, {"cmd": "Page.removeScriptToEvaluateOnNewDocument", "params": made})

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Have pages run no scripts, as where a person has switched them off; `script` runs all the same."""
        execute, command = f"{self._session}/goog/cdp/execute", "Emulation.setScriptExecutionDisabled"
        self._call("POST", execute, {"cmd": command, "params": {"value": True}})
        try:
            yield
        finally:
            self._call("POST", execute, {"cmd": command, "params": {"value": False}})

    def promise(self, source: str) -> Any:  # noqa: ANN401  # what the script gives
        """Run a script in the page that calls its last argument with what it gives."""
        return self._call("POST", f"{self._session}/execute/async", {"script": source, "args": []})

    def click(self, selector: str) -> None:
        """Click an element, once it is there."""
        _patiently(lambda: self._call("POST", f"{self._session}/element/{self.wait_for(selector)}/click", {}))

    def leave(self, selector: str) -> None:
        """Click what leads to another page, and wait until the browser has left this one, which may look the same."""
        self.script("window.stays = true")
        self.click(selector)
        deadline = time.monotonic() + WAIT_S
        while _patiently(lambda: self.script("return 'stays' in window")):
            if time.monotonic() > deadline:
                pytest.fail(f"{selector} leads nowhere at {self.url}: {self.text[:500]}")
            time.sleep(0.1)

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        asked = {"text": text}
        _patiently(lambda: self._call("POST", f"{self._session}/element/{self.wait_for(selector)}/value", asked))

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        rows = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", f"{self._session}/actions", {"actions": [{"actions": rows, "id": "keys", "type": "key"}]})

    def wait_for(self, selector: str) -> str:
        """Wait for an element that can be seen."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
                if self._call("GET", f"{self._session}/element/{found[_ELEMENT]}/displayed"):
                    return found[_ELEMENT]
            except DriverError:
                pass
            if time.monotonic() > deadline:
                pytest.fail(f"no {selector} at {self.url}: {self.text[:500]}")
            time.sleep(0.1)

    def wait_until(self, part: str) -> str:
        """Wait until the page says something; returns all that it says."""
        deadline = time.monotonic() + WAIT_S
        while part not in (text := _patiently(lambda: self.text)):
            if time.monotonic() > deadline:
                pytest.fail(f"no {part!r} at {self.url}: {text[:500]}")
            time.sleep(0.1)
        return text

    def cookies(self) -> list[dict[str, Any]]:
        """List the cookies that the page would be sent."""
        return self._call("GET", f"{self._session}/cookie")

    def resize(self, width: int, height: int) -> None:
        """Make the window as large as a phone's, or a desk's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._call("POST", f"{self._session}/goog/cdp/execute", command)

    def back(self) -> None:
        """Go to the page before, as its button does."""
        self._call("POST", f"{self._session}/back", {})

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Look into the first frame of the page, whatever stands there."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": "iframe"})
        self._call("POST", f"{self._session}/frame", {"id": found})
        try:
            yield
        finally:
            self._call("POST", f"{self._session}/frame", {"id": None})

    def plant(self, name: str, value: str) -> None:
        """Set a cookie for the host of the page, as nobody but the browser's owner can."""
        cookie = {"name": name, "value": value, "secure": True, "httpOnly": True, "sameSite": "Strict", "path": "/"}
        self._call("POST", f"{self._session}/cookie", {"cookie": cookie})

    def media(self, kind: str) -> None:
        """Look at the page as on paper (``print``), or on a screen again (an empty text)."""
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"media": kind}}
        self._call("POST", f"{self._session}/goog/cdp/execute", command)

    def pdf(self) -> str:
        """Print the page on paper; gives the file, base64."""
        return self._call("POST", f"{self._session}/print", {"background": True})

    def picture(self, path: Path) -> None:
        """Take a picture of the page."""
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def _call(self, method: str, path: str, document: Any = None) -> Any:  # noqa: ANN401  # as the protocol says
        """Ask the driver."""
        data = None if document is None else json.dumps(document).encode()
        asked = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310  # our own driver
        try:
            with urllib.request.urlopen(asked, timeout=CALL_S) as answer:  # noqa: S310  # as above
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                value = json.loads(error.read())["value"]
            raise DriverError(value["error"], value["message"][:500]) from None


def _started(said: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a driver and wait until it says which port it took; returns both.

    It takes a free port for one kind of address and then wants the same for the other; where another process has that,
    it ends, and is started anew.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with said.open("wb") as log:
            driver = child(["chromedriver", "--port=0"], stdout=log, stderr=log)
        while driver.poll() is None and time.monotonic() < deadline:
            found = re.search(r"started successfully on port (\d+)", said.read_text())
            if found is not None:
                return driver, found.group(1)
            time.sleep(0.1)
        driver.kill()
        driver.wait()
    pytest.fail(f"no chromedriver: {said.read_text()[:500]}")


def _patiently(ask: Callable[[], Any]) -> Any:  # noqa: ANN401  # what the driver says
    """Ask until the driver can: on a slow machine a page may go while it is asked for."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return ask()
        except DriverError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
