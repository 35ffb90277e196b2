"""The settings: what is required, what is refused and in which words, and what only shows together.

That every variable and its default is as documented is in `readme/test_tables`.
"""

import pytest

from tokenkeeper import settings
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import CONNECT, REFRESH, Needs
from unit.parts import APP_SECRET, COMPLETE, EVERYTHING, KEY, read

OTHER_KEY = "key-two-0123456789abcdef0123456789abcdef"
KMS_KEY = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
LONG = "https://example.com/" + "a" * 81


def wrong(name: str, value: str) -> str:
    """What is said of that value, without the example that follows."""
    return settings.survey(EVERYTHING, {**COMPLETE, name: value})[name].partition(";")[0]


def sentence(needs: Needs = EVERYTHING, /, **changes: str | None) -> str:
    """What a start says of an environment that is wrong."""
    with pytest.raises(SettingsError) as error:
        read(needs, **changes)
    return str(error.value)


class TestValues:
    def test_what_is_not_set_or_empty_has_its_default(self) -> None:
        """A variable that is set to nothing, or to spaces, counts as not set; lists and numbers are read as such."""
        chosen = read(SECRET_PREFIX="", TIKTOK_MAX_QPS="  ", GOOGLE_CLOUD_PROJECT=None)
        assert (chosen.secret_prefix, chosen.max_qps, chosen.project) == ("tiktok-ads", 8.0, "")
        assert (chosen.keep_versions, chosen.portal_advertiser_ids, chosen.metadata_host) == (2, frozenset(), "")
        assert chosen.account_scopes == ("user.info.basic", "user.info.profile", "user.info.stats", "video.list")

    def test_the_metadata_server_counts_on_cloud_run(self) -> None:
        """A service runs as its service account, unless somebody gave it other credentials."""
        cloud = {"K_SERVICE": "connect"}
        assert read(**cloud).metadata_host == "metadata.google.internal"
        assert read(**cloud, GCE_METADATA_HOST="127.0.0.1:8").metadata_host == "127.0.0.1:8"
        assert read(**cloud, GOOGLE_APPLICATION_CREDENTIALS="key.json").metadata_host == ""
        assert read(GCE_METADATA_HOST="127.0.0.1:8").metadata_host == ""

    def test_spaces_and_a_slash_that_are_no_part_of_a_value_do_not_count(self) -> None:
        """A line break after a pasted secret, a slash after the API's base, spaces between items of a list."""
        chosen = read(
            TIKTOK_APP_SECRET=f" {APP_SECRET}\n",
            TIKTOK_API_URL="https://example.com/v1/",
            TIKTOK_ACCOUNT_SCOPES="video.list, user.insights",
            LINK_SIGNING_KEYS=f"{OTHER_KEY}\n\t {KEY}",
        )
        assert chosen.app_secret.reveal() == APP_SECRET
        assert chosen.api_url == "https://example.com/v1"
        assert chosen.account_scopes == ("video.list", "user.insights")
        assert [key.reveal() for key in chosen.link_keys] == [OTHER_KEY, KEY]

    def test_what_a_program_does_not_use_is_not_looked_at(self) -> None:
        """A function starts although a variable that only the other one uses is wrong or missing."""
        wrong_for_connect = dict.fromkeys(("TIKTOK_MAX_QPS", "RUN_BUDGET_SECONDS"), "!! wrong !!")
        wrong_for_refresh = dict.fromkeys(("TIKTOK_AUTHORIZE_URL", "CALLBACK_BUDGET_SECONDS"), "!! wrong !!")
        assert read(CONNECT, **wrong_for_connect).max_qps == 8
        assert read(REFRESH, LINK_SIGNING_KEYS=None, PUBLIC_URL="ftp://x", **wrong_for_refresh).link_keys == ()
        assert not read(Needs.STORE, TIKTOK_APP_ID="!! wrong !!", TIKTOK_APP_SECRET=None).app_secret


