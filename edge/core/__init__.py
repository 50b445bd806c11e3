"""The edge's rules. Pure: no I/O, no clock; time is an argument."""
