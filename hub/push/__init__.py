"""One file per channel: a class and a pure reply-reader."""
