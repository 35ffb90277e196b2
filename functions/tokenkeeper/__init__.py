"""TikTok Token Keeper: connect an advertiser once, keep a working access token in Google Secret Manager for good."""
