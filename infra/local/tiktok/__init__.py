"""The simulated TikTok: its API for Business and its consent page on a loopback socket."""

from local.tiktok.server import APP_ID, APP_SECRET, CONSENT_PATH, TikTokServer

__all__ = ["APP_ID", "APP_SECRET", "CONSENT_PATH", "TikTokServer"]
