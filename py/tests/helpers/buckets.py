"""A real server of S3 on this machine, which the tests start and end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

SECRET: Final = "a-secret-that-must-not-show"
_START_S: Final = 60


@dataclass(frozen=True)
class Buckets:
    """Where the server listens."""

    url: str

    @property
    def options(self) -> dict[str, str]:
        """The storage options that reach it."""
        return {
            "aws_access_key_id": "an-id",
            "aws_secret_access_key": SECRET,
            "aws_region": "us-east-1",
            "aws_endpoint_url": self.url,
            "allow_http": "true",
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same as variables, without any other of the kind."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        names = {name if name.startswith("aws_") else f"aws_{name}": value for name, value in self.options.items()}
        return mine | {name.upper(): value for name, value in names.items()}

    def client(self) -> Any:
        """Return a client that is not ours."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="an-id",
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def make(self, bucket: str, folder: Path | None = None, prefix: str = "") -> str:
        """Make a bucket, put the files of a folder into it, and return its URI."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        for path in sorted(folder.rglob("*")) if folder is not None else ():
            if path.is_file():
                client.upload_file(str(path), bucket, f"{prefix}{path.relative_to(folder or path)}")
        return f"s3://{bucket}"

    def read(self, bucket: str, name: str) -> bytes:
        """Return the content of an object."""
        content: bytes = self.client().get_object(Bucket=bucket, Key=name)["Body"].read()
        return content

    def names(self, bucket: str) -> list[str]:
        """Return the names of all objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def answering(command: list[str], port: int) -> Iterator[str]:
    """Start a server, yield its URL once it answers, and end it after the block."""
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + _START_S
            while True:
                try:
                    with urlopen(f"{url}/moto-api/", timeout=5):
                        break
                except (URLError, OSError):
                    assert process.poll() is None, "the server has ended"
                    assert time.monotonic() < end, "the server does not answer"
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


@contextmanager
def serving_buckets() -> Iterator[Buckets]:
    """Start the server, and end it after the block."""
    port = free_port()
    with answering([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port) as url:
        yield Buckets(url)
