"""A server of objects whose faults are chosen by the test: what a bucket does on a bad day.

It speaks as much of S3 as a reader and a writer of single objects need, by paths
(``/bucket/key``), and so it is a plain web server too.  moto stands for a good day.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class Answer:
    """How a request is answered other than well.

    `status` and `code` make an error of S3; `stall_s` is a silence before the last byte, `cut` ends
    the connection in the middle of the body, `whole` answers with all of the object, `shifted` with
    another range than the one that was asked for.
    """

    status: int = 0
    code: str = ""
    stall_s: float = 0.0
    cut: bool = False
    whole: bool = False
    shifted: bool = False


@dataclass
class ObjectServer:
    """Objects by their paths, and what was asked for.

    `fault` is asked before every answer, with the method, the path and how often that was asked
    for before; None is a good answer.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    tags: str = "strong"
    modified: str = "Mon, 01 Jan 2024 00:00:00 GMT"
    fault: Callable[[str, str, int], Answer | None] = lambda _method, _path, _before: None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def add_folder(self, folder: Path, prefix: str) -> None:
        """Add the files of a folder under a prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.objects[f"/{prefix}/{path.relative_to(folder)}"] = path.read_bytes()

    def requests(self, method: str = "GET") -> int:
        """Return how many requests there were."""
        return sum(asked[0] == method for asked in self.asked)


@contextmanager
def serving(server: ObjectServer) -> Iterator[ObjectServer]:
    """Serve on a free port of this machine, until the end of the block."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

        def _before(self) -> Answer | None:
            path = self.path.split("?", maxsplit=1)[0]
            with lock:
                before = sum(asked[1] == path for asked in server.asked)
                server.asked.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}))
            return server.fault(self.command, path, before)

        def _error(self, status: int, code: str) -> None:
            body = b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _serve(self) -> None:  # noqa: PLR0911  # an answer each
            answer = self._before() or Answer()
            if answer.status:
                self._error(answer.status, answer.code)
                return
            if "list-type=2" in self.path:
                # A listing of nothing: what is not a table.
                listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
                self.send_response(200)
                self.send_header("Content-Length", str(len(listing)))
                self.end_headers()
                self.wfile.write(listing)
                return
            body = server.objects.get(self.path.split("?", maxsplit=1)[0])
            if body is None:
                self._error(404, "NoSuchKey")
                return
            tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            wanted = self.headers.get("If-Match")
            if wanted is not None and wanted != tag:
                self._error(412, "PreconditionFailed")
                return
            start, end, status = 0, len(body), 200
            asked = self.headers.get("Range")
            if asked is not None and not answer.whole:
                first, last = _RANGE.fullmatch(asked).groups()  # type: ignore[union-attr]  # clients send such a range
                start = max(0, len(body) - int(last)) if first == "" else int(first)
                end = len(body) if first == "" or last == "" else min(len(body), int(last) + 1)
                status = 206
            if start >= end:
                self._error(416, "InvalidRange")
                return
            shift = int(answer.shifted)
            self.send_response(status)
            self.send_header("Content-Length", str(end - start))
            self.send_header("Last-Modified", server.modified)
            if server.tags != "none":
                self.send_header("ETag", tag if server.tags == "strong" else f"W/{tag}")
            if status == 206:
                self.send_header("Content-Range", f"bytes {start + shift}-{end - 1 + shift}/{len(body)}")
            self.end_headers()
            if self.command == "HEAD":
                return
            part = body[start:end]
            if answer.cut:
                self.wfile.write(part[: len(part) // 2])
                self.close_connection = True
                self.connection.close()
                return
            if answer.stall_s:
                self.wfile.write(part[:-1])
                self.wfile.flush()
                time.sleep(answer.stall_s)
                part = part[-1:]
            self.wfile.write(part)

        def do_GET(self) -> None:
            self._guarded(self._serve)

        def do_HEAD(self) -> None:
            self._guarded(self._serve)

        def do_PUT(self) -> None:
            self._guarded(self._store)

        def _store(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = self._before() or Answer()
            if answer.status:
                self._error(answer.status, answer.code)
                return
            path = self.path.split("?", maxsplit=1)[0]
            if self.headers.get("If-None-Match") == "*" and path in server.objects:
                self._error(412, "PreconditionFailed")
                return
            server.objects[path] = body
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _guarded(self, answer: Callable[[], None]) -> None:
            try:
                answer()
            except OSError:
                # Who asked has gone.
                self.close_connection = True

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
