"""make doctor."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli, Done
from emulators.serving import Fault
from stage import APP_SECRET, LINK_KEY, PROJECT, ROOT, Stage
from tokenkeeper.cli.doctor.deployment import source_hash, source_of


def findings(done: Done) -> dict[str, dict[str, Any]]:
    return {one["thing"]: one for one in json.loads(done.out)["findings"]}


class TestDoctor:
    def test_all_there(self, cli: Cli, stage: Stage) -> None:
        """Where everything is there, every line is ok, with exit status 0 and no secret shown."""
        stage.plant("acme")
        done = cli("doctor", PUBLIC_URL=stage.connect.url)
        assert done.status == 0, done
        lines = done.out.splitlines()
        assert lines[0].startswith("what ")
        assert all(" ok " in line or " note " in line for line in lines[1:]), done.out
        for thing in (
            "TIKTOK_APP_SECRET",
            "LINK_SIGNING_KEYS",
            "Secret Manager",
            "your permissions",
            "the app at TikTok",
            "the redirect URL",
            "the clock",
        ):
            assert thing in done.out
        assert "fingerprint" in done.out

    def test_spends_nothing(self, cli: Cli, stage: Stage) -> None:
        """Looking changes nothing: no write, and no token that exists is shown to TikTok."""
        before = stage.plant("acme", "expiring")
        stage.secrets.forget_calls()
        spent = dict(stage.tiktok.spent)
        cli("doctor", PUBLIC_URL=stage.connect.url)
        assert stage.writes() == []
        assert stage.tiktok.is_alive(before["access_token"])
        assert dict(stage.tiktok.spent) == spent

    def test_nothing_set(self, cli: Cli) -> None:
        """Every setting that is missing is listed, not only the first."""
        missing = ("TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", "PUBLIC_URL")
        done = cli("doctor", "--json", **dict.fromkeys(missing))
        assert done.status == 1
        found = findings(done)
        assert {found[name]["verdict"] for name in missing} == {"problem"}
        assert found["the app at TikTok"]["verdict"] == found["the redirect URL"]["verdict"] == "unknown"

    def test_settings_that_belong_together(self, cli: Cli) -> None:
        """A setting that misses its partner is a problem of the partner."""
        found = findings(cli("doctor", "--json", PORTAL_CONNECTION="main", KEEP_VERSIONS="1"))
        assert found["PORTAL_ADVERTISER_IDS"]["verdict"] == "problem"
        assert found["PORTAL_CONNECTION"]["verdict"] == "ok"
        assert "from 2 to 10000" in found["KEEP_VERSIONS"]["text"]

    def test_wrong_app_secret(self, cli: Cli, stage: Stage) -> None:
        """A secret that does not fit the app id is found out at TikTok."""
        done = cli("doctor", "--json", PUBLIC_URL=stage.connect.url, TIKTOK_APP_SECRET="wrong" * 8)
        assert done.status == 1
        found = findings(done)["the app at TikTok"]
        assert found["verdict"] == "problem"
        assert "TIKTOK_APP_SECRET does not belong to TIKTOK_APP_ID" in found["text"]

    def test_tiktok_says_nothing_useful(self, cli: Cli, stage: Stage) -> None:
        """Where TikTok cannot tell, that is no problem but unknown, with exit status 2."""
        stage.tiktok.fail_next("refresh_token", 50000)
        done = cli("doctor", "--json", PUBLIC_URL=stage.connect.url)
        assert done.status == 2
        assert findings(done)["the app at TikTok"]["verdict"] == "unknown"

    def test_tiktok_away(self, cli: Cli) -> None:
        """A TikTok that cannot be reached is a problem."""
        found = findings(cli("doctor", "--json", TIKTOK_API_URL="http://127.0.0.1:9/open_api/v1.3"))
        assert found["the app at TikTok"]["verdict"] == "problem"

    def test_store_away(self, cli: Cli) -> None:
        """A Secret Manager that is not there is a problem, and the rest is looked at all the same."""
        found = findings(cli("doctor", "--json", SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:9"))
        assert "is not running" in found["Secret Manager"]["text"]
        assert found["the app at TikTok"]["verdict"] == "ok"

    def test_permissions(self, cli: Cli, stage: Stage) -> None:
        """Permissions that are lacking are named, with the command that needs them."""
        stage.plant("acme")
        stage.secrets.deny("secretmanager.secrets.delete")
        found = findings(cli("doctor", "--json"))
        assert found["your permissions"]["text"] == "ask for secretmanager.secrets.delete (make disconnect)"
        stage.secrets.deny("secretmanager.secrets.list")
        said = findings(cli("doctor", "--json"))["Secret Manager"]["text"]
        assert said.startswith("Permission denied: cannot list secrets.")
        assert "Google: Permission 'secretmanager.secrets.list' denied" in said
        assert "roles/secretmanager.viewer" in said

    @pytest.mark.parametrize(
        ("reason", "consumer", "sentence", "remedy"),
        [
            ("SERVICE_DISABLED", PROJECT, "Secret Manager API has not been used.", "Enable the API: gcloud services"),
            ("SERVICE_DISABLED", "other", "Secret Manager API has not been used.", "set-quota-project"),
            ("BILLING_DISABLED", PROJECT, "This API method requires billing.", "Enable billing"),
            ("SECURITY_POLICY_VIOLATED", PROJECT, "Request is prohibited. Unique id: x1.", "VPC Service Controls"),
            ("ACCESS_TOKEN_EXPIRED", PROJECT, "Reauthentication is needed.", "gcloud auth application-default login"),
        ],
    )
    def test_googles_own_reason(
        self, cli: Cli, stage: Stage, reason: str, consumer: str, sentence: str, remedy: str
    ) -> None:
        """What Google says is shown, with what to do about that cause."""
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {"consumer": f"projects/{consumer}"},
        }
        error = {"code": 403, "status": "PERMISSION_DENIED", "message": sentence, "details": [info]}
        stage.secrets.add_fault(Fault("ListSecrets", status=403, body={"error": error}, times=None))
        found = findings(cli("doctor", "--json"))["Secret Manager"]
        assert found["verdict"] == "problem"
        assert f"Google: {sentence}" in found["text"]
        assert remedy in found["text"]

    def test_new_secret(self, cli: Cli, stage: Stage) -> None:
        """Before there is a connection, a secret is created and deleted again; what Google has against it is said."""
        assert findings(cli("doctor", "--json"))["a new secret"]["verdict"] == "ok"
        assert [call.name for call in stage.secrets.calls if call.name in {"CreateSecret", "DeleteSecret"}] == [
            "CreateSecret",
            "DeleteSecret",
        ]
        assert stage.secrets.secrets() == {}
        refused = {
            "code": 400,
            "status": "FAILED_PRECONDITION",
            "message": "Constraint constraints/gcp.resourceLocations violated for [global].",
        }
        stage.secrets.add_fault(Fault("CreateSecret", status=400, body={"error": refused}))
        found = findings(cli("doctor", "--json"))["a new secret"]
        assert found["verdict"] == "problem"
        assert "constraints/gcp.resourceLocations" in found["text"]
        assert "SECRET_LOCATIONS" in found["text"]

    def test_new_secret_stays(self, cli: Cli, stage: Stage) -> None:
        """A secret that cannot be deleted again is named."""
        stage.secrets.deny("secretmanager.secrets.delete")
        found = findings(cli("doctor", "--json"))["a new secret"]
        assert found["verdict"] == "problem"
        assert "tiktok-ads-doctor could not be deleted again" in found["text"]

    def test_both_redirect_urls(self, cli: Cli) -> None:
        """The one for accounts ends with a slash, and does not fit where TikTok refuses it."""
        found = findings(cli("doctor", "--json", PUBLIC_URL="https://localhost"))
        assert found["the redirect URL for accounts"]["text"].endswith("redirect URL: https://localhost/")
        found = findings(cli("doctor", "--json", PUBLIC_URL="http://localhost:9"))
        assert found["the redirect URL for accounts"]["verdict"] == "note"
        assert "takes only https" in found["the redirect URL for accounts"]["text"]

    def test_accounts(self, cli: Cli) -> None:
        """The scopes are shown, and what cannot be seen is named."""
        found = findings(cli("doctor", "--json", TIKTOK_ACCOUNT_SCOPES="video.list,user.info.basic"))
        assert found["account scopes"]["text"].startswith("video.list, user.info.basic; ")
        assert "logo" in found["cannot be checked"]["text"]

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

    def test_address(self, cli: Cli, stage: Stage) -> None:
        """An address where nobody, or somebody else, answers is a problem."""
        nobody = findings(cli("doctor", "--json", PUBLIC_URL="http://localhost:9"))["the redirect URL"]
        assert nobody["text"].startswith("connect does not answer at http://localhost:9")
        other = findings(cli("doctor", "--json", PUBLIC_URL=stage.tiktok.url))["the redirect URL"]
        assert "something else than connect answers" in other["text"]

    def test_clock(self, cli: Cli, stage: Stage) -> None:
        """A clock that is off is a problem that says by how much."""
        stage.tiktok.add_fault(Fault(status=200, headers={"Date": "Sun, 01 Nov 2020 10:00:00 GMT"}, times=None))
        found = findings(cli("doctor", "--json", PUBLIC_URL=stage.tiktok.url, TIKTOK_APP_ID=None))
        assert "seconds fast" in found["the clock"]["text"]

    def test_credentials_in_secrets(self, cli: Cli, stage: Stage) -> None:
        """Credentials that are kept as secrets are read with the operator's own; what may not be read is unknown."""
        for name, value in (("app-secret", APP_SECRET), ("link-keys", LINK_KEY)):
            stage.secrets.create(name, project=PROJECT)
            stage.secrets.add_version(name, value.encode())
        names = {
            "TIKTOK_APP_SECRET_SECRET": f"projects/{PROJECT}/secrets/app-secret",
            "LINK_SIGNING_KEYS_SECRET": f"projects/{PROJECT}/secrets/link-keys",
        }
        cli.save("cloud", **names)
        hidden = {"TIKTOK_APP_SECRET": None, "LINK_SIGNING_KEYS": None}
        found = findings(cli("doctor", "--json", **hidden))
        assert found["TIKTOK_APP_SECRET"]["verdict"] == found["LINK_SIGNING_KEYS"]["verdict"] == "ok"
        assert found["the app at TikTok"]["verdict"] == "ok"
        stage.secrets.deny("secretmanager.versions.access")
        found = findings(cli("doctor", "--json", **hidden))
        assert found["TIKTOK_APP_SECRET"]["verdict"] == "unknown"

    def test_refresh_is_private(self, cli: Cli, stage: Stage) -> None:
        """A refresh function that answers anybody is a problem."""
        cli.save("cloud", REFRESH_URL=stage.refresh.url)
        assert "answers anybody" in findings(cli("doctor", "--json"))["refresh"]["text"]
        cli.save("cloud", REFRESH_URL=stage.tiktok.url)
        stage.tiktok.fail_next("unknown", 0, http_status=403, times=None)
        assert findings(cli("doctor", "--json"))["refresh"]["verdict"] == "ok"


