"""The settings: what is required, what the rest is without being set, and the one sentence for a wrong value."""

from __future__ import annotations

import dataclasses

import pytest

from tokenkeeper import settings
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import CONNECT, REFRESH, Needs
from unit.parts import APP_SECRET, COMPLETE, EVERYTHING, KEY, read

ADDRESSES = ["TIKTOK_API_URL", "TIKTOK_AUTHORIZE_URL", "TIKTOK_ACCOUNT_AUTHORIZE_URL"]
EIGHTY_ONE = "a" * 81
OTHER_KEY = "key-two-0123456789abcdef0123456789abcdef"


def sentence(needs: Needs = EVERYTHING, /, **changes: str | None) -> str:
    """What is said of an environment that is wrong."""
    with pytest.raises(SettingsError) as error:
        read(needs, **changes)
    return str(error.value)


class TestDefaults:
    def test_what_is_not_set_has_its_default(self) -> None:
        """Only the app's credentials, the keys and the public address have to be set."""
        for attribute, value in [
            ("secret_prefix", "tiktok-ads"),
            ("emulator_host", ""),
            ("api_url", "https://business-api.tiktok.com/open_api/v1.3"),
            ("authorize_url", "https://business-api.tiktok.com/portal/auth"),
            ("account_authorize_url", "https://www.tiktok.com/v2/auth/authorize"),
            ("account_scopes", ("user.info.basic", "user.info.profile", "user.info.stats", "video.list")),
            ("max_qps", 8),
            ("run_budget", 1500),
            ("callback_budget", 50),
            ("keep_versions", 2),
            ("portal_connection", ""),
            ("portal_advertiser_ids", frozenset()),
            ("portal_state", "your_custom_params"),
            ("secret_locations", ()),
            ("secret_kms_key", ""),
            ("in_cloud", False),
        ]:
            assert getattr(read(), attribute) == value

    def test_an_empty_variable_is_as_good_as_none(self) -> None:
        """A variable that is set to nothing, or to spaces, has its default."""
        assert read(SECRET_PREFIX="", TIKTOK_MAX_QPS="  ").secret_prefix == "tiktok-ads"

    def test_the_project_may_be_left_to_the_credentials(self) -> None:
        """Without `GOOGLE_CLOUD_PROJECT` the project is whatever the credentials say."""
        assert read(GOOGLE_CLOUD_PROJECT=None).project == ""

    def test_spaces_around_a_value_do_not_count(self) -> None:
        """A line break at the end of a pasted app secret is no part of it."""
        assert read(TIKTOK_APP_SECRET=f" {APP_SECRET}\n").app_secret.reveal() == APP_SECRET


class TestMissing:
    def test_what_is_required_is_asked_for_in_one_sentence(self) -> None:
        """A missing variable is named, with what a right value looks like."""
        for name in ["TIKTOK_APP_ID", "TIKTOK_APP_SECRET", "LINK_SIGNING_KEYS", "PUBLIC_URL"]:
            said = sentence(**{name: None})
            assert said.startswith(f"{name} is missing; ")
            assert said.endswith(".")
            assert "\n" not in said

    def test_what_a_program_does_not_use_is_not_looked_at(self) -> None:
        """A function starts although a variable that only the other one uses is wrong."""
        for needs, unused in [
            (REFRESH, "LINK_SIGNING_KEYS"),
            (REFRESH, "PUBLIC_URL"),
            (REFRESH, "TIKTOK_AUTHORIZE_URL"),
            (REFRESH, "TIKTOK_ACCOUNT_AUTHORIZE_URL"),
            (REFRESH, "TIKTOK_ACCOUNT_SCOPES"),
            (REFRESH, "SECRET_LOCATIONS"),
            (REFRESH, "CALLBACK_BUDGET_SECONDS"),
            (REFRESH, "PORTAL_CONNECTION"),
            (CONNECT, "TIKTOK_MAX_QPS"),
            (CONNECT, "RUN_BUDGET_SECONDS"),
            (Needs.STORE, "TIKTOK_APP_ID"),
            (Needs.STORE, "TIKTOK_APP_SECRET"),
        ]:
            read(needs, **{unused: "!! wrong !!"})

    def test_each_function_needs_what_the_design_says(self) -> None:
        """`connect` cannot do without link keys and address, `refresh` can."""
        assert sentence(CONNECT, LINK_SIGNING_KEYS=None).startswith("LINK_SIGNING_KEYS")
        assert read(REFRESH, LINK_SIGNING_KEYS=None, PUBLIC_URL=None).link_keys == ()


