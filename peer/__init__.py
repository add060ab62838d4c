"""Manyhands: a peer-to-peer file-sharing node. See docs/architecture.md for the house and its floors."""
