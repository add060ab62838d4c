"""The node that stays on: many shares, kept across restarts, opened when somebody asks."""
