"""TikTok: the two families of tokens, the meaning of codes, and HTTP. Knows nothing of Secret Manager."""
