"""The embedded Secret Manager: Secret Manager's REST API v1 on a loopback socket."""

from local.secret_manager.limits import PERMISSIONS, Quotas
from local.secret_manager.server import KeptSecret, SecretManagerServer

__all__ = ["PERMISSIONS", "KeptSecret", "Quotas", "SecretManagerServer"]
