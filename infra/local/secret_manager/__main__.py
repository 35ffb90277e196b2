"""Starts the embedded Secret Manager alone."""

import sys

from local.secret_manager.server import main

sys.exit(main())
