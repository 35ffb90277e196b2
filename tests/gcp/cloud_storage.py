"""As much of Cloud Storage as Terraform's backend and `gcloud storage` need: buckets, objects, their generations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

from gcp.configuration import NUMBER

API = "/storage/v1/b"


class CloudStorage:
    """Buckets by name, with their settings; objects by bucket and name, with their contents and generation."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Any]] = {}
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._generation = 1000

    def put(self, bucket: str, name: str, data: bytes) -> dict[str, Any]:
        """Write an object; returns it as the API shows it."""
        self._generation += 1
        self.objects[bucket, name] = (data, self._generation)
        return self.described(bucket, name)

    def described(self, bucket: str, name: str) -> dict[str, Any]:
        """An object as the API shows it."""
        data, generation = self.objects[bucket, name]
        shown = {"kind": "storage#object", "bucket": bucket, "name": name}
        return {**shown, "generation": str(generation), "size": str(len(data))}


@contextmanager
def running(storage: CloudStorage) -> Iterator[str]:
    """Serve it on loopback; yields its address."""
    app = Flask("storage")

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[dict[str, Any], int]:
        return {"error": {"code": error.code, "message": error.description}}, error.code or 500

    @app.post(API)
    def make() -> dict[str, Any]:
        settings = {**request.get_json(), "kind": "storage#bucket", "projectNumber": NUMBER}
        if settings["name"] in storage.buckets:
            abort(409, "The requested bucket name is not available. The bucket namespace is shared by all users.")
        storage.buckets[settings["name"]] = settings
        return settings

    @app.get(API)
    def own() -> dict[str, Any]:
        return {"items": [bucket for bucket in storage.buckets.values() if bucket["projectNumber"] == NUMBER]}

    @app.route(f"{API}/<bucket>", methods=["GET", "PATCH"])
    def settings(bucket: str) -> dict[str, Any]:
        if bucket not in storage.buckets:
            abort(404)
        storage.buckets[bucket] |= request.get_json() if request.method == "PATCH" else {}
        return storage.buckets[bucket]

    @app.get(f"{API}/<bucket>/o")
    def listing(bucket: str) -> dict[str, Any]:
        prefix = request.args.get("prefix", "")
        names = [name for own, name in storage.objects if own == bucket and name.startswith(prefix)]
        return {"kind": "storage#objects", "items": [storage.described(bucket, name) for name in names]}

    @app.post(f"/upload{API}/<bucket>/o")
    def upload(bucket: str) -> dict[str, Any]:
        boundary = request.mimetype_params["boundary"].encode()
        parts = request.get_data().split(b"--" + boundary)[1:3]
        about, data = (part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts)
        name = app.json.loads(about)["name"]
        _check(storage.objects.get((bucket, name), (b"", 0))[1])
        return storage.put(bucket, name, data)

    @app.route(f"{API}/<bucket>/o/<path:name>", methods=["GET", "DELETE"])
    @app.get("/<bucket>/<path:name>")
    def one(bucket: str, name: str) -> Response:
        if (bucket, name) not in storage.objects:
            abort(404)
        data, generation = storage.objects[bucket, name]
        if request.method == "DELETE":
            _check(generation)
            del storage.objects[bucket, name]
            return Response(status=204)
        if request.path.startswith(API) and request.args.get("alt") != "media":
            return Response(app.json.dumps(storage.described(bucket, name)), mimetype="application/json")
        return Response(data, headers={"X-Goog-Generation": str(generation), "X-Goog-Metageneration": "1"})

    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _check(generation: int) -> None:
    known = request.args.get("ifGenerationMatch") or request.args.get("generation")
    if known is not None and int(known) != generation:
        abort(412)
