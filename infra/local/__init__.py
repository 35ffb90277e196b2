"""Stand-ins for this machine: an embedded Secret Manager and a simulated TikTok, real servers on loopback sockets."""
