"""The simulated TikTok going wrong on demand, and as a program of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from local import ROOT
from local.serving import Fault
from local.tiktok import APP_ID, TikTokServer, answers
from tiktok_client import CREDENTIALS, Form, get, post


def refresh(server: TikTokServer, token: str | None) -> int:
    body = CREDENTIALS | {"grant_type": "refresh_token", "refresh_token": token}
    code: int = post(server, "/oauth2/refresh_token/", **body)["code"]
    return code


def user(server: TikTokServer, token: str) -> int:
    code: int = get(server, "/user/info/", token)["code"]
    return code


class TestCodes:
    def test_every_code(self, tiktok: TikTokServer) -> None:
        """Every error of TikTok's table can be had once, with its message, and the call takes no effect."""
        for code, message in answers.MESSAGES.items():
            token = tiktok.grant("expiring").refresh_token
            tiktok.fail_next("refresh_token", code)
            body = CREDENTIALS | {"grant_type": "refresh_token", "refresh_token": token}
            answer = post(tiktok, "/oauth2/refresh_token/", **body)
            assert (answer["code"], answer["message"], answer["data"]) == (code, message, {})
            assert refresh(tiktok, token) == 0

    def test_choices(self, tiktok: TikTokServer) -> None:
        """The HTTP status, the message and how often can be chosen; without a body it is TikTok's system error."""
        tiktok.fail_next("user_info", 61000, "slower, please", times=1, http_status=429)
        tiktok.add_fault(Fault("user_info", status=500))
        said = [requests.get(f"{tiktok.api_url}/user/info/", timeout=10) for _ in range(3)]
        assert [answer.status_code for answer in said] == [429, 500, 200]
        assert [answer.json()["message"] for answer in said][:2] == ["slower, please", "System error."]

    def test_after(self, tiktok: TikTokServer) -> None:
        """An error can come after the call took effect, so that its outcome is lost."""
        grant = tiktok.grant("expiring")
        tiktok.fail_next("refresh_token", 50000, when="after")
        assert refresh(tiktok, grant.refresh_token) == 50000
        assert tiktok.grants[0].refresh_token != grant.refresh_token

    def test_one_token(self, tiktok: TikTokServer) -> None:
        """The calls of one token can fail while all others go on."""
        bad, good = tiktok.grant("expiring"), tiktok.grant("expiring")
        tiktok.fail_token(bad.access_token, 50000, times=2)
        tiktok.fail_token(str(bad.refresh_token), 50002, times=None)
        assert [user(tiktok, bad.access_token) for _ in range(3)] == [50000, 50000, 0]
        assert user(tiktok, good.access_token) == 0
        assert [refresh(tiktok, bad.refresh_token) for _ in range(2)] == [50002, 50002]
        assert tiktok.spent == {}

    def test_overrides(self, tiktok: TikTokServer) -> None:
        """Fields of the next successful answers of a call can be changed or left out, as often as wanted."""
        token = tiktok.grant().access_token
        tiktok.override_answer("user_info", {"email": None, "added": [1]}, omit=["display_name"], times=2)
        assert user(tiktok, "0" * 40) == 40105
        changed, again, usual = (get(tiktok, "/user/info/", token)["data"] for _ in range(3))
        assert (changed["email"], changed["added"], "display_name" in changed) == (None, [1], False)
        assert again == changed
        assert set(usual) == {"core_user_id", "display_name", "email", "create_time"}
        tiktok.override_answer("user_info", omit=["email"])
        tiktok.clear_overrides()
        assert get(tiktok, "/user/info/", token)["data"] == usual


class TestProgram:
    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "local.tiktok", "--port", "0", *arguments],
            cwd=ROOT / "infra",
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_serves(self, number: signal.Signals) -> None:
        """Started alone it says where it is, logs when asked to, and stops cleanly on a signal."""
        with self.start("--log", "--kind", "expiring", "--name", "tiktok.example") as process:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None
            query = {"app_id": APP_ID, "redirect_uri": "http://localhost:8080"}
            headers = {"Host": "tiktok.example"}
            page = requests.get(f"{found[0]}/portal/auth", params=query, headers=headers, timeout=10)
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

    def test_cannot_start(self, tmp_path: Path) -> None:
        """Where a cloud function runs, and with a damaged state file, it ends with one sentence."""
        assert "FUNCTION_TARGET" in self.ended(FUNCTION_TARGET="connect")
        path = tmp_path / "state.json"
        path.write_text("{")
        assert "remove the file" in self.ended("--state", str(path))
