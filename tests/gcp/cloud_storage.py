"""As much of Cloud Storage as Terraform's backend and `gcloud storage` need: buckets, objects, their generations."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from gcp.configuration import NUMBER


class CloudStorage:
    """Buckets by name, with their settings; objects by bucket and name, with their contents and generation."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Any]] = {}
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._generation = 1000

    def put(self, bucket: str, name: str, data: bytes, match: str | None = None) -> dict[str, Any]:
        """Write an object, if its generation is the one that the caller knows.

        Raises:
            ValueError: it is another.
        """
        if match is not None and int(match) != self.objects.get((bucket, name), (b"", 0))[1]:
            raise ValueError(match)
        self._generation += 1
        self.objects[bucket, name] = (data, self._generation)
        return self.described(bucket, name)

    def described(self, bucket: str, name: str) -> dict[str, Any]:
        """An object as the API shows it."""
        data, generation = self.objects[bucket, name]
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(generation),
            "size": str(len(data)),
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> tuple[int, Any, int]:
        """Status, JSON or bytes, and the generation of what is read."""
        match = query.get("ifGenerationMatch")
        if method == "POST" and path == "/storage/v1/b":
            settings = json.loads(body)
            self.buckets[settings["name"]] = {**settings, "kind": "storage#bucket", "projectNumber": NUMBER}
            return 200, self.buckets[settings["name"]], 0
        if upload := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
            boundary = kind.partition("boundary=")[2].strip('"').encode()
            meta, data = (part.split(b"\r\n\r\n", 1)[1] for part in body.split(b"--" + boundary)[1:3])
            return 200, self.put(upload[1], json.loads(meta)["name"], data.removesuffix(b"\r\n"), match), 0
        if bucket := re.fullmatch(r"/storage/v1/b/([^/]+)", path):
            if bucket[1] in self.buckets and method == "PATCH":
                self.buckets[bucket[1]] |= json.loads(body)
            return (200, self.buckets[bucket[1]], 0) if bucket[1] in self.buckets else (404, None, 0)
        if listing := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
            names = [
                name for own, name in self.objects if own == listing[1] and name.startswith(query.get("prefix", ""))
            ]
            return 200, {"kind": "storage#objects", "items": [self.described(listing[1], name) for name in names]}, 0
        found = re.fullmatch(r"(/storage/v1/b)?/([^/]+)(?(1)/o)/(.+)", path)
        if found is None or (found[2], found[3]) not in self.objects:
            return 404, None, 0
        data, generation = self.objects[found[2], found[3]]
        if method == "DELETE":
            if int(match or query.get("generation") or generation) != generation:
                raise ValueError(match)
            del self.objects[found[2], found[3]]
            return 204, None, 0
        return 200, self.described(found[2], found[3]) if found[1] and query.get("alt") != "media" else data, generation


@contextmanager
def running(storage: CloudStorage) -> Iterator[str]:
    """Serve it on loopback; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _any(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(parts.query))
            body = self._body()
            kind = self.headers.get("Content-Type", "")
            try:
                status, answer, generation = storage.answer(
                    self.command, urllib.parse.unquote(parts.path), query, body, kind
                )
            except ValueError:
                status, answer, generation = 412, None, 0
            if status >= 400:
                answer = {"error": {"code": status, "message": "not found" if status == 404 else "precondition"}}
            out = answer if isinstance(answer, bytes) else json.dumps(answer).encode() if answer is not None else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Goog-Generation", str(generation))
            self.send_header("X-Goog-Metageneration", "1")
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
