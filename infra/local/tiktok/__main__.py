"""Starts the simulated TikTok alone."""

import sys

from local.tiktok.server import main

sys.exit(main())
