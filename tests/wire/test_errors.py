"""The tree of errors drawn in the docstring is the tree of classes."""

import re

import pytest

from wire import errors
from wire.errors import BadCapture, BadTrace, DoorchimeError, LocalFault, RemoteFault

INDENT = 4


def drawn() -> dict[str, str | None]:
    """Each class named in the docstring's tree, and its parent there."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r" {4}((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)", line):
            depth = len(found[1]) // INDENT + ("── " in line)
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else None
    return parents


def classes(parent: type[Exception]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= {child.__name__: parent.__name__} | classes(child)
    return found


ALL: set[type[Exception]] = {DoorchimeError} | {
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
}


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert drawn() == {"DoorchimeError": None} | classes(DoorchimeError)


def test_every_class_of_the_module_stands_in_the_tree() -> None:
    assert {one.__name__ for one in ALL} == drawn().keys()


@pytest.mark.parametrize("error", sorted(ALL - {DoorchimeError}, key=str))
def test_every_error_is_either_their_fault_or_ours(error: type[Exception]) -> None:
    assert issubclass(error, RemoteFault) != issubclass(error, LocalFault)


def test_no_error_is_a_builtin_one_that_a_stranger_might_catch() -> None:
    assert all(set(error.__mro__) - ALL == {Exception, BaseException, object} for error in ALL)


def test_a_bad_trace_names_its_line() -> None:
    error = BadTrace(7, "not a JSON object")
    assert error.line_no == 7
    assert str(error) == "line 7: not a JSON object"


def test_a_bad_capture_names_its_byte() -> None:
    error = BadCapture(16, "cut short")
    assert error.offset == 16
    assert str(error) == "byte 16: cut short"
