"""Client-server against peer-to-peer, measured with real processes of the real `peer`."""
