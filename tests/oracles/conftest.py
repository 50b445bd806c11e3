"""Checks against programs that are not ours, each in an environment of its own under `.oracles`: `make oracles`.

Where one is not there its tests are left out, and `tests/conftest.py` says so; with CI set they fail instead.
"""

from tests.conftest import absent_oracles


def pytest_collection_modifyitems(config, items):
    absent = absent_oracles()
    marks = {item: item.get_closest_marker("oracle") for item in items}
    left_out = [item for item, mark in marks.items() if mark is not None and mark.args[0] in absent]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
