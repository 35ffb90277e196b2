"""Checks of values that are no settings: labels, the address for TikTok accounts.

What a connection's name may be is in `security/test_abuse`, what fits into a line in `unit/test_api`.
"""

import pytest

from tokenkeeper import checks
from tokenkeeper.checks import Invalid


def test_labels_are_pairs_with_commas_between() -> None:
    """An operator's own labels are found again with a filter; spaces and a comma at the end do not matter."""
    assert checks.labels(" client=acme , team=media-1, empty=,") == {"client": "acme", "team": "media-1", "empty": ""}
    assert checks.labels("") == {}


def test_labels_that_google_or_we_do_not_take_are_refused() -> None:
    """The sentence says what is wrong and shows how labels are written."""
    refused = {
        **dict.fromkeys(("client", "Client=acme", "client=a b", "k" * 64 + "=v"), "not a list of labels"),
        "health=ok": "sets the label health, which the token keeper uses itself",
        ",".join(f"k{number}=v" for number in range(9)): "has 9 labels, more than 8",
    }
    for text, wrong in refused.items():
        with pytest.raises(Invalid, match=wrong) as error:
            checks.labels(text)
        assert "client=acme,team=media" in str(error.value)


def test_an_address_that_tiktok_refuses_for_accounts() -> None:
    """What is fine for advertisers may not be for accounts; the sentence says why."""
    assert checks.unfit_for_accounts("https://example.com/connect") == ""
    assert "begins with http:, and TikTok takes only https" in checks.unfit_for_accounts("http://localhost:8080")
    assert "names a port, and TikTok takes none" in checks.unfit_for_accounts("https://example.com:8443")
