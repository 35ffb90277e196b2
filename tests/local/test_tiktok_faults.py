"""The ways in which the simulated TikTok goes wrong on demand."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

import faults
from local.serving import Fault
from local.tiktok import APP_ID, APP_SECRET, TikTokServer, answers
from tiktok_client import Form

INFRA = Path(__file__).parents[2] / "infra"


def user(server: TikTokServer, token: str) -> requests.Response:
    return requests.get(
        f"{server.api_url}/user/info/", headers={"Access-Token": token}, timeout=10, allow_redirects=False
    )


def refresh(server: TikTokServer, token: str | None) -> requests.Response:
    body = {"app_id": APP_ID, "secret": APP_SECRET, "grant_type": "refresh_token", "refresh_token": token}
    return requests.post(f"{server.api_url}/oauth2/refresh_token/", json=body, timeout=10, allow_redirects=False)


class TestCodes:
    @pytest.mark.parametrize("code", sorted(answers.MESSAGES))
    def test_every_code(self, tiktok: TikTokServer, code: int) -> None:
        """Every error of TikTok's table can be had once, with its message, and the call takes no effect."""
        grant = tiktok.grant("expiring")
        tiktok.fail_next("refresh_token", code)
        answer = refresh(tiktok, grant.refresh_token)
        assert (answer.status_code, answer.json()["code"]) == (200, code)
        assert answer.json()["message"] == answers.MESSAGES[code]
        assert refresh(tiktok, grant.refresh_token).json()["code"] == 0

    def test_status_times_and_message(self, tiktok: TikTokServer) -> None:
        """The HTTP status, the message and how often can be chosen, and other calls are left alone."""
        grant = tiktok.grant("expiring")
        tiktok.fail_next("user_info", 61000, "slower, please", times=2, http_status=429)
        answers = [user(tiktok, grant.access_token) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 429, 200]
        assert answers[0].json()["message"] == "slower, please"
        assert refresh(tiktok, grant.refresh_token).json()["code"] == 0

    def test_after(self, tiktok: TikTokServer) -> None:
        """An error can come after the call took effect, so that its outcome is lost."""
        grant = tiktok.grant("expiring")
        tiktok.fail_next("refresh_token", 50000, when="after")
        assert refresh(tiktok, grant.refresh_token).json()["code"] == 50000
        assert tiktok.grants[0].refresh_token != grant.refresh_token

    def test_one_token(self, tiktok: TikTokServer) -> None:
        """The calls of one token can fail while all others go on."""
        bad, good = tiktok.grant("expiring"), tiktok.grant("expiring")
        tiktok.fail_token(bad.access_token, 50000, times=2)
        tiktok.fail_token(str(bad.refresh_token), 50002, times=None)
        codes = [user(tiktok, bad.access_token).json()["code"] for _ in range(3)]
        assert codes == [50000, 50000, 0]
        assert user(tiktok, good.access_token).json()["code"] == 0
        assert [refresh(tiktok, bad.refresh_token).json()["code"] for _ in range(2)] == [50002, 50002]
        assert tiktok.spent == {}

    def test_default_body(self, tiktok: TikTokServer) -> None:
        """A fault without a body is TikTok's system error."""
        tiktok.add_fault(Fault("user_info", status=500))
        answer = user(tiktok, tiktok.grant().access_token)
        assert (answer.status_code, answer.json()["code"]) == (500, 50000)


