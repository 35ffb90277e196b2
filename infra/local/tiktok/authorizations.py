"""Who authorized which app: approvals, authorization codes and their exchange, for advertisers and account holders.

No HTTP here: endpoints and consent pages ask, this answers or raises `Refusal`.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

from local.tiktok import redirects
from local.tiktok.answers import Refusal
from local.tiktok.options import DEFAULT_ACCOUNT_SCOPE, DEFAULT_SCOPE, Family, Kind, Options
from local.tiktok.records import Approval, Code, Grant
from local.tiktok.tokens import Tokens

CODE_SECONDS: dict[Family, int] = {"advertiser": 3600, "account": 600}
CODE_LENGTH = 40


class Authorizations(Tokens):
    """All apps, codes and grants, safe for many threads.

    Args:
        app_id: the developer app that exists from the start; `add_app` adds others.
        app_secret: its secret.
        options: the behaviour.
        path: file that keeps codes and grants over a restart; None keeps them in memory.
    """

    def __init__(self, app_id: str, app_secret: str, options: Options, path: Path | None) -> None:
        self.app_id, self.app_secret = app_id, app_secret
        super().__init__(options, path)
        self._apps = {app_id: app_secret}

    # Apps.

    def add_app(self, app_id: str, app_secret: str) -> None:
        """Registers one more developer app."""
        with self._lock:
            self._apps[app_id] = app_secret

    def has_app(self, app_id: str) -> bool:
        return app_id in self._apps

    def check_app(self, app_id: str, app_secret: str) -> None:
        """Raises Refusal 40101 unless the secret is the app's."""
        if self._apps.get(app_id) != app_secret:
            raise Refusal(40101)

    def check_client(self, app_id: str, app_secret: str | None = None) -> None:
        """The same as the Accounts API says it: 40113 for an unknown app, 40101 for a wrong secret."""
        if app_id not in self._apps:
            raise Refusal(40113, f"Invalid app id {app_id}")
        if app_secret is not None:
            self.check_app(app_id, app_secret)

    # Approving, as a person would on the consent pages.

    def authorize(
        self,
        kind: Kind | None = None,
        advertisers: Sequence[str] | None = None,
        scope: Sequence[int] | None = None,
        app_id: str | None = None,
    ) -> str:
        """Approves an app as an advertiser.

        Args:
            kind: kind of grant that the code is exchanged for; None for the option.
            advertisers: ids of the ticked ad accounts, possibly none; None for all that are offered.
            scope: permissions; None for the usual ones.
            app_id: None for the first app.

        Returns:
            An authorization code, good for one exchange within an hour.
        """
        offered = [advertiser_id for advertiser_id, _ in self.options.advertisers]
        return self._add_code(
            secrets.token_hex(CODE_LENGTH // 2),
            Code(
                app_id=app_id or self.app_id,
                kind=kind or self.options.kind,
                scope=list(DEFAULT_SCOPE if scope is None else scope),
                expires_at=self.now() + CODE_SECONDS["advertiser"],
                advertiser_ids=list(offered if advertisers is None else advertisers),
            ),
        )

    def authorize_account(
        self,
        account: str | None = None,
        scope: Sequence[str] | None = None,
        *,
        redirect_uri: str | None = None,
        kind: Kind = "expiring",
        app_id: str | None = None,
    ) -> str:
        """Approves an app as the holder of a TikTok account.

        Args:
            account: user name of one of the offered accounts; None for the first.
            scope: names of scopes; None for the usual ones.
            redirect_uri: where the code was sent, which the exchange has to name; None accepts what is registered.
            kind: TikTok's grants of this family expire; "long-lived" is for what may come.
            app_id: None for the first app.

        Returns:
            An authorization code, good for one exchange within ten minutes.
        """
        offered = [username for username, _ in self.options.accounts]
        username = account or offered[0]
        if username not in offered:
            raise ValueError(f"{username} is not one of the accounts {', '.join(offered)}.")
        code = f"{secrets.token_hex(CODE_LENGTH // 2)}*0!{secrets.randbelow(9000) + 1000}-{secrets.token_hex(2)}"
        return self._add_code(
            code,
            Code(
                app_id=app_id or self.app_id,
                kind=kind,
                scope=list(DEFAULT_ACCOUNT_SCOPE if scope is None else scope),
                expires_at=self.now() + CODE_SECONDS["account"],
                family="account",
                username=username,
                redirect_uri=redirect_uri,
            ),
        )

    def grant(
        self,
        kind: Kind | None = None,
        advertisers: Sequence[str] | None = None,
        scope: Sequence[int] | None = None,
        app_id: str | None = None,
    ) -> Grant:
        """Makes an advertiser's grant without a page and without a call."""
        return self._redeem(self.authorize(kind, advertisers, scope, app_id))

    def grant_account(
        self,
        account: str | None = None,
        scope: Sequence[str] | None = None,
        *,
        kind: Kind = "expiring",
        app_id: str | None = None,
    ) -> Grant:
        """Makes an account holder's grant without a page and without a call."""
        return self._redeem(self.authorize_account(account, scope, kind=kind, app_id=app_id))

    # What the token endpoints ask for.

    def exchange(self, app_id: str, app_secret: str, auth_code: str) -> Grant:
        """Uses an advertiser's code up, as POST /oauth2/access_token/ does."""
        with self._lock:
            self.check_app(app_id, app_secret)
            code = self._records.codes.get(auth_code)
            if code is not None and code.family != "advertiser":
                raise Refusal(40115)
            if len(auth_code) != CODE_LENGTH or not set(auth_code) <= set("0123456789abcdef"):
                raise Refusal(40002, "auth_code: Invalid format.")
            if code is None or code.app_id != app_id or code.used or self.now() >= code.expires_at:
                raise Refusal(40110)
            return self._redeem(auth_code)

    def exchange_account(self, app_id: str, app_secret: str, auth_code: str, redirect_uri: str) -> Grant:
        """Uses an account holder's code up, as POST /tt_user/oauth2/token/ does: it looks at the code first."""
        with self._lock:
            code = self._records.codes.get(auth_code)
            if code is None or self.now() >= code.expires_at:
                raise Refusal(40131)
            if code.family != "account":
                raise Refusal(40115)
            if code.used:
                raise Refusal(40110)
            self.check_client(app_id, app_secret)
            if code.app_id != app_id:
                raise Refusal(40131)
            sent_to = self.options.account_redirect_urls if code.redirect_uri is None else (code.redirect_uri,)
            if not redirects.for_accounts(redirect_uri, sent_to):
                raise Refusal(40002, "redirect_uri: does not match the one that the code was sent to.")
            return self._redeem(auth_code)

    def refresh(self, app_id: str, app_secret: str, refresh_token: str) -> Grant:
        """Uses an advertiser's refresh token, as POST /oauth2/refresh_token/ does."""
        with self._lock:
            self.check_app(app_id, app_secret)
            if self._family_of(app_id, refresh_token) != "advertiser":
                raise Refusal(40107)
            return self._refresh(refresh_token)

    def refresh_account(self, app_id: str, app_secret: str, refresh_token: str) -> Grant:
        """Uses an account holder's refresh token, as POST /tt_user/oauth2/refresh_token/ does."""
        with self._lock:
            self.check_client(app_id, app_secret)
            if self._family_of(app_id, refresh_token) != "account":
                raise Refusal(40131)
            return self._refresh(refresh_token)

    # Inside.

    def _add_code(self, text: str, code: Code) -> str:
        with self._lock:
            self._records.codes[text] = code
            self._records.save()
        return text

    def _redeem(self, auth_code: str) -> Grant:
        with self._lock:
            code = self._records.codes[auth_code]
            code.used = True
            number = len(self._records.approvals)
            self._records.approvals.append(
                Approval(code.app_id, code.scope, code.family, code.advertiser_ids, code.username)
            )
            if code.kind == "expiring":
                self._issue_refresh(number, self.now() + self.options.refresh_seconds)
            self._issue_access(number)
            self._records.save()
            return self._grant(number)
