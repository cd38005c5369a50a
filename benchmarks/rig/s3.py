"""An object store on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import fsspec


@dataclass
class S3:
    """A running one."""

    url: str
    """Of an empty bucket."""
    environment: dict[str, str]
    """What a process needs to reach it, as operators set it."""


@contextmanager
def object_store() -> Iterator[S3]:
    """Moto's server, which speaks S3's protocol."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # each request is a line otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(access)  # before the first client is made
    fsspec.config.conf["s3"] = {"endpoint_url": f"http://{host}:{port}"}  # read from the environment on import only
    fsspec.filesystem("s3").mkdir("hone")
    yield S3("s3://hone", access | {"FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}"})
    server.stop()
