"""The agent on a Raspberry Pi: hears, decides who is here, loses nothing."""
