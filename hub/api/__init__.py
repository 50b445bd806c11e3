"""HTTP: parse, call a use case, return."""
