"""The hub: presence in, consented decisions, decaying offers out."""
