"""The hub as a program: `build` wires it, `app` is its command line."""

from hub.main.cli import app
from hub.main.wiring import build

__all__ = ["app", "build"]
