"""What a tool's configuration is made of, which accounts are in it, and what a person should know about it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from tokenkeeper import clock
from tokenkeeper.checks import is_line
from tokenkeeper.cli.show import first_of
from tokenkeeper.errors import SettingsError
from tokenkeeper.grant import Grant
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.coverage import gaps

_LONGEST_NAME = 100  # characters
_MOST_LISTED = 50  # ad accounts


@dataclass(frozen=True)
class Material:
    """What a configuration is made of.

    Attributes:
        grant: The connection's newest grant, for the ad accounts that are wanted.
        since: The first day to be loaded, for tools that have to be told.
        names: Advertisers' names by id, as far as they are known; they come from outside.
        chosen: Whether the ad accounts are a selection.
        app_secret: The app's secret, for the tools that need it (see `Tool`); else empty.
        project: Project that holds the secrets.
        secret_id: The token secret's name.
    """

    grant: Grant
    since: date
    names: Mapping[str, str] = field(default_factory=dict)
    chosen: bool = False
    app_secret: Secret = field(default_factory=lambda: Secret(""))
    project: str = ""
    secret_id: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The advertisers; none where they are too many to be stored."""
        return self.grant.advertiser_ids or ()

    @property
    def named(self) -> Mapping[str, str]:
        """The names of the advertisers that have one, fit for a comment and for a terminal."""
        clean = {
            id_: "".join(letter if is_line(letter) else " " for letter in self.names[id_]).strip()
            for id_ in self.ids
            if id_ in self.names
        }
        return {id_: name[:_LONGEST_NAME] for id_, name in clean.items() if name}

    def only(self, ids: Sequence[str]) -> Material:
        """The same for these ad accounts alone.

        Raises:
            SettingsError: the connection does not reach one of them; the text lists those that it does.
        """
        grant = self.grant
        if grant.family == "account":
            raise SettingsError(f"{grant.connection} is a TikTok account's: there are no ad accounts to choose from.")
        known = grant.advertiser_ids
        unknown = [id_ for id_ in ids if known is not None and id_ not in known]
        if unknown:
            named = self.named
            listed = [f"{id_} {named.get(id_, '')}".strip() for id_ in known or ()]
            reached = first_of(listed, _MOST_LISTED, "; ")
            raise SettingsError(f"{grant.connection} does not reach {', '.join(unknown)}. It reaches: {reached}.")
        return replace(self, grant=grant.with_advertisers(list(dict.fromkeys(ids))), chosen=True)


Write = Callable[[Material], str]


@dataclass(frozen=True)
class Tool:
    """A tool that a configuration can be made for.

    Attributes:
        is_for: What the configuration is, in a line.
        use: What to do with it, as a sentence; `{connection}` stands for the connection's name.
        write: Makes it.
        accounts: Whether it takes the tokens of TikTok accounts, too.
        needs_app_secret: Whether the app's secret is part of it.
        comments: Whether the advertisers' names are in it.
        one_id: Whether it takes one ad account, or all of them without their ids, and no selection.
        holds_token: Whether the access token is in it.
    """

    is_for: str
    use: str
    write: Write
    accounts: bool = False
    needs_app_secret: bool = False
    comments: bool = False
    one_id: bool = False
    holds_token: bool = True

    def check(self, name: str, material: Material) -> None:
        """Check that the tool takes this connection's token and selection.

        Raises:
            SettingsError: it does not.
        """
        grant = material.grant
        if grant.family == "account" and not self.accounts:
            raise SettingsError(
                f"{name} takes tokens of ad accounts, and {grant.connection} is for a TikTok account. Without FOR "
                "(--for), make config lists the tools."
            )
        if self.one_id and material.chosen and len(material.ids) > 1:
            raise SettingsError(f"{name} takes one ad account or all of them: print one configuration for each.")


def notes(tool: Tool, material: Material) -> Iterator[str]:
    """What a person should know about a configuration, a line each; nothing of it is secret."""
    grant = material.grant
    yield tool.use.format(connection=grant.connection)
    if tool.holds_token:
        held = "the access token and the app's secret" if tool.needs_app_secret else "the access token"
        yield f"It holds {held}: keep it out of version control, and let nobody else read it."
    if tool.holds_token and grant.expires_at:
        yield (
            f"The token in it ends at {clock.text(grant.expires_at)}, and is replaced before: print this again before "
            "every job."
        )
    if not tool.one_id and grant.advertiser_ids is None:
        yield (
            f"{grant.connection} has {grant.advertiser_count} ad accounts, too many to be stored, so none is in it: "
            "choose some with ONLY=7001,7002 (--only). TikTok lists all of them: GET /oauth2/advertiser/get/ with "
            "app_id, secret and the token."
        )
    yield from gaps(grant)
    if not tool.comments:
        yield from (f"{id_} {name}" for id_, name in material.named.items())
