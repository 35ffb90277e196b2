"""Checks of values that are no settings: labels, the address for TikTok accounts, this machine's names."""

from __future__ import annotations

import pytest

from tokenkeeper import checks
from tokenkeeper.checks import Invalid


class TestLabels:
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("client=acme", {"client": "acme"}),
            (" client=acme , team=media-1,", {"client": "acme", "team": "media-1"}),
            ("empty=", {"empty": ""}),
            ("", {}),
        ],
        ids=["one", "two, with spaces and a comma at the end", "without a value", "none"],
    )
    def test_are_pairs_with_commas_between(self, text: str, labels: dict[str, str]) -> None:
        """An operator's own labels are found again with a filter."""
        assert checks.labels(text) == labels

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("client", "not a list of labels"),
            ("Client=acme", "not a list of labels"),
            ("client=ACME", "not a list of labels"),
            ("1client=acme", "not a list of labels"),
            ("client=a b", "not a list of labels"),
            ("k" * 64 + "=v", "not a list of labels"),
            ("k=" + "v" * 64, "not a list of labels"),
            ("health=ok", "sets the label health, which the token keeper uses itself"),
            (",".join(f"k{number}=v" for number in range(9)), "has 9 labels, more than 8"),
        ],
        ids=[
            "no equals sign",
            "a key in capitals",
            "a value in capitals",
            "a key that begins with a digit",
            "a space",
            "a key of 64 characters",
            "a value of 64 characters",
            "one of ours",
            "nine",
        ],
    )
    def test_that_google_or_we_do_not_take_are_refused(self, text: str, wrong: str) -> None:
        """The sentence says what is wrong and shows how labels are written."""
        with pytest.raises(Invalid, match=wrong) as error:
            checks.labels(text)
        assert "client=acme,team=media" in str(error.value)


def test_an_address_that_tiktok_refuses_for_accounts() -> None:
    """What is fine for advertisers may not be for accounts; the sentence says why."""
    for address, why in [
        ("https://example.com", ""),
        ("https://example.com/connect", ""),
        ("http://localhost:8080", "begins with http:, and TikTok takes only https for TikTok accounts"),
        ("https://example.com:8443", "names a port, and TikTok takes none for TikTok accounts"),
    ]:
        assert checks.unfit_for_accounts(address) == (f"{address} {why}" if why else "")


def test_names_of_this_machine() -> None:
    """To no other may anything go unencrypted."""
    for host, this_machine in [
        ("localhost", True),
        ("LOCALHOST", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("", False),
    ]:
        assert checks.is_this_machine(host) is this_machine


def test_names_of_connections() -> None:
    """1 to 63 of a-z, 0-9 and -, no - at either end: a secret's name is made from nothing else."""
    for name, valid in [
        ("a", True),
        ("acme", True),
        ("acme-eu-1", True),
        ("a" * 63, True),
        ("", False),
        ("a" * 64, False),
        ("-acme", False),
        ("acme-", False),
        ("Acme", False),
        ("acme_eu", False),
        ("acme\n", False),
        ("äcme", False),
        ("../acme", False),
    ]:
        assert (checks.CONNECTION.fullmatch(name) is not None) is valid


def test_what_fits_into_a_line() -> None:
    """What is not printable is not shown; joined emoji are."""
    for text, fits in [
        ("Acme Shoes, Europe", True),
        ("Käthe's 靴 👩\u200d👧", True),
        ("", True),
        ("two\nlines", False),
        ("nul\0", False),
        ("turned \u202e round", False),
        ("sep\u2028arator", False),
    ]:
        assert checks.is_line(text) is fits
