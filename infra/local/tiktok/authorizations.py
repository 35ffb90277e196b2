"""Who authorized the app: approvals, authorization codes and their exchange, for advertisers and account holders.

No HTTP here: endpoints and consent pages ask, this answers or raises `Refusal`.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

from local.tiktok.answers import Refusal
from local.tiktok.options import Family, Kind, Options
from local.tiktok.records import Approval, Code, Grant
from local.tiktok.tokens import Tokens

CODE_SECONDS: dict[Family, int] = {"advertiser": 3600, "account": 600}
CODE_LENGTH = 40


class Authorizations(Tokens):
    """The app, all codes and all grants, safe for many threads.

    Args:
        app_id: the developer app.
        app_secret: its secret.
        options: the behaviour.
        path: file that keeps codes and grants over a restart; None keeps them in memory.
    """

    def __init__(self, app_id: str, app_secret: str, options: Options, path: Path | None) -> None:
        self.app_id, self.app_secret = app_id, app_secret
        super().__init__(options, path)

    def check_app(self, app_id: str, app_secret: str) -> None:
        """Raises Refusal 40101 unless the secret is the app's."""
        if (app_id, app_secret) != (self.app_id, self.app_secret):
            raise Refusal(40101)

    def check_client(self, app_id: str, app_secret: str | None = None) -> None:
        """The same as the Accounts API says it: 40113 for an unknown app, 40101 for a wrong secret."""
        if app_id != self.app_id:
            raise Refusal(40113, f"Invalid app id {app_id}")
        if app_secret is not None:
            self.check_app(app_id, app_secret)

    def authorize(self, kind: Kind, advertisers: Sequence[str], scope: Sequence[int]) -> str:
        """Approves the app as an advertiser.

        Args:
            kind: kind of grant that the code is exchanged for.
            advertisers: ids of the ticked ad accounts, possibly none.
            scope: permissions.

        Returns:
            An authorization code, good for one exchange within an hour.
        """
        code = Code(kind, list(scope), self.now() + CODE_SECONDS["advertiser"], advertiser_ids=list(advertisers))
        return self.add_code(secrets.token_hex(CODE_LENGTH // 2), code)

    def authorize_account(self, account: str, scope: Sequence[str], redirect_uri: str) -> str:
        """Approves the app as the holder of a TikTok account.

        Args:
            account: its user name.
            scope: names of scopes.
            redirect_uri: where the code is sent, which the exchange has to name.

        Returns:
            An authorization code, good for one exchange within ten minutes.
        """
        return self.add_account_code(account, scope, redirect_uri, "expiring")

    def add_account_code(self, account: str, scope: Sequence[str], redirect_uri: str | None, kind: Kind) -> str:
        """The same, of either kind; without a redirect URL the exchange may name any."""
        text = f"{secrets.token_hex(CODE_LENGTH // 2)}*0!{secrets.randbelow(9000) + 1000}-{secrets.token_hex(2)}"
        ends = self.now() + CODE_SECONDS["account"]
        return self.add_code(text, Code(kind, list(scope), ends, "account", [], account, redirect_uri))

    def add_code(self, text: str, code: Code) -> str:
        """Remembers a code; returns its text."""
        with self.lock:
            self.records.codes[text] = code
            self.records.save()
        return text

    def exchange(self, app_id: str, app_secret: str, auth_code: str) -> Grant:
        """Uses an advertiser's code up, as POST /oauth2/access_token/ does."""
        with self.lock:
            self.check_app(app_id, app_secret)
            code = self.records.codes.get(auth_code)
            if code is not None and code.family != "advertiser":
                raise Refusal(40115)
            if len(auth_code) != CODE_LENGTH or not set(auth_code) <= set("0123456789abcdef"):
                raise Refusal(40002, "auth_code: Invalid format.")
            if code is None or code.used or self.now() >= code.expires_at:
                raise Refusal(40110)
            return self.redeem(auth_code)

    def exchange_account(self, app_id: str, app_secret: str, auth_code: str, redirect_uri: str) -> Grant:
        """Uses an account holder's code up, as POST /tt_user/oauth2/token/ does: it looks at the code first."""
        with self.lock:
            code = self.records.codes.get(auth_code)
            if code is None or self.now() >= code.expires_at:
                raise Refusal(40131)
            if code.family != "account":
                raise Refusal(40115)
            if code.used:
                raise Refusal(40110)
            self.check_client(app_id, app_secret)
            if code.redirect_uri not in (None, redirect_uri):
                raise Refusal(40002, "redirect_uri: does not match the one that the code was sent to.")
            return self.redeem(auth_code)

    def redeem(self, auth_code: str) -> Grant:
        """What a code is exchanged for, whoever asks."""
        with self.lock:
            code = self.records.codes[auth_code]
            code.used = True
            number = len(self.records.approvals)
            self.records.approvals.append(Approval(code.scope, code.family, code.advertiser_ids, code.username))
            if code.kind == "expiring":
                self._issue_refresh(number, self.now() + self.options.refresh_seconds)
            self._issue_access(number)
            self.records.save()
            return self._grant(number)
