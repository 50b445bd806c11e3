"""The hub's rules. Pure: no I/O, no clock, no randomness; time is an argument."""
