"""The simulated TikTok: its API for Business and its consent pages on a loopback socket."""

from local.tiktok.consent import ACCOUNT_CONSENT_PATH, CONSENT_PATH
from local.tiktok.server import APP_ID, APP_SECRET, TikTokServer

__all__ = ["ACCOUNT_CONSENT_PATH", "APP_ID", "APP_SECRET", "CONSENT_PATH", "TikTokServer"]