class TestPublicAddress:
    def test_an_address_as_it_is_registered(self) -> None:
        """It is https everywhere, http on this machine, with or without a path, of at most 100 characters."""
        for address, path, secure in [
            ("https://connect.example.com", "", True),
            ("https://europe-west1-my-project.cloudfunctions.net/connect", "/connect", True),
            ("https://example.com/a/b", "/a/b", True),
            ("https://example.com:8443/c", "/c", True),
            ("http://localhost:8080", "", False),
            ("http://127.0.0.1:8080", "", False),
            ("http://[::1]:8080", "", False),
            ("https://example.com/" + "a" * 80, "/" + "a" * 80, True),
        ]:
            chosen = read(PUBLIC_URL=address)
            assert (chosen.public_url, chosen.public_path, chosen.secure) == (address, path, secure)

    @pytest.mark.parametrize(
        ("address", "wrong"),
        [
            ("http://example.com", "begins with http:"),
            ("http://127.0.0.2:8080", "begins with http:"),
            ("https://example.com/", "ends with a slash"),
            ("https://example.com/connect/", "ends with a slash"),
            ("https://example.com?a=b", "has a query or a fragment"),
            ("https://example.com/?", "has a query or a fragment"),
            ("https://example.com/#top", "has a query or a fragment"),
            ("https://example.com/" + EIGHTY_ONE, "has 101 characters"),
            ("https://user:password@example.com", "has a user name or password"),
            ("HTTPS://example.com", "is not an address that begins with https://"),
            ("ftp://example.com", "is not an address that begins with https://"),
            ("example.com", "is not an address that begins with https://"),
            ("https://", "is not an address that begins with https://"),
            ("https://example.com:0", "is not an address that begins with https://"),
            ("https://example.com:99999", "is not a web address"),
            ("https://[::1", "is not a web address"),
            ("https://exämple.com", "has characters that no address has"),
            ("https://example.com/a b", "has characters that no address has"),
            ("https://example.com/;script-src", "has characters that no address has"),
        ],
    )
    def test_an_address_that_cannot_work_is_refused(self, address: str, wrong: str) -> None:
        """The sentence says what is wrong with the address and how one is written."""
        said = sentence(PUBLIC_URL=address)
        assert said.startswith(f"PUBLIC_URL {wrong}")
        assert "https://example.com/connect" in said


class TestTikToksAddresses:
    @pytest.mark.parametrize("name", ADDRESSES)
    @pytest.mark.parametrize(
        "address", ["https://example.com/api", "http://127.0.0.1:8090/api", "http://localhost/api"]
    )
    def test_another_address_may_be_set(self, name: str, address: str) -> None:
        """It is https anywhere, and plain http to this machine."""
        read(**{name: address})

    @pytest.mark.parametrize("name", ADDRESSES)
    @pytest.mark.parametrize(
        "address", ["http://example.com/api", "http://10.0.0.1/api", "http://localhost.example.com"]
    )
    def test_secrets_do_not_cross_a_network_unencrypted(self, name: str, address: str) -> None:
        """Plain http to another machine is refused."""
        assert sentence(**{name: address}).startswith(f"{name} begins with http: and names another machine")

    def test_a_slash_at_the_end_of_the_base_does_not_matter(self) -> None:
        """The base of the API may be written with or without a slash at its end."""
        assert read(TIKTOK_API_URL="https://example.com/v1/").api_url == "https://example.com/v1"


class TestNumbers:
    def test_a_number_out_of_bounds_is_refused(self) -> None:
        """The sentence shows the value, the bounds and a good number."""
        for name, value in [
            ("TIKTOK_MAX_QPS", "0"),
            ("TIKTOK_MAX_QPS", "-1"),
            ("TIKTOK_MAX_QPS", "nan"),
            ("TIKTOK_MAX_QPS", "inf"),
            ("TIKTOK_MAX_QPS", "eight"),
            ("RUN_BUDGET_SECONDS", "-1"),
            ("RUN_BUDGET_SECONDS", "1e9"),
            ("CALLBACK_BUDGET_SECONDS", "4.9"),
            ("KEEP_VERSIONS", "1"),
            ("KEEP_VERSIONS", "2.5"),
            ("KEEP_VERSIONS", "0x10"),
        ]:
            said = sentence(**{name: value})
            assert said.startswith(f"{name} is '{value}', not a ")
            assert "number from " in said
            assert "write for example" in said

    def test_fractions_of_a_call_are_fine(self) -> None:
        """A very slow pace can be set."""
        assert read(TIKTOK_MAX_QPS="0.5").max_qps == 0.5

    def test_the_smallest_callback_budget_is_five_seconds(self) -> None:
        """Five seconds are enough, less are not."""
        assert read(CALLBACK_BUDGET_SECONDS="5").callback_budget == 5


