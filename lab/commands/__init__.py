"""The experiments' command lines: options in, a `Result` out."""
