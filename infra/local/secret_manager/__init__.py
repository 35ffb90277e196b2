"""The embedded Secret Manager: Secret Manager's REST API v1 on a loopback socket."""

from local.secret_manager.server import SecretManagerServer

__all__ = ["SecretManagerServer"]
