"""Seams to the network: transport, TCP, TLS."""
