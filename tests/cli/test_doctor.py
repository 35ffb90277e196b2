"""make doctor."""

import json
import re
from pathlib import Path
from typing import Any

from command_line import Cli, Done
from emulators.serving import Fault
from faults import google_error
from stage import Stage
from tokenkeeper.cli.doctor.deployment import source_of

APP, STORE, URL = "the app at TikTok", "Secret Manager", "the redirect URL"


def findings(done: Done) -> dict[str, dict[str, Any]]:
    return {one["thing"]: one for one in json.loads(done.out)["findings"]}


class TestDoctor:
    def test_all_there(self, cli: Cli, stage: Stage) -> None:
        """Where everything is there, every line is ok, with exit status 0; nothing is changed and no secret shown."""
        before = stage.plant("acme", "expiring")
        stage.secrets.forget_calls()
        spent = dict(stage.tiktok.spent)
        done = cli("doctor", PUBLIC_URL=stage.connect.url)
        assert done.status == 0, done
        head, *lines = done.out.splitlines()
        assert head.startswith("what ")
        assert all(" ok " in line or " note " in line for line in lines), done.out
        for thing in ("TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", STORE, "your permissions", APP, URL, "the clock"):
            assert thing in done.out
        assert len(re.findall(r" fingerprint [0-9a-f]{8}$", done.out, re.MULTILINE)) == 2
        assert stage.writes() == []
        assert stage.tiktok.is_alive(before["access_token"])
        assert dict(stage.tiktok.spent) == spent

    def test_settings(self, cli: Cli) -> None:
        """Every setting that is missing or invalid is listed, not only the first, and what needs it is not checked."""
        missing = ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", "PUBLIC_URL")
        wrong = {"PORTAL_CONNECTION": "main", "KEEP_VERSIONS": "1"}
        done = cli("doctor", "--json", **dict.fromkeys(missing), **wrong)
        assert done.status == 1
        found = findings(done)
        problems = {thing for thing, one in found.items() if one["verdict"] == "problem"}
        assert problems >= {*missing, "PORTAL_ADVERTISER_IDS", "KEEP_VERSIONS"}
        assert found["PORTAL_CONNECTION"]["verdict"] == "ok"
        assert found[APP]["verdict"] == found[URL]["verdict"] == "unknown"

    def test_accounts(self, cli: Cli) -> None:
        """The scopes are shown, what cannot be seen is named, and an address is either fit for accounts or not."""
        scopes = "video.list,user.info.basic"
        found = findings(cli("doctor", "--json", TIKTOK_ACCOUNT_SCOPES=scopes, PUBLIC_URL="https://localhost"))
        assert found["account scopes"]["text"].startswith("video.list, user.info.basic; ")
        assert "logo" in found["cannot be checked"]["text"]
        assert found["the redirect URL for accounts"]["text"].endswith("redirect URL: https://localhost/")
        found = findings(cli("doctor", "--json", PUBLIC_URL="http://localhost:9"))
        assert found["the redirect URL for accounts"]["verdict"] == "note"
        assert "takes only https" in found["the redirect URL for accounts"]["text"]


class TestTikTok:
    def test_what_it_says_of_the_app(self, cli: Cli, stage: Stage) -> None:
        """A secret that does not fit is found out; where TikTok cannot tell, that is unknown, with exit status 2."""
        found = findings(cli("doctor", "--json", TIKTOK_APP_SECRET="wrong" * 8))[APP]
        assert found["verdict"] == "problem"
        assert "TIKTOK_APP_SECRET does not belong to TIKTOK_APP_ID" in found["text"]
        stage.tiktok.fail_next("refresh_token", 50000)
        done = cli("doctor", "--json", PUBLIC_URL=stage.connect.url)
        assert (done.status, findings(done)[APP]["verdict"]) == (2, "unknown")

    def test_nobody_is_there(self, cli: Cli) -> None:
        """TikTok, Secret Manager and connect that cannot be reached are problems, each by itself."""
        nobody = "127.0.0.1:9"
        away = {"TIKTOK_API_URL": f"http://{nobody}/open_api/v1.3", "PUBLIC_URL": "http://localhost:9"}
        found = findings(cli("doctor", "--json", **away))
        assert (found[APP]["verdict"], found[STORE]["verdict"]) == ("problem", "ok")
        assert found[APP]["text"].endswith(": start it with make run")
        assert found[URL]["text"].startswith("connect does not answer at http://localhost:9")
        found = findings(cli("doctor", "--json", SECRET_MANAGER_EMULATOR_HOST=nobody))
        assert "is not running" in found[STORE]["text"]
        assert found[APP]["verdict"] == "ok"


