"""A headless Chromium, driven over its own protocol: no more of it than looking at a page needs."""

import asyncio
import base64
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

import aiohttp
import requests

from tests.programs import needed

CHROMIUM = needed(
    *("chromium", "chromium-browser", "google-chrome"), install="on Debian and Ubuntu, `apt install chromium`"
)
LIMIT_S = 30
AT_ONCE = 16
"""How often a key is pressed before the first answer is waited for: the page draws itself once for several."""


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.errors: list[str] = []
        """What the page's scripts complained of."""
        self.console: list[str] = []
        """All that the console shows, also what the browser says itself, like a file that is missing."""
        self._hearing = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Runtime.consoleAPICalled":
                self.console.append(str(said["params"]["args"]))
                if said["params"]["type"] == "error":
                    self.errors.append(str(said["params"]["args"]))
            elif said["method"] == "Log.entryAdded":
                self.console.append(str(said["params"]["entry"]))

    async def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        said = await asyncio.wait_for(answer, LIMIT_S)
        assert "error" not in said, said["error"]
        return said["result"]

    async def dress(self, width: int, height: int, scheme: str) -> None:
        """Have a screen of this size, in the scheme light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def open(self, url: str) -> None:
        """Go to a page."""
        await self.call("Page.navigate", url=url)

    async def value(self, script: str) -> Any:
        """Return what a script gives."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return result["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a script gives something true."""
        async with asyncio.timeout(LIMIT_S):
            while not await self.value(script):  # noqa: ASYNC110 - what it waits for is in another process
                await asyncio.sleep(0.05)

    async def point(self, x: float, y: float) -> None:
        """Move the mouse to a place on the screen."""
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def press(self, key: str, times: int = 1) -> None:
        """Press a key that has a name, Tab or Enter, so many times."""
        text = {"Enter": "\r"}.get(key, "")
        code = {"Enter": 13, "Tab": 9}[key]
        known = {"key": key, "windowsVirtualKeyCode": code}
        strokes = [{"type": "keyDown", "text": text, **known}, {"type": "keyUp", **known}]
        for first in range(0, times, AT_ONCE):
            some = strokes * min(AT_ONCE, times - first)  # they keep their order
            await asyncio.gather(*(self.call("Input.dispatchKeyEvent", **stroke) for stroke in some))

    async def screenshot(self) -> bytes:
        """Return a picture of the whole page, as PNG."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        how = {"format": "png", "optimizeForSpeed": True, "captureBeyondViewport": True}
        picture = await self.call("Page.captureScreenshot", clip=clip, **how)
        return base64.b64decode(picture["data"])

    async def __aenter__(self) -> Self:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Emulation.setFocusEmulationEnabled", enabled=True)  # else keys go to no tab
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def leave(self) -> None:
        """Go to an empty page, and forget what pages have stored."""
        await self.value("localStorage.clear(); sessionStorage.clear()")
        await self.call("Storage.clearCookies")
        await self.open("about:blank")
        await self.until("location.href === 'about:blank'")

    async def close(self) -> None:
        self._hearing.cancel()
        await self._socket.close()


@contextmanager
def _chromium() -> Iterator[str]:
    """Run a Chromium until the block ends; return where its tab listens."""
    # its children may still write when it has ended
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        command += ["--disable-features=BackForwardCache,SpareRendererForSitePerProcess"]  # pages that nobody looks at
        process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            told = Path(profile) / "DevToolsActivePort"
            until = time.monotonic() + LIMIT_S
            while not (told.exists() and "/" in told.read_text()):
                assert process.poll() is None, "Chromium has ended"
                assert time.monotonic() < until, "Chromium does not listen"
                time.sleep(0.05)
            port, _ = told.read_text().split()
            targets = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=LIMIT_S).json()
            (tab,) = [target for target in targets if target["type"] == "page"]
            yield tab["webSocketDebuggerUrl"]
        finally:
            process.terminate()
            process.wait(10)


_running = ExitStack()


@cache
def _tab() -> str:
    """Start the Chromium of all pages; return where its tab listens."""
    return _running.enter_context(_chromium())


def stop() -> None:
    """End the Chromium, if there is one."""
    _running.close()
    _tab.cache_clear()


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    """Have the tab until the block ends.

    All blocks take turns at one tab, and find no cookie, nothing stored and no message of those before, only the
    browser's cache. A window of its own for each block would start two processes each time.
    """
    async with aiohttp.ClientSession() as session:
        try:
            async with Page(await session.ws_connect(_tab(), max_msg_size=0)) as opened:
                yield opened
                await opened.leave()
        except BaseException:
            stop()  # nobody knows in what state the tab is
            raise
