"""What Introspect answers: enough for busctl, d-feet and proxy objects."""

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from simulators.bluez import names
from simulators.bluez.events import Properties
from simulators.bluez.wire import split

HEAD = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


def describe(path: str, tree: Mapping[str, Mapping[str, Properties]]) -> str:
    """XML of one object: its interfaces, and the names of the objects below it."""
    present = dict(tree.get(path, {}))
    shown = [_interface(name, properties) for name, properties in present.items()]
    shown.append(_interface(names.INTROSPECTABLE, {}))
    if path == names.ROOT:
        shown.append(_interface(names.OBJECTS, {}))
    if present:
        shown.append(_interface(names.PROPERTIES, {}))
    prefix = path.rstrip("/") + "/"
    below = sorted({other[len(prefix) :].split("/")[0] for other in tree if other.startswith(prefix)})
    nodes = "".join(f"  <node name={quoteattr(name)}/>\n" for name in below)
    return f"{HEAD}<node>\n{''.join(shown)}{nodes}</node>\n"


def describe_bus() -> str:
    """XML of the bus itself."""
    return f"{HEAD}<node>\n{_interface(names.DBUS, {})}{_interface(names.INTROSPECTABLE, {})}</node>\n"


def _interface(name: str, properties: Properties) -> str:
    lines = [f"  <interface name={quoteattr(name)}>\n"]
    for method, (takes, gives) in names.METHODS.get(name, {}).items():
        args = [f'      <arg type="{one}" direction="in"/>\n' for one in split(takes)]
        args += [f'      <arg type="{one}" direction="out"/>\n' for one in split(gives)]
        lines.append(f'    <method name="{method}">\n{"".join(args)}    </method>\n')
    for signal, carries in names.SIGNALS.get(name, {}).items():
        args = [f'      <arg type="{one}"/>\n' for one in split(carries)]
        lines.append(f'    <signal name="{signal}">\n{"".join(args)}    </signal>\n')
    writable = names.WRITABLE.get(name, set())
    for one in sorted(properties):
        access = "readwrite" if one in writable else "read"
        lines.append(f'    <property name="{one}" type="{names.SIGNATURES[one]}" access="{access}"/>\n')
    return "".join([*lines, "  </interface>\n"])