NO_ADDRESS = "is not an address that begins with https://"
NO_HTTP = "begins with http: and names another machine, which would read every secret"
NO_SECRET = "has spaces, line breaks or other characters that no app secret has"
RATE = "not a number from 0.01 to 1e+06"
NAME = "a connection's name (1 to 63 of a-z, 0-9 and -, no - at either end)"
REFUSED = {
    ("PUBLIC_URL", "http://example.com"): "begins with http:, which is only for localhost, 127.0.0.1 and [::1]",
    ("PUBLIC_URL", "http://127.0.0.2:8080"): "begins with http:, which is only for localhost, 127.0.0.1 and [::1]",
    ("PUBLIC_URL", "https://example.com/connect/"): "ends with a slash",
    ("PUBLIC_URL", "https://example.com/?"): "has a query or a fragment",
    ("PUBLIC_URL", "https://example.com/#top"): "has a query or a fragment",
    ("PUBLIC_URL", LONG): "has 101 characters, and the field in TikTok's portal takes 100",
    ("PUBLIC_URL", "https://user:password@example.com"): "has a user name or password in it",
    ("PUBLIC_URL", "HTTPS://example.com"): NO_ADDRESS,
    ("PUBLIC_URL", "https://"): NO_ADDRESS,
    ("PUBLIC_URL", "https://example.com:0"): NO_ADDRESS,
    ("PUBLIC_URL", "https://example.com:99999"): "is not a web address",
    ("PUBLIC_URL", "https://exämple.com"): "has characters that no address has",
    ("PUBLIC_URL", "https://example.com/;script-src"): "has characters that no address has",
    ("TIKTOK_API_URL", "http://10.0.0.1/api"): NO_HTTP,
    ("TIKTOK_AUTHORIZE_URL", "http://localhost.example.com"): NO_HTTP,
    ("TIKTOK_ACCOUNT_AUTHORIZE_URL", "http://example.com"): NO_HTTP,
    ("TIKTOK_APP_ID", ""): "is missing",
    ("TIKTOK_APP_SECRET", " "): "is missing",
    ("LINK_SIGNING_KEYS", ""): "is missing",
    ("PUBLIC_URL", ""): "is missing",
    ("TIKTOK_APP_SECRET", "two words"): NO_SECRET,
    ("TIKTOK_APP_SECRET", "s" * 257): NO_SECRET,
    ("LINK_SIGNING_KEYS", f"{KEY} short-key-of-mine"): "has 17 characters in key 2 of 2, fewer than 32",
    ("LINK_SIGNING_KEYS", "k" * 31): "has 31 characters in key 1 of 1, fewer than 32",
    ("TIKTOK_MAX_QPS", "0"): f"is '0', {RATE}",
    ("TIKTOK_MAX_QPS", "nan"): f"is 'nan', {RATE}",
    ("TIKTOK_MAX_QPS", "eight"): f"is 'eight', {RATE}",
    ("RUN_BUDGET_SECONDS", "-1"): "is '-1', not a number from 0 to 86400",
    ("CALLBACK_BUDGET_SECONDS", "4.9"): "is '4.9', not a number from 5 to 3600",
    ("KEEP_VERSIONS", "1"): "is '1', not a whole number from 2 to 10000",
    ("KEEP_VERSIONS", "2.5"): "is '2.5', not a whole number from 2 to 10000",
    ("GOOGLE_CLOUD_PROJECT", "projects/x"): "is 'projects/x', not a Google Cloud project id",
    ("SECRET_PREFIX", "a/b"): "is 'a/b', not 1 to 100 letters, digits, - and _",
    ("SECRET_MANAGER_EMULATOR_HOST", "127.0.0.1"): "is '127.0.0.1', not host:port",
    ("SECRET_MANAGER_EMULATOR_HOST", "[::1]:99999"): "is '[::1]:99999', whose port is not from 1 to 65535",
    ("TIKTOK_APP_ID", "my app"): "is 'my app', not an app id",
    ("PORTAL_STATE", "a b"): "is 'a b', not 1 to 200 of A-Z, a-z, 0-9 and . _ ~ -",
    ("PORTAL_CONNECTION", "-main"): f"is '-main', not {NAME}",
    ("PORTAL_ADVERTISER_IDS", "7001,,7002"): "is '7001,,7002', not a list of ids",
    ("SECRET_LOCATIONS", "Europe!"): "is 'Europe!', not a list of regions",
    ("SECRET_KMS_KEY", "my-key"): "is 'my-key', not a key's full name",
    ("TIKTOK_ACCOUNT_SCOPES", "Video List"): "is 'Video List', not a list of scopes",
}


