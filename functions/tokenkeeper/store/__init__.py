"""Secret Manager: names, versions, the lease, and Google's calls. Knows nothing of TikTok."""
