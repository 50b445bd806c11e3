"""How the hub's process treats its memory."""

import gc

YOUNG_OBJECTS = 50_000
"""New objects between two searches for cycles. Above what one group of 1,000 events makes (about 10 each), or the
search runs in the middle of a group and finds nothing: Python's 700 were measured to take a third of its CPU time.
What waits for it is bounded: about 10 MB."""

MIDDLE, OLD = 20, 100
"""Searches of the young before the middle-aged are searched, and of those before everything is."""


def settle() -> None:
    """Called once when everything is wired: what exists now lives as long as the process and is never searched.

    Events and records form no cycles: counting references frees them at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE, OLD)
