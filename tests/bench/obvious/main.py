"""The obvious way to receive a TikTok authorization, as tutorials write it, to compare with; nothing else uses it.

A global gRPC client of Secret Manager, and TikTok's official SDK from the package registry. It checks no state, takes
no lease, retries nothing and asks for no names: three calls, one after the other.
"""

import json
import os
from contextlib import suppress

import functions_framework
import grpc
from business_api_client import ApiClient, AuthenticationApi, Configuration, Oauth2AccessTokenBody
from flask import Request
from google.api_core.exceptions import AlreadyExists
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

PROJECT = os.environ["GOOGLE_CLOUD_PROJECT"]
secrets = secretmanager.SecretManagerServiceClient(
    transport=SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(os.environ["SECRET_MANAGER_GRPC"]))
)
configuration = Configuration()
configuration.host = os.environ["TIKTOK_API_URL"].partition("/open_api")[0]
tiktok = AuthenticationApi(ApiClient(configuration))


@functions_framework.http
def connect(request: Request) -> tuple[str, int]:
    """Exchange the code, create the secret, add a version."""
    code = request.args.get("auth_code")
    if not code:
        return "TikTok sends people back to this address.", 200
    body = Oauth2AccessTokenBody(
        app_id=os.environ["TIKTOK_APP_ID"], secret=os.environ["TIKTOK_APP_SECRET"], auth_code=code
    )
    data = tiktok.oauth2_access_token(body=body)
    secret = {"replication": {"automatic": {}}}
    name = f"tiktok-{request.args['state']}"
    with suppress(AlreadyExists):
        secrets.create_secret(parent=f"projects/{PROJECT}", secret_id=name, secret=secret)
    secrets.add_secret_version(parent=f"projects/{PROJECT}/secrets/{name}", payload={"data": json.dumps(data).encode()})
    return "Connected.", 200
