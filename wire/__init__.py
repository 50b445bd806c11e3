"""The contract between doorchime's programs: frames, topics, messages, curves, traces, errors.

Pure: standard library and pydantic only, no I/O, no clock. Imports nobody; every program imports it.
"""
