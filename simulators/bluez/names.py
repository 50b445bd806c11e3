"""Names on the bus: interfaces, errors, and the D-Bus type of every property that the fake has."""

BLUEZ = "org.bluez"
ADAPTER = "org.bluez.Adapter1"
DEVICE = "org.bluez.Device1"
MONITOR_MANAGER = "org.bluez.AdvertisementMonitorManager1"
MONITOR = "org.bluez.AdvertisementMonitor1"

DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"

ROOT = "/"
BLUEZ_ROOT = "/org/bluez"

ERRORS = {
    "AlreadyExists": "Already Exists",
    "Blocked": "Blocked through rfkill",
    "DoesNotExist": "Does Not Exist",
    "Failed": "Operation failed",
    "InProgress": "Operation already in progress",
    "InvalidArguments": "Invalid arguments in method call",
    "NotAuthorized": "Operation Not Authorized",
    "NotReady": "Resource Not Ready",
    "NotSupported": "Operation is not supported",
}
"""Last word of BlueZ's error names, and the text that BlueZ puts beside it (its src/error.c)."""

UNKNOWN_METHOD = "org.freedesktop.DBus.Error.UnknownMethod"
UNKNOWN_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"
UNKNOWN_INTERFACE = "org.freedesktop.DBus.Error.UnknownInterface"
UNKNOWN_PROPERTY = "org.freedesktop.DBus.Error.UnknownProperty"
READ_ONLY = "org.freedesktop.DBus.Error.PropertyReadOnly"
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"


def error_name(word: str) -> str:
    """`InProgress` → `org.bluez.Error.InProgress`; a name with a dot stays as it is."""
    return word if "." in word else f"org.bluez.Error.{word}"


SIGNATURES = {
    "Adapter": "o",
    "Address": "s",
    "AddressType": "s",
    "AdvertisingData": "a{yv}",
    "AdvertisingFlags": "ay",
    "Alias": "s",
    "Appearance": "q",
    "Blocked": "b",
    "Bonded": "b",
    "Class": "u",
    "Connected": "b",
    "Discoverable": "b",
    "DiscoverableTimeout": "u",
    "Discovering": "b",
    "LegacyPairing": "b",
    "ManufacturerData": "a{qv}",
    "Name": "s",
    "Pairable": "b",
    "PairableTimeout": "u",
    "Paired": "b",
    "PowerState": "s",
    "Powered": "b",
    "RSSI": "n",
    "Roles": "as",
    "ServiceData": "a{sv}",
    "ServicesResolved": "b",
    "SupportedFeatures": "as",
    "SupportedMonitorTypes": "as",
    "Trusted": "b",
    "TxPower": "n",
    "UUIDs": "as",
}
"""D-Bus type per property. The variants within `a{qv}`, `a{sv}` and `a{yv}` are byte arrays."""

WRITABLE = {
    ADAPTER: {"Alias", "Discoverable", "DiscoverableTimeout", "Pairable", "PairableTimeout", "Powered"},
    DEVICE: {"Alias", "Blocked", "Trusted"},
}
"""Properties that a client may set."""

METHODS: dict[str, dict[str, tuple[str, str]]] = {
    ADAPTER: {
        "GetDiscoveryFilters": ("", "as"),
        "RemoveDevice": ("o", ""),
        "SetDiscoveryFilter": ("a{sv}", ""),
        "StartDiscovery": ("", ""),
        "StopDiscovery": ("", ""),
    },
    DEVICE: {"Connect": ("", ""), "Disconnect": ("", ""), "Pair": ("", "")},
    MONITOR_MANAGER: {"RegisterMonitor": ("o", ""), "UnregisterMonitor": ("o", "")},
    PROPERTIES: {"Get": ("ss", "v"), "GetAll": ("s", "a{sv}"), "Set": ("ssv", "")},
    OBJECTS: {"GetManagedObjects": ("", "a{oa{sa{sv}}}")},
    INTROSPECTABLE: {"Introspect": ("", "s")},
    DBUS: {
        "AddMatch": ("s", ""),
        "GetConnectionUnixProcessID": ("s", "u"),
        "GetConnectionUnixUser": ("s", "u"),
        "GetId": ("", "s"),
        "GetMachineId": ("", "s"),
        "GetNameOwner": ("s", "s"),
        "Hello": ("", "s"),
        "ListActivatableNames": ("", "as"),
        "ListNames": ("", "as"),
        "ListQueuedOwners": ("s", "as"),
        "NameHasOwner": ("s", "b"),
        "Ping": ("", ""),
        "ReleaseName": ("s", "u"),
        "RemoveMatch": ("s", ""),
        "RequestName": ("su", "u"),
        "StartServiceByName": ("su", "u"),
    },
}
"""Methods per interface: signature in, signature out."""

SIGNALS: dict[str, dict[str, str]] = {
    PROPERTIES: {"PropertiesChanged": "sa{sv}as"},
    OBJECTS: {"InterfacesAdded": "oa{sa{sv}}", "InterfacesRemoved": "oas"},
    DBUS: {"NameOwnerChanged": "sss", "NameAcquired": "s", "NameLost": "s"},
}
"""Signals per interface and what they carry."""