class TestKeys:
    def test_several_keys_are_read_newest_first(self) -> None:
        """Keys are separated by any white space and keep their order."""
        keys = read(LINK_SIGNING_KEYS=f"{OTHER_KEY}\n\t {KEY}").link_keys
        assert [key.reveal() for key in keys] == [OTHER_KEY, KEY]

    def test_a_short_key_is_named_by_its_place_and_not_shown(self) -> None:
        """Which of the keys is too short is said; what it is, is not."""
        said = sentence(LINK_SIGNING_KEYS=f"{KEY} short-key-of-mine")
        assert "17 characters in key 2 of 2" in said
        assert "short-key-of-mine" not in said

    def test_32_characters_are_enough(self) -> None:
        """The shortest key has 32 characters."""
        assert len(read(LINK_SIGNING_KEYS="k" * 32).link_keys) == 1
        assert "31 characters" in sentence(LINK_SIGNING_KEYS="k" * 31)


class TestSecretValues:
    def test_an_app_secret_that_none_is_is_refused_without_showing_it(self) -> None:
        """The sentence about a wrong app secret holds nothing of it."""
        for value in ["two words here", "line\nbreak", "sécret-of-mine", "s" * 257]:
            said = sentence(TIKTOK_APP_SECRET=value)
            assert said.startswith("TIKTOK_APP_SECRET has spaces")
            assert value not in said

    def test_no_repr_of_the_settings_shows_a_secret(self) -> None:
        """Settings can be shown to anybody."""
        shown = repr(read())
        assert APP_SECRET not in shown
        assert KEY not in shown

    def test_settings_cannot_be_changed(self) -> None:
        """What was read at the start stays as it is."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            read().project = "another"  # type: ignore[misc]


class TestNames:
    def test_a_value_that_cannot_work_is_shown_with_a_right_one(self) -> None:
        """What was written, what is wrong with it and an example stand in one sentence."""
        for name, value in [
            ("GOOGLE_CLOUD_PROJECT", "My Project"),
            ("GOOGLE_CLOUD_PROJECT", "projects/x"),
            ("SECRET_PREFIX", "with space"),
            ("SECRET_PREFIX", "a" * 101),
            ("SECRET_PREFIX", "a/b"),
            ("SECRET_MANAGER_EMULATOR_HOST", "http://127.0.0.1:8085"),
            ("SECRET_MANAGER_EMULATOR_HOST", "127.0.0.1"),
            ("TIKTOK_APP_ID", "my app"),
            ("PORTAL_STATE", "with space"),
            ("PORTAL_CONNECTION", "Main"),
            ("PORTAL_CONNECTION", "-main"),
            ("PORTAL_ADVERTISER_IDS", "7001,,7002"),
            ("PORTAL_ADVERTISER_IDS", "acme"),
            ("SECRET_LOCATIONS", "Europe!"),
            ("SECRET_KMS_KEY", "my-key"),
            ("TIKTOK_ACCOUNT_SCOPES", "user.info.basic,,video.list"),
            ("TIKTOK_ACCOUNT_SCOPES", "Video List"),
        ]:
            said = sentence(**{name: value})
            assert said.startswith(f"{name} is {value[:80]!r}")
            assert said.endswith(".")

    def test_scopes_of_accounts_are_a_list(self) -> None:
        """They are separated by commas, with or without spaces."""
        assert read(TIKTOK_ACCOUNT_SCOPES="video.list, user.insights").account_scopes == ("video.list", "user.insights")

    def test_the_prefix_starts_every_secrets_name(self) -> None:
        """Another prefix may be set."""
        assert read(SECRET_PREFIX="my_Tokens-2").secret_prefix == "my_Tokens-2"


class TestTogether:
    def test_portal_connection_and_advertisers_come_together(self) -> None:
        """With both set, the list is read with or without spaces."""
        chosen = read(PORTAL_CONNECTION="main", PORTAL_ADVERTISER_IDS="7001, 7002")
        assert chosen.portal_connection == "main"
        assert chosen.portal_advertiser_ids == {"7001", "7002"}

    @pytest.mark.parametrize(
        ("changes", "missing"),
        [
            ({"PORTAL_CONNECTION": "main"}, "PORTAL_ADVERTISER_IDS"),
            ({"PORTAL_ADVERTISER_IDS": "7001"}, "PORTAL_CONNECTION"),
        ],
    )
    def test_one_of_the_two_alone_is_refused(self, changes: dict[str, str], missing: str) -> None:
        """Both or neither: the sentence names the one that is missing."""
        assert sentence(**changes).startswith(f"{missing} is missing")

    def test_one_key_does_not_fit_several_regions(self) -> None:
        """With a key of one's own, secrets are kept in one region, or where Google chooses."""
        key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
        said = sentence(SECRET_KMS_KEY=key, SECRET_LOCATIONS="europe-west1,europe-west4")
        assert said.startswith("SECRET_KMS_KEY is one key")
        assert read(SECRET_KMS_KEY=key, SECRET_LOCATIONS="europe-west1").secret_locations == ("europe-west1",)

    def test_an_emulator_needs_a_project(self) -> None:
        """Without credentials nothing names a project, so one has to be set."""
        said = sentence(SECRET_MANAGER_EMULATOR_HOST="127.0.0.1:8085", GOOGLE_CLOUD_PROJECT=None)
        assert said.startswith("GOOGLE_CLOUD_PROJECT is missing")

    def test_no_emulator_on_another_machine_in_the_cloud(self) -> None:
        """A deployed function never sends tokens to another machine unencrypted."""
        said = sentence(SECRET_MANAGER_EMULATOR_HOST="10.0.0.7:8085", K_SERVICE="connect")
        assert said.startswith("SECRET_MANAGER_EMULATOR_HOST is set in the cloud")
        assert read(SECRET_MANAGER_EMULATOR_HOST="10.0.0.7:8085").emulator_host == "10.0.0.7:8085"


