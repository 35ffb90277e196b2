"""What the simulated TikTok accounts contain: a profile and videos, the same at every run.

Fields are some of those of TikTok's pages "Get profile data of a TikTok account" and "Get video posts of a TikTok
account".
"""

from typing import Any
from zlib import crc32

VIDEOS = 25
FIRST_POSTED = 1_767_225_600  # 2026-01-01T00:00:00Z
WEEK = 7 * 86_400
CAPTIONS = ("Unboxing", "How it is made", "Try-on", "Behind the scenes", "Weekend sale")


def profile(username: str, display_name: str) -> dict[str, Any]:
    """The profile of an account."""
    seed = crc32(username.encode())
    return {
        "username": username,
        "display_name": display_name,
        "followers_count": seed % 90_000 + 1_000,
        "videos_count": VIDEOS,
    }


def videos(username: str) -> list[dict[str, Any]]:
    """The videos of an account, newest first."""
    found = []
    for number in range(VIDEOS, 0, -1):
        seed = crc32(f"{username} {number}".encode())
        item_id = f"7{seed:010d}{number:08d}"
        found.append(
            {
                "item_id": item_id,
                "create_time": str(FIRST_POSTED + number * WEEK // 4),
                "caption": f"{CAPTIONS[number % len(CAPTIONS)]} #{number}",
                "share_url": f"https://www.tiktok.com/@{username}/video/{item_id}",
                "video_views": seed % 50_000,
                "likes": seed % 4_000,
            }
        )
    return found
