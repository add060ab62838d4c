"""Policy: what to ask, whom to serve, whom to dial. Pure."""
