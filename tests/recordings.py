"""Recordings by others. They are not ours to pass on: tests that need them say so and are left out without them."""

import os
from pathlib import Path

import pytest


def folder(variable, holding):
    """The folder that the environment variable names; without it the test is left out, with what to do about it."""
    given = os.environ.get(variable)
    if not given:
        pytest.skip(f"LEFT OUT: {variable} is not set; it names a folder with {holding}")
    path = Path(given)
    assert path.is_dir(), f"{variable}={given} is no folder"
    return path