class TestSource:
    def test_not_described(self, cli: Cli) -> None:
        """Without credentials nobody knows what is deployed, which is no problem but unknown."""
        cli.save("cloud", CONNECT_FUNCTION="projects/p/locations/l/functions/f")
        found = findings(cli("doctor", "--json"))["the source of connect"]
        assert found["verdict"] == "unknown"
        assert "gcloud auth application-default login" in found["text"]

    def test_hash(self) -> None:
        """It is the hash that a shell makes of the folder."""
        command = (
            "find main.py requirements.txt tokenkeeper -type f ! -path '*__pycache__*' |"
            " LC_ALL=C sort | xargs sha256sum | sha256sum"
        )
        done = subprocess.run(
            ["sh", "-c", command], cwd=ROOT / "functions", capture_output=True, text=True, check=True, timeout=60
        )
        assert source_hash(ROOT / "functions") == done.stdout.split()[0]

    @pytest.mark.parametrize(
        ("built_from", "state", "verdict", "text"),
        [
            ("a" * 64, "ACTIVE", "ok", "is this checkout's (aaaaaaaaaaaa)"),
            ("b" * 64, "ACTIVE", "problem", "it was built from bbbbbbbbbbbb, and this is aaaaaaaaaaaa: make deploy"),
            ("", "ACTIVE", "problem", "it was built from an unknown source"),
            ("a" * 64, "FAILED", "problem", "it does not serve (state FAILED)"),
        ],
    )
    def test_compared(self, built_from: str, state: str, verdict: str, text: str) -> None:
        """What a function was built from is compared with this checkout."""
        told = {"state": state, "buildConfig": {"environmentVariables": {"SOURCE_HASH": built_from}}}
        found = source_of("connect", "projects/p/locations/l/functions/f", "a" * 64, lambda _: told)
        assert (found.thing, found.verdict) == ("the source of connect", verdict)
        assert found.text.startswith(text)
