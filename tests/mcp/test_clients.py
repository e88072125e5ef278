"""The official client for Python over stdio and HTTP: of the package mcp 1 or 2, as installed."""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import mcp
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

HERE = pathlib.Path(__file__).parent
GATEWAY = os.environ["TOOLBOOTH"]
VERSION = int(importlib.metadata.version("mcp").split(".")[0])
# The protocol of a client: of the package mcp 2, both generations.
MODES = ["session"] if VERSION == 1 else ["session", "legacy", "2026-07-28"]
ERROR = mcp.McpError if VERSION == 1 else mcp.MCPError


class Place:
    """A folder with the probe's log, and the gateway's environment."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="toolbooth-mcp-"))
        self.log = self.folder / "probe.log"
        self.log.touch()
        self.env = dict(
            os.environ,
            FILES=str(self.folder),
            PROBE=str(HERE / "probe.mjs"),
            PROBE_LOG=str(self.log),
        )

    def find(self, event, call):
        """The probe's entry, or None."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        found = [entry for entry in entries if (entry["event"], entry.get("id")) == (event, call)]
        return found[0] if found else None

    async def started(self, call):
        """Waits until the probe has started the call."""
        await until(f"{call} has started", lambda: self.find("started", call))

    async def ended(self, call):
        """Waits until the probe was notified, or its process has ended."""
        pid = self.find("started", call)["pid"]
        await until(f"{call} is cancelled", lambda: self.find("cancelled", call) or not alive(pid))


async def until(what, check):
    """Waits until the check returns something true."""
    deadline = time.monotonic() + 30
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within 30 s: {what}")
        await asyncio.sleep(0.01)


def alive(pid):
    """Whether a process runs."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1]
    except OSError:
        return False
    return state[0] not in "XZ"


def serve(place):
    """Starts the gateway over HTTP and waits until it accepts connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    file = place.folder / "booth.toml"
    listen = f'\n[listen]\nstdio = false\nhttp = "127.0.0.1:{port}"\n'
    file.write_text((HERE / "probe.toml").read_text() + listen)
    child = subprocess.Popen(
        [GATEWAY, "run", file], env=place.env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/mcp"
    deadline = time.monotonic() + 15
    while True:
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError:
            return child, url
        except OSError:
            if child.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Session:
    """One interface for the session of both packages and the client of mcp 2."""

    def __init__(self, inner):
        self.inner = inner

    async def call(self, name, arguments=None, **options):
        return await self.inner.call_tool(name, arguments or {}, **options)

    async def names(self):
        names, cursor = [], None
        while True:
            page = (
                await self.inner.list_tools(cursor=cursor)
                if cursor
                else await self.inner.list_tools()
            )
            names += [tool.name for tool in page.tools]
            cursor = getattr(page, "nextCursor", None) or getattr(page, "next_cursor", None)
            if not cursor:
                return names


def texts(result):
    return [content.text for content in result.content]


def is_error(result):
    return result.isError if VERSION == 1 else result.is_error


def structured(result):
    return result.structuredContent if VERSION == 1 else result.structured_content


class Cases:
    """The tests, for each front and each mode."""

    front = mode = None

    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.child = None
        if cls.front == "http":
            cls.child, cls.url = serve(cls.place)

    @classmethod
    def tearDownClass(cls):
        if cls.child:
            cls.child.send_signal(signal.SIGTERM)
            cls.child.wait(30)
        shutil.rmtree(cls.place.folder)

    @contextlib.asynccontextmanager
    async def open(self):
        parameters = mcp.StdioServerParameters(
            command=GATEWAY, args=["run", str(HERE / "probe.toml")], env=self.place.env
        )
        if self.mode != "session":
            server = self.url if self.front == "http" else parameters
            async with mcp.Client(server, mode=self.mode) as client:
                yield await self.ready(Session(client))
            return
        with open(os.devnull, "w", encoding="utf-8") as errors:
            opened = (
                streamable_http_client(self.url)
                if self.front == "http"
                else stdio_client(parameters, errlog=errors)
            )
            async with opened as streams:
                async with mcp.ClientSession(streams[0], streams[1]) as session:
                    await session.initialize()
                    yield await self.ready(Session(session))

    async def ready(self, session):
        """Waits until the tools of the probe are there."""
        deadline = time.monotonic() + 15
        while "probe_echo" not in await session.names():
            self.assertLess(time.monotonic(), deadline)
            await asyncio.sleep(0.05)
        return session

    async def test_lists_each_tool_once(self):
        async with self.open() as session:
            names = [
                f"probe_{name}"
                for name in ("echo", "fail", "hang", "limited", "steps", "stop", "sum")
            ]
            self.assertEqual(sorted(await session.names()), names)

    async def test_results_errors_and_unknown_tools(self):
        async with self.open() as session:
            self.assertEqual(texts(await session.call("probe_echo", {"text": "hi"})), ["hi"])
            failed = await session.call("probe_fail", {"text": "no such row"})
            self.assertEqual((is_error(failed), texts(failed)), (True, ["no such row"]))
            total = await session.call("probe_sum", {"a": 2, "b": 3})
            self.assertEqual((structured(total), texts(total)), ({"sum": 5}, ['{"sum":5}']))
            with self.assertRaises(ERROR) as raised:
                await session.call("probe_nothing")
            self.assertEqual(raised.exception.error.code, -32602)

    async def test_progress_arrives_in_order(self):
        seen = []

        async def progress(value, total, message):
            seen.append((value, total, message))

        async with self.open() as session:
            arguments = {"steps": 3, "every": 300, "id": "progress"}
            result = await session.call("probe_steps", arguments, progress_callback=progress)
            self.assertEqual(texts(result), ["3 steps"])
        self.assertEqual(seen, [(step, 3, f"step {step}") for step in (1, 2, 3)])

    async def test_the_upstream_is_notified_of_a_client_that_leaves_a_call(self):
        call = f"left {self.front} {self.mode}"
        with contextlib.suppress(asyncio.CancelledError, ERROR, ExceptionGroup):
            async with self.open() as session:
                hanging = asyncio.ensure_future(session.call("probe_hang", {"id": call}))
                await self.place.started(call)
                hanging.cancel()
                await asyncio.wait([hanging])
        await self.place.ended(call)

    async def test_a_limit_ends_a_call_and_the_upstream_is_notified(self):
        async with self.open() as session:
            call = f"limited {self.front} {self.mode}"
            limited = await session.call("probe_limited", {"steps": 100, "every": 150, "id": call})
            self.assertTrue(is_error(limited))
            await self.place.ended(call)

    async def test_many_calls_at_once_get_their_own_results(self):
        async with self.open() as session:
            calls = [session.call("probe_echo", {"text": str(index)}) for index in range(50)]
            results = await asyncio.gather(*calls)
            self.assertEqual(
                [texts(result) for result in results], [[str(index)] for index in range(50)]
            )

    async def test_a_server_that_ends_is_started_again(self):
        async with self.open() as session:
            self.assertTrue(is_error(await session.call("probe_stop")))
            deadline = time.monotonic() + 15
            while True:
                with contextlib.suppress(ERROR):
                    again = await session.call("probe_echo", {"text": "again"})
                    if texts(again) == ["again"]:
                        break
                self.assertLess(time.monotonic(), deadline)
                await asyncio.sleep(0.02)


def load_tests(loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for front in ("stdio", "http"):
        for mode in MODES:
            name = f"mcp {VERSION} {mode} over {front}"
            bases = (Cases, unittest.IsolatedAsyncioTestCase)
            case = type(name, bases, {"front": front, "mode": mode})
            suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    unittest.main(verbosity=2)
