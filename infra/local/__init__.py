"""What runs on a developer's machine in place of Google Cloud and TikTok, and what starts it (`make run`)."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