class TestStore:
    def test_permissions(self, cli: Cli, stage: Stage) -> None:
        """Permissions that are lacking are named, with the command that needs them."""
        stage.plant("acme")
        stage.secrets.deny("secretmanager.secrets.delete")
        found = findings(cli("doctor", "--json"))
        assert found["your permissions"]["text"] == "ask for secretmanager.secrets.delete (make disconnect)"
        stage.secrets.deny("secretmanager.secrets.list")
        said = findings(cli("doctor", "--json"))[STORE]["text"]
        assert said.startswith("Permission denied: cannot list secrets.")
        assert "Google: Permission 'secretmanager.secrets.list' denied" in said
        assert "roles/secretmanager.viewer" in said

    def test_new_secret(self, cli: Cli, stage: Stage) -> None:
        """Before there is a connection, a secret is created and deleted again; what Google has against it is said."""
        assert findings(cli("doctor", "--json"))["a new secret"]["verdict"] == "ok"
        calls = [call.name for call in stage.secrets.calls if call.name in {"CreateSecret", "DeleteSecret"}]
        assert calls == ["CreateSecret", "DeleteSecret"]
        assert stage.secrets.secrets() == {}
        violated = "Constraint constraints/gcp.resourceLocations violated for [global]."
        stage.secrets.add_fault(google_error("FAILED_PRECONDITION", violated, call="CreateSecret"))
        found = findings(cli("doctor", "--json"))["a new secret"]
        assert found["verdict"] == "problem"
        assert "constraints/gcp.resourceLocations" in found["text"]
        assert "SECRET_LOCATIONS" in found["text"]
        stage.secrets.deny("secretmanager.secrets.delete")
        found = findings(cli("doctor", "--json"))["a new secret"]
        assert found["verdict"] == "problem"
        assert "tiktok-ads-doctor could not be deleted again" in found["text"]


class TestNetwork:
    def test_ways_out(self, cli: Cli, tmp_path: Path) -> None:
        """The proxy, without its password, and the CA file that are used are shown; a file that is missing is found."""
        elsewhere = {"TIKTOK_API_URL": "https://tiktok.invalid/open_api/v1.3", "PUBLIC_URL": "http://localhost:9"}
        proxied = {"HTTPS_PROXY": "http://me:secret-of-the-proxy@127.0.0.1:9", "SSL_CERT_FILE": str(tmp_path / "ca")}
        found = findings(cli("doctor", "--json", **elsewhere, **proxied))
        assert found["the proxy"]["text"] == "calls go through http://127.0.0.1:9"
        assert found["the CA"]["verdict"] == "problem"
        assert f"{tmp_path / 'ca'} does not exist" in found["the CA"]["text"]
        found = findings(cli("doctor", "--json", **elsewhere, **proxied, NO_PROXY="tiktok.invalid"))
        assert found["the proxy"]["text"] == "none is used"

    def test_somebody_else_answers(self, cli: Cli, stage: Stage) -> None:
        """Something else than connect at its address is a problem, and so is a clock that is off."""
        headers = {"Date": "Sun, 01 Nov 2020 10:00:00 GMT"}
        stage.tiktok.add_fault(Fault(status=200, headers=headers, times=None))
        found = findings(cli("doctor", "--json", PUBLIC_URL=stage.tiktok.url, TIKTOK_APP_ID=None))
        assert "something else than connect answers" in found[URL]["text"]
        assert "seconds fast" in found["the clock"]["text"]


class TestDeployment:
    def test_is_asked(self, cli: Cli, stage: Stage) -> None:
        """A refresh function that answers anybody is a problem; without credentials nobody knows what is deployed."""
        cli.save("cloud", REFRESH_URL=stage.refresh.url, CONNECT_FUNCTION="projects/p/locations/l/functions/f")
        found = findings(cli("doctor", "--json"))
        assert "answers anybody" in found["refresh"]["text"]
        assert found["the source of connect"]["verdict"] == "unknown"
        assert "gcloud auth application-default login" in found["the source of connect"]["text"]
        cli.save("cloud", REFRESH_URL=stage.tiktok.url)
        stage.tiktok.fail_next("unknown", 0, http_status=403, times=None)
        assert findings(cli("doctor", "--json"))["refresh"]["verdict"] == "ok"

    def test_google_s_login_fails(self, cli: Cli, tmp_path: Path) -> None:
        """The other findings are told all the same."""
        pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p"
        source = {"credential_source": {"file": "/nonexistent"}, "token_url": "https://sts.googleapis.com/v1/token"}
        kind = {"type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
        (tmp_path / "login.json").write_text(json.dumps({**kind, **source, "audience": pool}))
        cli.save("cloud", CONNECT_FUNCTION="projects/p/locations/l/functions/f", GOOGLE_CLOUD_PROJECT="test-project")
        login = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "login.json"), "GOOGLE_CLOUD_PROJECT": None}
        done = cli("doctor", "--json", **login)
        assert "did not describe the function (RefreshError)" in findings(done)["the source of connect"]["text"]

    def test_compared(self) -> None:
        """What a function was built from is compared with this checkout."""
        cases = {
            ("a" * 64, "ACTIVE"): ("ok", "is this checkout's (aaaaaaaaaaaa)"),
            ("b" * 64, "ACTIVE"): ("problem", "it was built from bbbbbbbbbbbb, and this is aaaaaaaaaaaa: make deploy"),
            ("", "ACTIVE"): ("problem", "it was built from an unknown source, and this is aaaaaaaaaaaa: make deploy"),
            ("a" * 64, "FAILED"): ("problem", "it does not serve (state FAILED): make deploy"),
        }
        told = [
            {"state": state, "buildConfig": {"environmentVariables": {"SOURCE_HASH": built}}} for built, state in cases
        ]
        found = [source_of("connect", one, "a" * 64) for one in told]
        assert {one.thing for one in found} == {"the source of connect"}
        assert [(one.verdict, one.text) for one in found] == list(cases.values())
