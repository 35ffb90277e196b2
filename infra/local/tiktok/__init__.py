"""The simulated TikTok: its API for Business and its consent pages on a loopback socket."""

from local.tiktok.options import Options
from local.tiktok.records import Grant
from local.tiktok.server import ACCOUNT_CONSENT_PATH, APP_ID, APP_SECRET, CONSENT_PATH, TikTokServer

__all__ = ["ACCOUNT_CONSENT_PATH", "APP_ID", "APP_SECRET", "CONSENT_PATH", "Grant", "Options", "TikTokServer"]