class TestSurvey:
    def test_every_setting_is_looked_at_however_many_are_wrong(self) -> None:
        """All problems are found at once, each under its variable's name."""
        found = settings.survey(EVERYTHING, {**COMPLETE, "PUBLIC_URL": "ftp://x", "TIKTOK_MAX_QPS": "0"})
        wrong = {name for name, problem in found.items() if problem}
        assert wrong == {"PUBLIC_URL", "TIKTOK_MAX_QPS"}
        assert found["PUBLIC_URL"].startswith("PUBLIC_URL ")

    def test_only_what_a_program_uses_is_surveyed(self) -> None:
        """The survey for `refresh` says nothing about the public address."""
        assert "PUBLIC_URL" not in settings.survey(REFRESH, COMPLETE)

    def test_every_variable_of_the_contract_is_surveyed(self) -> None:
        """There is none that only a function's start would complain about."""
        assert settings.survey(EVERYTHING, COMPLETE).keys() == {
            "GOOGLE_CLOUD_PROJECT",
            "SECRET_PREFIX",
            "SECRET_MANAGER_EMULATOR_HOST",
            "KEEP_VERSIONS",
            "TIKTOK_APP_ID",
            "TIKTOK_APP_SECRET",
            "TIKTOK_API_URL",
            "LINK_SIGNING_KEYS",
            "PUBLIC_URL",
            "TIKTOK_AUTHORIZE_URL",
            "TIKTOK_ACCOUNT_AUTHORIZE_URL",
            "TIKTOK_ACCOUNT_SCOPES",
            "CALLBACK_BUDGET_SECONDS",
            "PORTAL_CONNECTION",
            "PORTAL_ADVERTISER_IDS",
            "PORTAL_STATE",
            "SECRET_LOCATIONS",
            "SECRET_KMS_KEY",
            "TIKTOK_MAX_QPS",
            "RUN_BUDGET_SECONDS",
        }

    def test_what_only_shows_together_is_found_too(self) -> None:
        """A portal connection without its list is a problem of the list."""
        found = settings.survey(EVERYTHING, {**COMPLETE, "PORTAL_CONNECTION": "main"})
        assert found["PORTAL_ADVERTISER_IDS"].startswith("PORTAL_ADVERTISER_IDS is missing")


@pytest.mark.parametrize(
    ("environment", "target"),
    [({}, "connect"), ({"FUNCTION_TARGET": "connect"}, "connect"), ({"FUNCTION_TARGET": "refresh"}, "refresh")],
)
def test_the_framework_names_the_function(environment: dict[str, str], target: str) -> None:
    """`FUNCTION_TARGET` says which of the two functions is served; without it, it is `connect`."""
    assert settings.target(environment) == target


@pytest.mark.parametrize(
    ("set_before", "read_by_requests"),
    [
        ({"SSL_CERT_FILE": "/ca.pem"}, "/ca.pem"),
        ({"SSL_CERT_FILE": "/ca.pem", "REQUESTS_CA_BUNDLE": "/own.pem"}, "/own.pem"),
        ({}, None),
    ],
    ids=["only OpenSSL's variable", "both", "neither"],
)
def test_a_companys_certificates_are_named_once(
    monkeypatch: pytest.MonkeyPatch, set_before: dict[str, str], read_by_requests: str | None
) -> None:
    """`SSL_CERT_FILE` is enough: `requests`, which reads another variable, gets it too, unless it has its own."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NETRC"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    for name, value in set_before.items():
        monkeypatch.setenv(name, value)
    settings.prepare_requests()
    assert settings.environment().get("REQUESTS_CA_BUNDLE") == read_by_requests
