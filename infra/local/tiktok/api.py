"""The addresses of TikTok's Business API 1.3 that are simulated."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from local.exchange import Request
from local.tiktok import account_api, advertiser_api, token_api
from local.tiktok.authorizations import Authorizations

API_PATH = "/open_api/v1.3"

Endpoint = tuple[Literal["GET", "POST"], str, Callable[[Authorizations, Request], dict[str, Any]]]

ENDPOINTS: Mapping[str, Endpoint] = {
    f"{API_PATH}/oauth2/access_token/": ("POST", "access_token", token_api.exchange),
    f"{API_PATH}/oauth2/refresh_token/": ("POST", "refresh_token", token_api.refresh),
    f"{API_PATH}/oauth2/revoke_token/": ("POST", "revoke_token", token_api.revoke),
    f"{API_PATH}/oauth2/advertiser/get/": ("GET", "advertiser_get", advertiser_api.advertisers),
    f"{API_PATH}/user/info/": ("GET", "user_info", advertiser_api.user_info),
    f"{API_PATH}/user/info": ("GET", "user_info", advertiser_api.user_info),
    f"{API_PATH}/advertiser/info/": ("GET", "advertiser_info", advertiser_api.advertiser_info),
    f"{API_PATH}/campaign/get/": ("GET", "campaign_get", advertiser_api.campaigns),
    f"{API_PATH}/adgroup/get/": ("GET", "adgroup_get", advertiser_api.ad_groups),
    f"{API_PATH}/ad/get/": ("GET", "ad_get", advertiser_api.ads_of),
    f"{API_PATH}/report/integrated/get/": ("GET", "report", advertiser_api.integrated_report),
    f"{API_PATH}/tt_user/oauth2/token/": ("POST", "account_token", token_api.exchange_account),
    f"{API_PATH}/tt_user/oauth2/refresh_token/": ("POST", "account_refresh_token", token_api.refresh_account),
    f"{API_PATH}/tt_user/oauth2/revoke/": ("POST", "account_revoke", token_api.revoke_account),
    f"{API_PATH}/tt_user/token_info/get/": ("POST", "account_token_info", token_api.token_info),
    f"{API_PATH}/business/get/": ("GET", "account_profile", account_api.profile),
    f"{API_PATH}/business/video/list/": ("GET", "account_videos", account_api.video_list),
}
"""Method, the name that a call is recorded under, and what answers it, by path. The trailing slash is needed; only who
approved can be asked for without it, as singer-io's tap does."""
