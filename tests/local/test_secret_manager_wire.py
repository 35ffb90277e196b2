"""The embedded Secret Manager as curl sees it: addresses, JSON and the bodies of errors."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.secret_manager import SecretManagerServer

SECRETS = "/v1/projects/acme-dev/secrets"
AUTOMATIC = b'{"replication": {"automatic": {}}}'


class Curl:
    """Sends what the official client never would."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url, self._session = url, session

    def __call__(self, method: str, path: str, body: bytes | None = None) -> requests.Response:
        return self._session.request(method, self._url + path, data=body, timeout=20)

    def error(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        answer = self(method, path, body)
        error: dict[str, Any] = answer.json()["error"]
        assert answer.status_code == error["code"]
        return error


@pytest.fixture
def curl(server: SecretManagerServer) -> Iterator[Curl]:
    server.create("s", project="acme-dev")
    with requests.Session() as session:
        yield Curl(server.url, session)


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                b'{"replication": {"automatic": {}}, "colour": 1}',
                "Invalid JSON payload received. Unknown name \"colour\" at 'secret': Cannot find field.",
            ),
            (
                b'{"replication": {"x": 1}}',
                "Invalid JSON payload received. Unknown name \"x\" at 'secret.replication': Cannot find field.",
            ),
            (b'{"labels": "x"}', "Invalid value at 'secret.labels' (Map), \"x\""),
            (b'{"labels": {"a": 1}}', "Invalid value at 'secret.labels[a]' (TYPE_STRING), 1"),
            (b'{"topics": {}}', "Invalid value at 'secret.topics' (List), {}"),
            (b'{"replication": []}', "Invalid value at 'secret.replication' (Message), []"),
        ],
    )
    def test_wrong_fields(self, curl: Curl, body: bytes, message: str) -> None:
        """Unknown names and wrong types are INVALID_ARGUMENT with Google's sentence and the field's path."""
        error = curl.error("POST", f"{SECRETS}?secretId=new", body)
        assert error == {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}

    @pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"labels": {"a": "\\ud800"}}', b'"x"', b"[]"])
    def test_malformed_json(self, curl: Curl, body: bytes) -> None:
        """What is no JSON object is INVALID_ARGUMENT."""
        assert curl.error("POST", f"{SECRETS}?secretId=new", body)["status"] == "INVALID_ARGUMENT"

    @pytest.mark.parametrize("data", ['"%%%"', '"a"', "1"])
    def test_payloads_that_are_no_base64(self, curl: Curl, data: str) -> None:
        """A payload that cannot be decoded is INVALID_ARGUMENT, and the error does not show it."""
        error = curl.error("POST", f"{SECRETS}/s:addVersion", f'{{"payload": {{"data": {data}}}}}'.encode())
        assert error["status"] == "INVALID_ARGUMENT"
        assert "payload.data" in error["message"]

    @pytest.mark.parametrize("path", [f"{SECRETS}?nonsense=1", f"{SECRETS}/s?filter=x", f"{SECRETS}?pageSize=many"])
    def test_wrong_query_parameters(self, curl: Curl, path: str) -> None:
        """Parameters that a call does not have, or that are no number where one belongs, are INVALID_ARGUMENT."""
        assert curl.error("GET", path)["status"] == "INVALID_ARGUMENT"

    def test_ids_that_cannot_be(self, curl: Curl) -> None:
        """An id outside the pattern is INVALID_ARGUMENT, in Google's words."""
        error = curl.error("GET", f"{SECRETS}/10.0.0.1/versions/latest:access")
        assert error["message"] == (
            "The provided Secret ID [projects/acme-dev/secrets/10.0.0.1/versions/latest] does not match the expected "
            "format [projects/*/secrets/*/versions/*]"
        )

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/v1/projects/acme-dev/locations/europe-west1/secrets"),
            ("PUT", f"{SECRETS}/s"),
            ("GET", f"{SECRETS}/s:addVersion"),
            ("POST", f"{SECRETS}/s:nonsense"),
            ("GET", f"{SECRETS}/s%2Fversions%2F1%2Fx"),
        ],
    )
    def test_other_addresses(self, server: SecretManagerServer, curl: Curl, method: str, path: str) -> None:
        """Addresses and methods that the API does not have are Google's HTML 404."""
        answer = curl(method, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=UTF-8")
        assert [call.name for call in server.calls] == ["Unknown"]


class TestJson:
    def test_answers_look_like_googles(self, curl: Curl) -> None:
        """Numbers of 64 bits are strings, times RFC 3339 in UTC, states words; empty fields are left out."""
        added = curl("POST", f"{SECRETS}/s:addVersion", b'{"payload": {"data": "aGk=", "dataCrc32c": "4120762818"}}')
        assert added.headers["Content-Type"] == "application/json; charset=UTF-8"
        version = added.json()
        assert version.pop("createTime").endswith("Z")
        etag = version.pop("etag")
        assert etag.startswith('"')
        name = version["name"]
        assert version == {
            "name": name,
            "state": "ENABLED",
            "clientSpecifiedPayloadChecksum": True,
        }
        assert curl("GET", f"{SECRETS}/s/versions/1:access").json() == {
            "name": name,
            "payload": {"data": "aGk=", "dataCrc32c": "4120762818"},
        }
        assert set(curl("GET", f"{SECRETS}/s").json()) == {"name", "createTime", "etag", "replication"}
        assert curl("GET", "/v1/projects/empty-project/secrets").json() == {}
        assert curl("DELETE", f"{SECRETS}/s").json() == {}

    def test_states_are_numbers_for_those_who_ask(self, curl: Curl) -> None:
        """With ``$alt=json;enum-encoding=int`` states are numbers, in lists as well."""
        curl("POST", f"{SECRETS}/s:addVersion", b'{"payload": {"data": "aGk="}}')
        alt = "%24alt=json%3Benum-encoding%3Dint"
        assert curl("POST", f"{SECRETS}/s/versions/1:disable?{alt}", b"{}").json()["state"] == 2
        assert curl("GET", f"{SECRETS}/s/versions?{alt}").json()["versions"][0]["state"] == 2

    def test_both_spellings_are_understood(self, curl: Curl) -> None:
        """Field names and parameters are taken in camel case and in snake case, and null as absent."""
        body = b'{"replication": {"automatic": {}}, "topics": null, "annotations": {"a_b": "c"}}'
        assert curl("POST", f"{SECRETS}?secret_id=new", body).json()["annotations"] == {"a_b": "c"}
        changed = curl("PATCH", f"{SECRETS}/new?update_mask=topics,annotations", b'{"annotations": {"d": "e"}}')
        assert changed.json()["annotations"] == {"d": "e"}

    @pytest.mark.parametrize("data", ["-_8", "-_8=", "+/8", "+/8="])
    def test_base64_of_both_alphabets(self, curl: Curl, data: str) -> None:
        """Payloads may be in either alphabet, padded or not."""
        curl("POST", f"{SECRETS}/s:addVersion", json.dumps({"payload": {"data": data}}).encode())
        assert curl("GET", f"{SECRETS}/s/versions/1:access").json()["payload"]["data"] == "+/8="
