"""One connection's language: messages, framing, codec, session. Pure."""
