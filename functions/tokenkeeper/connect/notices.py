"""The texts of the pages that say what happened, whether anything was stored, and what to do next. No HTML.

Words in braces depend on the family that a link is for: see `WORDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from tokenkeeper.grant import Family

WORDS: Mapping[Family, Mapping[str, str]] = {
    "advertiser": {"life": "an hour", "this": "ad accounts", "other": "a TikTok account", "option": ""},
    "account": {
        "life": "ten minutes",
        "this": "a TikTok account",
        "other": "ad accounts",
        "option": " FAMILY=account",
    },
}
"""How long a confirmation at TikTok stays good, what a link is for and what it is not, and what `make link` needs."""
AGAIN = "Open the connect link that you were sent once more and confirm at TikTok again."
TELL = "Tell the person who sent you the link, and give them the reference below."
_NOTHING_STORED = "No. Nothing was stored, and nothing that was connected before has changed."
_UNTOUCHED = "No. The access that was stored before is untouched."


class Notice(NamedTuple):
    """The text of one page."""

    title: str  # the heading
    happened: str  # what happened
    next: str  # what to do next
    stored: str = _NOTHING_STORED  # whether anything was stored
    command: str = ""  # what makes the connect link that is missing, for readers who run this service themselves

    def for_family(self, family: Family) -> Notice:
        """The same text with the family's own words in it."""
        return Notice(*(text.format(**WORDS[family]) for text in self))


