"""Where other peers' addresses come from."""