class TestBodies:
    def test_not_json(self, tiktok: TikTokServer) -> None:
        """Plain text with HTTP 200."""
        tiktok.add_fault(faults.not_json())
        answer = user(tiktok, "x")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain")

    @pytest.mark.parametrize("status", [200, 204, 500, 503])
    def test_empty(self, tiktok: TikTokServer, status: int) -> None:
        """Nothing at all, with any status."""
        tiktok.add_fault(faults.empty(status=status))
        answer = user(tiktok, "x")
        assert (answer.status_code, answer.content) == (status, b"")

    def test_html(self, tiktok: TikTokServer) -> None:
        """A gateway's page."""
        tiktok.add_fault(faults.html())
        answer = user(tiktok, "x")
        assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")

    def test_huge(self, tiktok: TikTokServer) -> None:
        """Ten megabytes of valid JSON."""
        tiktok.add_fault(faults.huge())
        answer = user(tiktok, "x")
        assert len(answer.content) > 10 * 1024 * 1024
        assert answer.json()["code"] == 0

    def test_truncated(self, tiktok: TikTokServer) -> None:
        """A body that breaks off after the refresh took effect."""
        grant = tiktok.grant("expiring")
        tiktok.add_fault(faults.truncated("refresh_token"))
        with pytest.raises(requests.exceptions.RequestException):
            refresh(tiktok, grant.refresh_token)
        assert tiktok.spent == {grant.refresh_token: 1}

    def test_drip(self, tiktok: TikTokServer) -> None:
        """A body that arrives in drops, whole in the end."""
        tiktok.add_fault(faults.drip("user_info", seconds=0.1))
        assert user(tiktok, tiktok.grant().access_token).json()["code"] == 0

    def test_redirect(self, tiktok: TikTokServer) -> None:
        """A redirect to somewhere else."""
        tiktok.add_fault(faults.redirect("https://elsewhere.example/", status=307))
        answer = user(tiktok, "x")
        assert (answer.status_code, answer.headers["Location"]) == (307, "https://elsewhere.example/")

    @pytest.mark.parametrize("fault", [faults.null_data(), faults.wrong_types(), faults.without_token()])
    def test_no_usable_token(self, tiktok: TikTokServer, fault: Fault) -> None:
        """A success without a usable token, which spends nothing."""
        grant = tiktok.grant("expiring")
        tiktok.add_fault(fault)
        answer = refresh(tiktok, grant.refresh_token).json()
        assert answer["code"] == 0
        assert not isinstance((answer["data"] or {}).get("access_token"), str)
        assert tiktok.spent == {}

    def test_dropped(self, tiktok: TikTokServer) -> None:
        """An answer that never comes although the refresh took effect."""
        grant = tiktok.grant("expiring")
        tiktok.add_fault(Fault("refresh_token", when="after", do="drop"))
        with pytest.raises(requests.exceptions.ConnectionError):
            refresh(tiktok, grant.refresh_token)
        assert tiktok.grants[0].refresh_token != grant.refresh_token


class TestOverrides:
    @pytest.mark.parametrize("value", ["86400", 0, -1, 10**18, None, 1.5])
    def test_field(self, tiktok: TikTokServer, value: Any) -> None:
        """Any field of the next answer can be anything, once."""
        grant = tiktok.grant("expiring")
        tiktok.override_answer("refresh_token", {"expires_in": value, "unknown": [1]})
        data = refresh(tiktok, grant.refresh_token).json()["data"]
        assert (data["expires_in"], data["unknown"]) == (value, [1])
        assert refresh(tiktok, data["refresh_token"]).json()["data"]["expires_in"] == 86400

    def test_omit(self, tiktok: TikTokServer) -> None:
        """Fields can be left out of as many answers as wanted, of one call only."""
        grant = tiktok.grant("expiring")
        tiktok.override_answer("user_info", omit=["email", "display_name"], times=2)
        assert "refresh_token" in refresh(tiktok, grant.refresh_token).json()["data"]
        shown = [user(tiktok, grant.access_token).json()["data"] for _ in range(3)]
        assert ["email" in data for data in shown] == [False, False, True]

    def test_refusals_use_none_up(self, tiktok: TikTokServer) -> None:
        """A refused call leaves the change for the next success."""
        tiktok.override_answer("user_info", {"email": "changed"})
        assert user(tiktok, "0" * 40).json()["code"] == 40105
        assert user(tiktok, tiktok.grant().access_token).json()["data"]["email"] == "changed"


class TestProgram:
    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "local.tiktok", "--port", "0", *arguments],
            cwd=INFRA,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_serves(self, number: signal.Signals) -> None:
        """Started alone it says where it is, logs when asked to, and stops cleanly on a signal."""
        with self.start("--log", "--kind", "expiring") as process:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None
            query = {"app_id": APP_ID, "redirect_uri": "http://localhost:8080"}
            page = requests.get(f"{found[0]}/portal/auth", params=query, timeout=10)
            assert ("kind", "expiring") in Form(page.text).fields
            process.send_signal(number)
            rest = process.stdout.read()
            assert process.wait(20) == 0
        assert rest == "GET /portal/auth 200\n"

    def ended(self, *arguments: str, **environment: str) -> str:
        with self.start(*arguments, **environment) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            assert process.wait(20) == 1
        assert "Traceback" not in said
        return said

    @pytest.mark.parametrize("variable", ["K_SERVICE", "FUNCTION_TARGET"])
    def test_not_in_the_cloud(self, variable: str) -> None:
        """Where a cloud function runs it does not start."""
        assert variable in self.ended(**{variable: "connect"})

    def test_damaged_state(self, tmp_path: Path) -> None:
        """A damaged state file is one sentence, not a traceback."""
        path = tmp_path / "state.json"
        path.write_text("{")
        assert "remove the file" in self.ended("--state", str(path))
