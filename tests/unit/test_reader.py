"""What a pipeline reads with: the newest token past a late `latest`, remembered for as long as it is good, else why."""

from __future__ import annotations

import json
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1

from local.secret_manager import SecretManagerServer
from local.serving import Fault
from tokenkeeper import reader
from tokenkeeper.grant import Grant
from tokenkeeper.reader import (
    Misconfigured,
    NeedsReconnecting,
    NotConnected,
    NotPermitted,
    Reader,
    ReaderError,
    SystemClock,
    TryLater,
)
from tokenkeeper.secrecy import Secret
from unit.parts import NOON, PROJECT, HandClock, expiring, handout, long_lived

SECRET = "tiktok-ads-token-acme"
ACCESS = "AccessSecretVersion"
NEVER = "canary-never-shown-0123456789"


@pytest.fixture
def hand() -> HandClock:
    """The reader's clock: noon on 2026-11-22, moved by hand."""
    return HandClock()


@pytest.fixture(autouse=True)
def _environment(store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", store.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.delenv("SECRET_PREFIX", raising=False)
    monkeypatch.setattr(reader, "_usual", None)
    store.create(SECRET, project=PROJECT)


@pytest.fixture
def acme(hand: HandClock) -> Reader:
    """A reader with a clock in the hand."""
    return Reader(clock=hand)


def put(store: SecretManagerServer, grant: Grant) -> int:
    """Store a grant as the keeper does; returns the version's number."""
    return store.add_version(SECRET, grant.token_payload())


def named(access_token: str, grant: Grant) -> Grant:
    """The same grant with another access token."""
    return replace(grant, access_token=Secret(access_token))


def edited(**changes: Any) -> bytes:
    """A payload that somebody changed."""
    return json.dumps({**json.loads(long_lived().token_payload()), **changes}).encode()


def complaint(error: ReaderError, remedy: str) -> str:
    """The text of an error: a sentence that says what to do, by the remedy that was to be expected."""
    assert error.remedy == remedy
    assert NEVER not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None
    return str(error)


class TestToken:
    def test_everything_that_is_stored(self, acme: Reader, store: SecretManagerServer) -> None:
        """A token comes with its end, its ad accounts, its permissions, its app and its version."""
        put(store, expiring())
        found = acme.token("acme")
        assert found.access_token == acme.access_token("acme") == "access-1"
        assert (found.connection, found.version) == ("acme", 1)
        assert found.expires_at == NOON + timedelta(days=1)
        assert (found.advertiser_ids, found.advertiser_count) == (("7001", "7002"), 2)
        assert (found.scope, found.app_id) == ((4, 10, 200), "7000000000000000000")
        assert found.obtained_at == NOON

    def test_a_long_lived_token_has_no_end(self, acme: Reader, store: SecretManagerServer) -> None:
        """Without an end `expires_at` is None, however long it has to live."""
        put(store, long_lived())
        assert acme.token("acme", minimum_seconds=1e12).expires_at is None

    def test_more_advertisers_than_there_is_room_for(self, acme: Reader, store: SecretManagerServer) -> None:
        """Their ids are None then, and their number is known."""
        many = tuple(str(7_000_000_000_000_000_000 + number) for number in range(5_000))
        put(store, Grant.first(handout(advertiser_ids=many), "acme", "7000000000000000000", NOON))
        found = acme.token("acme")
        assert (found.advertiser_ids, found.advertiser_count) == (None, 5_000)

    def test_no_repr_shows_it(self, acme: Reader, store: SecretManagerServer) -> None:
        """Neither the token's own repr nor the reader's does."""
        put(store, named(NEVER, long_lived()))
        shown = repr(acme.token("acme"))
        assert NEVER not in shown + repr(acme)
        assert "version=1" in shown

    def test_only_the_one_permission_is_needed(self, acme: Reader, store: SecretManagerServer) -> None:
        """Nothing is called but AccessSecretVersion."""
        store.set_state(SECRET, put(store, long_lived()), "DISABLED")
        put(store, expiring())
        acme.token("acme")
        assert {call.name for call in store.calls} == {ACCESS}


class TestNewest:
    @pytest.mark.parametrize("lag", [0, 1, 2])
    def test_late_latest(self, acme: Reader, store: SecretManagerServer, lag: int) -> None:
        """The newest version is found by number, however late `latest` is."""
        for name in ("one", "two", "three"):
            put(store, named(name, long_lived()))
        store.set_lag(latest=lag)
        assert acme.access_token("acme") == "three"

    def test_latest_that_does_not_know_the_first_version_yet(self, acme: Reader, store: SecretManagerServer) -> None:
        """The first version of a secret is found although `latest` says that there is none."""
        put(store, long_lived())
        store.set_lag(latest=1, hide_first=True)
        assert acme.token("acme").version == 1

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_skips_over_what_cannot_be_read(self, acme: Reader, store: SecretManagerServer, state: str) -> None:
        """A disabled or destroyed version between a late `latest` and the newest one is in nobody's way."""
        for name in ("one", "two", "three"):
            put(store, named(name, long_lived()))
        store.set_state(SECRET, 2, state)
        store.set_lag(latest=2)
        assert acme.access_token("acme") == "three"

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    @pytest.mark.parametrize("versions", [2, 3, 4, 7, 8, 9])
    def test_latest_that_cannot_be_read(
        self, acme: Reader, store: SecretManagerServer, state: str, versions: int
    ) -> None:
        """Where the newest version is disabled or destroyed, the one before it is taken."""
        for number in range(1, versions + 1):
            put(store, named(f"token-{number}", long_lived()))
        store.set_state(SECRET, versions, state)
        assert acme.token("acme").version == versions - 1

    def test_of_very_many_versions(self, acme: Reader, store: SecretManagerServer) -> None:
        """The last number is found without asking for each, however many there have been."""
        for _ in range(100):
            put(store, long_lived())
        store.set_state(SECRET, 100, "DISABLED")
        assert acme.token("acme").version == 99
        assert len(store.calls) < 20

    def test_late_latest_that_cannot_be_read(self, acme: Reader, store: SecretManagerServer) -> None:
        """A newer version is found behind a late `latest` that points at a disabled one."""
        for name in ("one", "two", "three"):
            put(store, named(name, long_lived()))
        store.set_state(SECRET, 2, "DISABLED")
        store.set_lag(latest=1)
        assert acme.access_token("acme") == "three"

    def test_nothing_that_can_be_read(self, acme: Reader, store: SecretManagerServer) -> None:
        """With all versions destroyed only a new authorization helps."""
        for _ in range(3):
            store.set_state(SECRET, put(store, long_lived()), "DESTROYED")
        with pytest.raises(NeedsReconnecting) as caught:
            acme.token("acme")
        assert "disabled or destroyed" in complaint(caught.value, "reconnect")


class TestRemembering:
    def test_long_lived_for_five_minutes(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """A token without an end is read again after `cache_seconds`, and only then."""
        put(store, named("one", long_lived()))
        assert acme.access_token("acme") == "one"
        put(store, named("two", long_lived()))
        hand.pass_by(seconds=299)
        assert acme.access_token("acme") == "one"
        hand.pass_by(seconds=1)
        assert acme.access_token("acme") == "two"

    def test_cache_seconds(self, store: SecretManagerServer, hand: HandClock) -> None:
        """How long that is can be chosen; with 0 every call reads."""
        acme = Reader(clock=hand, cache_seconds=0)
        for name in ("one", "two"):
            put(store, named(name, long_lived()))
            assert acme.access_token("acme") == name

    def test_expiring_until_less_is_left(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """A token with an end is read again when less of its life is left than is asked for, and only then."""
        put(store, named("one", expiring()))
        assert acme.access_token("acme", minimum_seconds=3600) == "one"
        put(store, named("two", expiring(at=NOON + timedelta(hours=12))))
        store.forget_calls()
        hand.pass_by(hours=23)
        assert acme.access_token("acme", minimum_seconds=3600) == "one"
        assert store.calls == []
        hand.pass_by(seconds=1)
        assert acme.access_token("acme", minimum_seconds=3600) == "two"

    def test_each_call_says_what_it_needs(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """A call that asks for more than the remembered token has left makes the reader look."""
        put(store, named("one", expiring()))
        acme.token("acme")
        put(store, named("two", expiring(at=NOON + timedelta(hours=12))))
        hand.pass_by(hours=20)
        assert acme.access_token("acme", minimum_seconds=60) == "one"
        assert acme.access_token("acme", minimum_seconds=6 * 3600) == "two"

    def test_connections_have_nothing_to_do_with_each_other(self, acme: Reader, store: SecretManagerServer) -> None:
        """Each has its own memory, and its own secret."""
        put(store, long_lived())
        store.create("tiktok-ads-token-beta", project=PROJECT)
        store.add_version("tiktok-ads-token-beta", named("beta-token", long_lived("beta")).token_payload())
        assert (acme.access_token("acme"), acme.access_token("beta")) == ("access-1", "beta-token")
        assert (acme.access_token("acme"), acme.access_token("beta")) == ("access-1", "beta-token")

    def test_one_reading_for_many_threads(self, store: SecretManagerServer) -> None:
        """However many ask at once, the store is asked once."""
        put(store, long_lived())
        store.add_fault(Fault(ACCESS, do="hold", hold="first"))
        shared, begin = Reader(), threading.Barrier(17)

        def ask() -> str:
            begin.wait(20)
            return shared.access_token("acme")

        with ThreadPoolExecutor(16) as threads:
            found = [threads.submit(ask) for _ in range(16)]
            begin.wait(20)
            store.wait_held("first")
            store.release("first")
            assert {one.result(20) for one in found} == {"access-1"}
        assert len(store.calls) <= 4  # `latest` and the next number; once more by those that asked after it was read

    def test_nobody_waits_for_a_reading_who_has_a_token(self, store: SecretManagerServer, hand: HandClock) -> None:
        """While one thread reads again, the others go on with the token that is remembered."""
        put(store, named("one", long_lived()))
        shared = Reader(clock=hand)
        shared.token("acme")
        put(store, named("two", long_lived()))
        hand.pass_by(minutes=6)
        store.add_fault(Fault(ACCESS, do="hold", hold="second"))
        with ThreadPoolExecutor(1) as threads:
            slow = threads.submit(shared.access_token, "acme")
            store.wait_held("second")
            assert shared.access_token("acme") == "one"
            store.release("second")
            assert slow.result(20) == "two"


class TestRejected:
    def test_looks_past_what_is_remembered(self, acme: Reader, store: SecretManagerServer) -> None:
        """The token that TikTok refused is followed by the one that took its place."""
        put(store, named("one", long_lived()))
        old = acme.access_token("acme")
        put(store, named("two", long_lived()))
        assert acme.access_token("acme", rejected=old) == "two"
        assert acme.access_token("acme") == "two"

    def test_the_newest_is_the_rejected_one(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """If nothing newer is stored, only a new authorization helps, which is said at once."""
        put(store, named(NEVER, long_lived()))
        with pytest.raises(NeedsReconnecting, match="make link CONNECTION=acme") as caught:
            acme.access_token("acme", rejected=acme.access_token("acme"))
        complaint(caught.value, "reconnect")
        assert hand.slept == []

    def test_what_replaced_it_is_known(self, acme: Reader, store: SecretManagerServer) -> None:
        """Of many threads with the same refused token only the first makes the reader look."""
        put(store, named("one", long_lived()))
        acme.token("acme")
        put(store, named("two", long_lived()))
        acme.token("acme", rejected="one")
        store.forget_calls()
        assert acme.access_token("acme", rejected="one") == "two"
        assert store.calls == []

    def test_a_token_from_elsewhere(self, acme: Reader, store: SecretManagerServer) -> None:
        """What this reader never handed out may be newer than what it remembers, so it looks."""
        put(store, named("one", long_lived()))
        acme.token("acme")
        put(store, named("two", long_lived()))
        put(store, named("three", long_lived()))
        assert acme.access_token("acme", rejected="two") == "three"

    def test_expiring_in_the_middle_of_a_refresh(
        self, acme: Reader, store: SecretManagerServer, hand: HandClock
    ) -> None:
        """A token with an end that was refused is about to be replaced: the reader looks until it is."""
        put(store, named("one", expiring()))

        def meanwhile() -> None:
            if len(hand.slept) == 3:
                put(store, named("two", expiring()))

        hand.on_sleep = meanwhile
        assert acme.access_token("acme", rejected="one") == "two"
        assert len(hand.slept) == 3

    def test_expiring_that_nobody_replaces(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """If it is not, the reader gives up within its time."""
        put(store, named("one", expiring()))
        with pytest.raises(NeedsReconnecting):
            acme.access_token("acme", rejected="one")
        assert 15 < sum(hand.slept) <= 30


class TestTooLittleLeft:
    def test_less_than_is_asked_for(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """A token that ends sooner is not handed out: the keeper's refresh is late, or too much is asked for."""
        put(store, named(NEVER, expiring()))
        hand.pass_by(hours=23, minutes=30)
        with pytest.raises(TryLater, match=r"in 1800 seconds, and 3600 are asked for") as caught:
            acme.token("acme")
        assert "make status" in complaint(caught.value, "wait")
        assert acme.token("acme", minimum_seconds=1800).version == 1

    @pytest.mark.parametrize(
        ("hours", "kind", "remedy"), [(25, TryLater, "wait"), (48, NeedsReconnecting, "reconnect")]
    )
    def test_ended(
        self,
        acme: Reader,
        store: SecretManagerServer,
        hand: HandClock,
        hours: int,
        kind: type[ReaderError],
        remedy: str,
    ) -> None:
        """A token that has ended is waited for during a day; after that a person is needed."""
        put(store, named(NEVER, expiring()))
        hand.pass_by(hours=hours)
        with pytest.raises(ReaderError, match="ended at 2026-11-23 12:00:00") as caught:
            acme.token("acme", minimum_seconds=0 if hours == 48 else 3600)
        assert type(caught.value) is kind
        assert "make status" in complaint(caught.value, remedy)


class TestAway:
    @pytest.mark.parametrize("status", [429, 500, 503, 504])
    def test_tries_again(self, acme: Reader, store: SecretManagerServer, hand: HandClock, status: int) -> None:
        """What fails in passing is tried again."""
        put(store, long_lived())
        store.add_fault(Fault(ACCESS, status=status, times=3))
        assert acme.access_token("acme") == "access-1"
        assert len(hand.slept) == 3

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(ACCESS, do="drop", times=2),
            Fault(ACCESS, do="truncate", when="after", times=2),
            Fault(ACCESS, status=200, body=b"<html>", content_type="text/html", times=2),
            Fault(ACCESS, status=200, body={}, times=2),
        ],
    )
    def test_no_answer_or_no_sense(self, acme: Reader, store: SecretManagerServer, fault: Fault) -> None:
        """Connections that break and answers that are none of Google's are tried again, too."""
        put(store, long_lived())
        store.add_fault(fault)
        assert acme.access_token("acme") == "access-1"

    def test_damaged_on_its_way(self, acme: Reader, store: SecretManagerServer) -> None:
        """A payload whose checksum is wrong is not believed."""
        put(store, long_lived())
        damaged = {"name": f"projects/1/secrets/{SECRET}/versions/1", "payload": {"data": "e30=", "dataCrc32c": "7"}}
        store.add_fault(Fault(ACCESS, status=200, body=damaged))
        assert acme.access_token("acme") == "access-1"
        store.add_fault(Fault(ACCESS, status=200, body=damaged, times=None))
        with pytest.raises(TryLater, match="damaged"):
            acme.access_token("acme", rejected="access-1")

    def test_gives_up_within_its_time(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """Without an answer and without a remembered token it says so when its time is over."""
        store.add_fault(Fault(ACCESS, status=503, times=None))
        with pytest.raises(TryLater, match="503") as caught:
            acme.token("acme")
        complaint(caught.value, "wait")
        assert 15 < sum(hand.slept) <= 30

    def test_nobody_listens(self, hand: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
        """An address at which nobody listens is an outage like any other."""
        monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", "127.0.0.1:9")
        with pytest.raises(TryLater, match="ConnectionError") as caught:
            Reader(clock=hand).token("acme")
        complaint(caught.value, "wait")

    @pytest.mark.parametrize("grant", [long_lived(), expiring()])
    def test_a_remembered_token_will_do(
        self, acme: Reader, store: SecretManagerServer, hand: HandClock, grant: Grant
    ) -> None:
        """A reader that has a token that is good for long enough does not fail because of an outage."""
        put(store, grant)
        acme.token("acme")
        store.add_fault(Fault(ACCESS, status=503, times=None))
        hand.pass_by(hours=10)
        assert acme.access_token("acme") == "access-1"
        assert sum(hand.slept) <= 5

    def test_an_outage_does_not_slow_down_every_call(
        self, acme: Reader, store: SecretManagerServer, hand: HandClock
    ) -> None:
        """With a remembered token the store is asked once a minute while it is away, and its return is noticed."""
        put(store, named("one", long_lived()))
        acme.token("acme")
        store.add_fault(Fault(ACCESS, status=503, times=None))
        hand.pass_by(minutes=10)
        acme.token("acme")
        store.forget_calls()
        assert acme.access_token("acme") == "one"
        assert store.calls == []
        store.clear_faults()
        put(store, named("two", long_lived()))
        hand.pass_by(minutes=1)
        assert acme.access_token("acme") == "two"

    def test_not_with_a_rejected_one(self, acme: Reader, store: SecretManagerServer) -> None:
        """A token that TikTok refused is never handed out again."""
        put(store, long_lived())
        acme.token("acme")
        store.add_fault(Fault(ACCESS, status=503, times=None))
        with pytest.raises(TryLater):
            acme.token("acme", rejected="access-1")

    def test_not_after_its_end(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """Nor is one that has too little of its life left."""
        put(store, expiring())
        acme.token("acme")
        store.add_fault(Fault(ACCESS, status=503, times=None))
        hand.pass_by(hours=23, minutes=1)
        with pytest.raises(TryLater):
            acme.token("acme")


class TestWrong:
    @pytest.mark.parametrize("name", ["acme", "nobody"])
    def test_never_connected(self, acme: Reader, name: str) -> None:
        """Without a version, or without the secret, the sentence says how to connect."""
        with pytest.raises(NotConnected, match=f"make link CONNECTION={name}") as caught:
            acme.token(name)
        assert PROJECT in complaint(caught.value, "reconnect")

    def test_disconnected(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """A token of a connection that was taken away is forgotten: no outage brings it back."""
        put(store, long_lived())
        acme.token("acme")
        store.delete(SECRET)
        hand.pass_by(minutes=6)
        with pytest.raises(NotConnected):
            acme.token("acme")
        store.add_fault(Fault(ACCESS, status=503, times=None))
        with pytest.raises(TryLater):
            acme.token("acme")

    def test_connected_anew_after_that(self, acme: Reader, store: SecretManagerServer, hand: HandClock) -> None:
        """One that was made again, with numbers from 1 on, is found."""
        for name in ("one", "two"):
            put(store, named(name, long_lived()))
        acme.token("acme")
        store.delete(SECRET)
        store.create(SECRET, project=PROJECT)
        put(store, named("new", long_lived()))
        hand.pass_by(minutes=6)
        assert acme.access_token("acme") == "new"

    def test_not_permitted(self, acme: Reader, store: SecretManagerServer) -> None:
        """A missing role ends in the command that gives it, for the one secret."""
        store.deny("secretmanager.versions.access")
        with pytest.raises(NotPermitted) as caught:
            acme.token("acme")
        said = complaint(caught.value, "permissions")
        assert f"gcloud secrets add-iam-policy-binding {SECRET} --project={PROJECT}" in said
        assert "--member=serviceAccount:ITS_EMAIL --role=roles/secretmanager.secretAccessor" in said

    @pytest.mark.parametrize("reason", ["SERVICE_DISABLED", "CONSUMER_INVALID"])
    def test_no_such_project(self, acme: Reader, store: SecretManagerServer, reason: str) -> None:
        """A project without Secret Manager is a matter of settings, not of roles."""
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
        body = {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED", "details": details}}
        store.add_fault(Fault(ACCESS, status=403, body=body))
        with pytest.raises(Misconfigured, match="GOOGLE_CLOUD_PROJECT") as caught:
            acme.token("acme")
        complaint(caught.value, "configuration")

    @pytest.mark.parametrize("status", [400, 409])
    def test_not_accepted(self, acme: Reader, store: SecretManagerServer, status: int) -> None:
        """A call that Google does not accept as it is will not be accepted a second time."""
        store.add_fault(Fault(ACCESS, status=status, times=None))
        with pytest.raises(Misconfigured) as caught:
            acme.token("acme")
        complaint(caught.value, "configuration")
        assert len(store.calls) == 1

    @pytest.mark.parametrize("name", ["", "Acme", "-acme", "acme-", "a/b", "acme\n", "a" * 64])
    def test_no_name(self, acme: Reader, store: SecretManagerServer, name: str) -> None:
        """What can be no connection's name is not asked for."""
        with pytest.raises(Misconfigured, match="connection's name") as caught:
            acme.token(name)
        complaint(caught.value, "configuration")
        assert store.calls == []

    def test_no_prefix(self) -> None:
        """A prefix that no secret's name can begin with is said at once."""
        with pytest.raises(Misconfigured, match="prefix"):
            Reader(prefix="a/b")

    def test_no_project(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a project there is nothing to read from."""
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
        with pytest.raises(Misconfigured, match="GOOGLE_CLOUD_PROJECT is missing"):
            Reader().token("acme")

    def test_no_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without credentials the sentence says where to get them."""
        monkeypatch.delenv("SECRET_MANAGER_EMULATOR_HOST")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
        with pytest.raises(Misconfigured, match="gcloud auth application-default login") as caught:
            Reader().token("acme")
        complaint(caught.value, "configuration")

    @pytest.mark.parametrize(
        "payload",
        [
            NEVER.encode(),
            b"\xff",
            b"[" * 60_000,
            b"[]",
            b"{}",
            edited(schema="1"),
            edited(schema=0),
            edited(connection="other"),
            edited(access_token=None),
            edited(access_token=""),
            edited(access_token=f"{NEVER}\n"),
            edited(access_token=f"{NEVER}é"),
            edited(expires_at="tomorrow"),
            edited(expires_at=5),
            edited(advertiser_ids="7001"),
            edited(advertiser_ids=[7001]),
            edited(scope=None),
            edited(scope=["4"]),
            edited(app_id=7000),
            edited(obtained_at=None),
        ],
    )
    def test_payload_that_cannot_be_read(self, acme: Reader, store: SecretManagerServer, payload: bytes) -> None:
        """It is named by secret and version, and none of it is quoted."""
        store.add_version(SECRET, payload)
        with pytest.raises(NeedsReconnecting, match=f"^Version 1 of {SECRET} ") as caught:
            acme.token("acme")
        complaint(caught.value, "reconnect")

    def test_payload_of_a_later_schema(self, acme: Reader, store: SecretManagerServer) -> None:
        """A keeper that is newer than the copied file is told from a broken payload."""
        store.add_version(SECRET, edited(schema=2))
        with pytest.raises(Misconfigured, match=r"copy a newer reader\.py") as caught:
            acme.token("acme")
        complaint(caught.value, "configuration")

    def test_more_in_the_payload_is_no_trouble(self, acme: Reader, store: SecretManagerServer) -> None:
        """What a later keeper adds beside what is known is passed over."""
        store.add_version(SECRET, edited(later="more"))
        assert acme.access_token("acme") == "access-1"


class Failing(AnonymousCredentials):
    """Credentials that cannot be renewed, of an account that may have a name."""

    def __init__(self, error: Exception | None = None, email: str = "default") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.service_account_email = email
        self._error = error

    def before_request(self, *_: object) -> None:
        if self._error:
            raise self._error

    def refresh(self, request: object) -> None:
        """Nothing comes of it."""


class TestCredentials:
    @pytest.fixture
    def found(self, store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Let Google's libraries find these credentials, and the embedded Secret Manager in the place of the real."""
        monkeypatch.delenv("SECRET_MANAGER_EMULATOR_HOST")
        real = secretmanager_v1.SecretManagerServiceClient

        def let(credentials: Any, project: str | None = None) -> None:
            monkeypatch.setattr("google.auth.default", lambda **_: (credentials, project))
            address = {"api_endpoint": f"http://{store.address}"}
            monkeypatch.setattr(
                secretmanager_v1,
                "SecretManagerServiceClient",
                lambda **given: real(**given, client_options=address),
            )

        return let

    def test_project_of_the_credentials(
        self, found: Any, store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a project in the environment the one that the credentials name is read from."""
        monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
        found(Failing(), PROJECT)
        put(store, long_lived())
        assert Reader().access_token("acme") == "access-1"

    def test_whom_to_permit(self, found: Any, store: SecretManagerServer) -> None:
        """The command that gives the role names the service account, where that is known."""
        store.deny("secretmanager.versions.access")
        email = "tiktok-reader@my-project-123.iam.gserviceaccount.com"
        found(Failing(email=email))
        with pytest.raises(NotPermitted, match=f"^{email} may not read {SECRET}.*") as caught:
            Reader().token("acme")
        assert f"--member=serviceAccount:{email} " in str(caught.value)

    def test_credentials_that_ended(self, found: Any) -> None:
        """A key that was deleted, or a login that ended, is not tried again."""
        found(Failing(auth_errors.RefreshError(f"invalid_grant {NEVER}")))  # type: ignore[no-untyped-call]
        with pytest.raises(Misconfigured, match="credentials") as caught:
            Reader().token("acme")
        complaint(caught.value, "configuration")

    def test_credentials_that_are_not_taken(self, found: Any, store: SecretManagerServer) -> None:
        """Nor are credentials that Google refuses."""
        store.add_fault(Fault(ACCESS, status=401, times=None))
        found(Failing())
        with pytest.raises(Misconfigured, match="credentials") as caught:
            Reader().token("acme")
        complaint(caught.value, "configuration")

    def test_metadata_server_away(self, found: Any, hand: HandClock) -> None:
        """Credentials that cannot be fetched for a moment are an outage."""
        error = auth_errors.RefreshError("away")  # type: ignore[no-untyped-call]
        error.__cause__ = auth_errors.TransportError("away")  # type: ignore[no-untyped-call]
        found(Failing(error))
        with pytest.raises(TryLater, match="credentials"):
            Reader(clock=hand).token("acme")
        assert hand.slept

    def test_a_client_of_ones_own(self, store: SecretManagerServer) -> None:
        """A client that is handed over is used as it is, and nothing is asked of the environment."""
        put(store, long_lived())
        client = secretmanager_v1.SecretManagerServiceClient(
            transport="rest",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": f"http://{store.address}"},
        )
        assert Reader(PROJECT, client=client).access_token("acme") == "access-1"


class TestTheUsualReader:
    def test_is_made_once_from_the_environment(
        self, store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The functions of the module share one reader, and its memory."""
        monkeypatch.setenv("SECRET_PREFIX", "other")
        store.create("other-token-acme", project=PROJECT)
        store.add_version("other-token-acme", long_lived().token_payload())
        assert reader.access_token("acme") == reader.token("acme").access_token == "access-1"
        assert len(store.calls) == 2

    def test_no_proxy_before_this_machine(
        self, store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch, hand: HandClock
    ) -> None:
        """The way to an emulator leads through no proxy."""
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        put(store, long_lived())
        assert Reader(clock=hand).access_token("acme") == "access-1"

    def test_the_machines_own_clock(self) -> None:
        """Without a clock of one's own it is the machine's, in UTC."""
        clock = SystemClock()
        assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
        before = clock.monotonic()
        clock.sleep(0)
        assert clock.monotonic() >= before


def test_grpc_says_the_same_in_its_own_way() -> None:
    """A state that forbids reading is known by its class where there is no body."""
    assert reader._status(google_errors.FailedPrecondition("no")) == "FAILED_PRECONDITION"  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("data", [b"", b"123456789", b"\xff" * 100, long_lived().token_payload()])
def test_checksum_is_googles(data: bytes) -> None:
    """The checksum is the one that Google's own package makes."""
    assert reader._crc32c(data) == google_crc32c.value(data)
