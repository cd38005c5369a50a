"""Status polls a second, against an empty endpoint of the same framework, in one run.

    python benchmarks/poll.py [SECONDS]

Rounds alternate between the endpoints, with keep-alive connections from one client process; medians are compared.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from own_service import running

CONNECTIONS = 8
ROUNDS = 5
EMPTY = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef empty() -> None: ...\n"


async def _hammer(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if length:
            await reader.readexactly(length)
        count += 1
    writer.close()
    return count


async def rate(url: str, path: str, headers: dict[str, str], seconds: float) -> float:
    """Requests a second over some connections."""
    place = urlsplit(url)
    assert place.hostname and place.port
    lines = [f"GET {path} HTTP/1.1", f"host: {place.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    until = time.perf_counter() + seconds
    hammers = [_hammer(place.hostname, place.port, request, until) for _ in range(CONNECTIONS)]
    return sum(await asyncio.gather(*hammers)) / seconds


def _empty_server(folder: str) -> tuple["subprocess.Popen[bytes]", str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "empty:app",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "--no-access-log",
    ]
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": folder}), f"http://127.0.0.1:{port}"


def _await(url: str) -> None:
    while True:
        try:
            httpx2.get(url)
            return
        except httpx2.TransportError:
            time.sleep(0.05)


def main() -> None:
    """The table: requests a second and the ratio to the empty endpoint."""

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    with tempfile.TemporaryDirectory() as folder, running("--no-worker") as http:
        (Path(folder) / "empty.py").write_text(EMPTY)
        process, empty_url = _empty_server(folder)
        try:
            _await(empty_url)
            spec = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}}
            job = http.post("/v1/jobs", json=spec).json()
            path = f"/v1/jobs/{job['id']}"
            key = {"authorization": http.headers["authorization"]}
            http.post(f"{path}/cancel")  # of a queued job even the parents are looked at
            etag = http.get(path).headers["etag"]
            targets = {
                "an empty endpoint": (empty_url, "/", {}),
                "status, unchanged (304)": (str(http.base_url), path, key | {"if-none-match": etag}),
                "status, whole": (str(http.base_url), path, key),
            }
            rates: dict[str, list[float]] = {name: [] for name in targets}
            for _ in range(ROUNDS):
                for name, (url, target, headers) in targets.items():
                    rates[name].append(asyncio.run(rate(url, target, headers, seconds)))
        finally:
            process.terminate()
            process.wait()
    base = statistics.median(rates["an empty endpoint"])
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name:26} {median:8.0f} requests/s  {median / base:5.2f} x empty")


if __name__ == "__main__":
    main()
