"""Local control: commands talk to the daemon of their home over a Unix socket."""
