"""Chaos: the whole real system, the worst done to it, and a judge who trusts nobody's word."""