class TestRefused:
    def test_one_sentence_says_what_is_wrong_with_a_value(self) -> None:
        """The variable's name, what was written unless that is secret, and in the end how it would be valid."""
        found = {key: wrong(*key) for key in REFUSED}
        assert found == {key: f"{key[0]} {said}" for key, said in REFUSED.items()}
        assert sentence(PUBLIC_URL=None).endswith("like https://example.com/connect.")
        assert sentence(TIKTOK_MAX_QPS="0").endswith("; write for example 8.")

    def test_values_at_the_bounds_are_not(self) -> None:
        """Addresses are https everywhere, http on this machine, with or without a path, of at most 100 characters."""
        registered = [
            read(PUBLIC_URL=value) for value in ("https://example.com:8443/a", LONG[:-1], "http://[::1]:8080")
        ]
        assert [one.secure for one in registered] == [True, True, False]
        chosen = read(TIKTOK_MAX_QPS="0.01", CALLBACK_BUDGET_SECONDS="5", LINK_SIGNING_KEYS="k" * 32)
        assert (chosen.max_qps, chosen.callback_budget, len(chosen.link_keys)) == (0.01, 5, 1)
        assert read(TIKTOK_API_URL="http://localhost/api").api_url == "http://localhost/api"


EMULATOR = "SECRET_MANAGER_EMULATOR_HOST"
TOGETHER: dict[str, dict[str, str | None]] = {
    "PORTAL_ADVERTISER_IDS is missing": {"PORTAL_CONNECTION": "main"},
    "PORTAL_CONNECTION is missing": {"PORTAL_ADVERTISER_IDS": "7001"},
    "SECRET_KMS_KEY is one key": {"SECRET_KMS_KEY": KMS_KEY, "SECRET_LOCATIONS": "europe-west1,europe-west4"},
    "GOOGLE_CLOUD_PROJECT is missing": {EMULATOR: "127.0.0.1:8085", "GOOGLE_CLOUD_PROJECT": None},
    f"{EMULATOR} is set in the cloud": {EMULATOR: "10.0.0.7:8085", "K_SERVICE": "connect"},
}


class TestTogether:
    @pytest.mark.parametrize("said", TOGETHER)
    def test_settings_that_do_not_fit_each_other(self, said: str) -> None:
        """The sentence begins with the one to change; a survey has it under that name."""
        changes = TOGETHER[said]
        found = sentence(**changes)
        assert found.startswith(said)
        environment = {name: value for name, value in {**COMPLETE, **changes}.items() if value is not None}
        assert settings.survey(EVERYTHING, environment)[said.partition(" ")[0]] == found

    def test_settings_that_do(self) -> None:
        """Both of the portal's, one region for a key, an emulator on another machine outside of the cloud."""
        chosen = read(
            PORTAL_CONNECTION="main",
            PORTAL_ADVERTISER_IDS="7001, 7002",
            SECRET_KMS_KEY=KMS_KEY,
            SECRET_LOCATIONS="europe-west1",
            SECRET_MANAGER_EMULATOR_HOST="10.0.0.7:8085",
        )
        assert (chosen.portal_connection, chosen.portal_advertiser_ids) == ("main", frozenset({"7001", "7002"}))
        assert chosen.secret_locations == ("europe-west1",)

    def test_a_survey_finds_every_problem_at_once(self) -> None:
        """Each under its variable's name; what is wrong by itself is not blamed a second time."""
        bad = {"PUBLIC_URL": "ftp://x", "PORTAL_CONNECTION": "Main", "PORTAL_ADVERTISER_IDS": "7001"}
        found = settings.survey(EVERYTHING, {**COMPLETE, **bad})
        assert {name for name, problem in found.items() if problem} == {"PUBLIC_URL", "PORTAL_CONNECTION"}
        assert found["PORTAL_CONNECTION"].startswith("PORTAL_CONNECTION is 'Main'")
        assert "PUBLIC_URL" not in settings.survey(REFRESH, COMPLETE)


def test_certificates_that_requests_was_given_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SSL_CERT_FILE`, which it does not read itself, is handed on only where `REQUESTS_CA_BUNDLE` is not set."""
    monkeypatch.setenv("NETRC", "")  # so that it is as before afterwards
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/own.pem")
    settings.prepare_requests()
    assert settings.environment()["REQUESTS_CA_BUNDLE"] == "/own.pem"
