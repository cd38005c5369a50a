"""Unix sockets in front of the servers' own, which can be cut, made to hang, and healed: a network that fails."""

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Literal

State = Literal["open", "cut", "hanging"]
CHUNK = 1 << 16


class Proxy:
    """One worker's way to PostgreSQL and Redis: each socket of `sockets` again, in `folder`."""

    def __init__(self, folder: Path, sockets: Path, names: list[str]) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._routes = [(folder / name, sockets / name) for name in names]
        self._state: State = "open"
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy {folder.name}", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def become(self, state: State) -> None:
        """`cut`: connections are closed and refused. `hanging`: nothing passes, nobody is told. `open`: as ever."""
        self._loop.call_soon_threadsafe(self._become, state)

    def close(self) -> None:
        """End it; its thread too."""
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(10)

    def _run(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loop.run_forever()
        self._loop.close()

    def _stop(self) -> None:
        self._become("cut")
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        for server in self._servers:
            server.close()
        self._loop.call_later(0.1, self._loop.stop)

    async def _listen(self) -> None:
        self._servers = [await asyncio.start_unix_server(self._serve(to), str(at)) for at, to in self._routes]

    def _become(self, state: State) -> None:
        self._state = state
        if state == "hanging":
            self._flowing.clear()
        else:
            self._flowing.set()
        if state == "cut":
            for writer in list(self._open):
                writer.transport.abort()

    def _serve(self, target: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202 - asyncio names its type
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                if self._state == "cut":
                    writer.transport.abort()
                    return
                far_reader, far_writer = await asyncio.open_unix_connection(str(target))
                await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
            writer.transport.abort()

        return serve

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()