DECLINED = Notice(
    "Access was declined",
    "TikTok says that access was not allowed.",
    "If that was not what you wanted, open the connect link that you were sent once more and confirm at TikTok.",
)
INVALID_SCOPE = Notice(
    "TikTok does not accept what this service asks for",
    "This service asks for a permission that its app does not have, so TikTok stopped before asking you. That is a "
    "setting of this service, not a mistake of yours.",
    TELL,
)
MALFORMED = Notice(
    "This address is not complete",
    "Something is missing from the address, or does not belong there, so nothing could be done with it.",
    "Open the connect link that you were sent once more, and let TikTok bring you back here by itself.",
)
STATE_UNKNOWN = Notice(
    "This does not belong to a connection begun in this browser",
    "You came back from TikTok, but not to a connection that was begun here within the last hour.",
    "Open the connect link that you were sent in this browser, continue to TikTok, and finish within an hour. Leave "
    "cookies on for this site.",
)
LINK_INVALID = Notice(
    "This connect link is not valid",
    "The link is incomplete or was changed on its way to you.",
    "Copy the whole link from the message that it came in, or ask for a new one.",
)
LINK_EXPIRED = Notice(
    "This connect link has expired",
    "Connect links are good for a limited time, and this one's is over.",
    "Ask the person who sent it to you for a new one.",
)
LINK_USED = Notice(
    "This connect link was used",
    "A connect link works once. The connection has been made since this one was sent.",
    "Nothing, if that was you. To connect again, ask for a new link.",
    "Not by this page. What the link has connected stays as it is.",
)
PORTAL_REFUSED = Notice(
    "A connect link is needed",
    "You came here by the address that TikTok's own pages show. It does not say which connection you want to make, so "
    "it is not accepted here.",
    "Ask the person who looks after your reports for a connect link, and open that.",
    command="make link CONNECTION=name",
)
NOT_LISTED = Notice(
    "These ad accounts are not expected here",
    "Access was allowed for ad accounts that may not be connected in this way.",
    "Go back to TikTok and tick the expected ad accounts only, or ask the person who looks after your reports for a "
    "connect link.",
)
OTHER_ADVERTISERS = Notice(
    "These are other ad accounts than before",
    "The connection exists already, and none of the ad accounts that you ticked belongs to it. It was left alone, so "
    "that nobody's reports change over to somebody else's accounts by mistake.",
    "Go back to TikTok, log in as the user who has the right ad accounts, and tick those. If the change is meant, ask "
    "the person who sent you the link for one that allows any ad account.",
    _UNTOUCHED,
    "make link CONNECTION=name ANY_ACCOUNT=1",
)
OTHER_ACCOUNT = Notice(
    "This is another TikTok account than before",
    "The connection exists already, for another TikTok account than the one that you chose. It was left alone, so that "
    "nobody's reports change over to somebody else's account by mistake.",
    "Go back to TikTok and choose the account that was connected before. If the change is meant, ask the person who "
    "sent you the link for one that allows any account.",
    _UNTOUCHED,
    "make link CONNECTION=name FAMILY=account ANY_ACCOUNT=1",
)
OTHER_FAMILY = Notice(
    "This connection is for {other}",
    "The connection exists already, for {other}, and this link is for {this}. It was left alone, so that reports do "
    "not lose what they read.",
    "Ask the person who sent you the link for one with another name, or, if the change is meant, for one that allows "
    "any account.",
    _UNTOUCHED,
    "make link CONNECTION=name{option} ANY_ACCOUNT=1",
)
NO_ADVERTISER = Notice(
    "No ad account was ticked",
    "You confirmed at TikTok without ticking an ad account, so there is nothing that reports could read.",
    "Open the connect link once more, and tick at least one ad account at TikTok before you confirm.",
)
NO_ACCOUNT = Notice(
    "TikTok did not name the account",
    "You confirmed at TikTok, but TikTok did not say which TikTok account it was, so there is nothing to keep.",
    "Open the connect link once more, choose the account at TikTok, and confirm again.",
)
NOT_READY = Notice(
    "Please reload this page in a minute",
    "The place where access is stored cannot be reached at the moment.",
    "Reload this page in a minute. Nothing was used up: your confirmation stays good for {life}.",
)
NOT_READY_TO_START = Notice(
    "Please try again in a minute",
    "The place where access is stored cannot be reached at the moment.",
    "Open the connect link once more in a minute. Nothing was used up.",
)
NOT_PERMITTED = Notice(
    "This service is not set up to store access",
    "The place where access is stored refuses it, and that does not pass by itself.",
    "Tell the person who sent you the link, and give them the reference below. Nothing was used up: when they have "
    "repaired it, open the connect link once more.",
)
NOT_KEPT = Notice(
    "This confirmation could not be kept",
    "TikTok gave access, but it could not be stored although that was tried again and again. The people who look "
    "after this have been alerted.",
    "This confirmation cannot be used again. Wait until you are told that it works, then open the connect link once "
    "more and confirm again.",
    "No. Access that was stored before is still there.",
)
TIKTOK_UNREACHABLE = Notice(
    "TikTok did not complete the connection",
    "TikTok could not be reached. Nothing was used up.",
    "Reload this page in a minute: your confirmation stays good for {life}.",
)
NOT_FOUND = Notice(
    "There is nothing at this address",
    "The address was mistyped, or is not complete.",
    "Open the connect link that you were sent; it has to be complete.",
)
BROKEN = Notice(
    "Something went wrong here",
    "That is a defect of this service, not a mistake of yours. It has been written down.",
    "Open the connect link once more. If this happens again, tell the person who sent it to you.",
    "It may have been. Opening the link again shows whether it was used.",
)
NOTHING_TO_SHOW = Notice(
    "There is no result to show",
    "The result of a connection is shown in the browser that made it, for an hour.",
    "If you are not sure whether a connection was made, open its link again: a link that was used says so.",
    "This page does not know.",
)


def tiktok_refused(reason: str, todo: str) -> Notice:
    """The page for a code that TikTok did not exchange."""
    return Notice("TikTok did not complete the connection", reason, todo)


def other_host(public_url: str) -> Notice:
    """The page at another name of this machine than the one that the browser keeps its cookies for."""
    host = urlsplit(public_url).hostname or ""
    return Notice(
        "This address has another name",
        f"This service is at {public_url}, and you opened it under another name of the same machine. Browsers take the "
        "two for different places.",
        f"Open the same address with {host} as its first part.",
    )
