"""Pieces on disk: layout and verification are pure, files and journal are seams."""
