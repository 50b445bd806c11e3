"""Captures of Bluetooth LE traffic, made by other programs, as frames of trace v1. Streams: bytes in, frames out.

source        a file as bytes with offsets; `.xz` and `.gz` are unpacked
formats       which reader a file needs
btsnoop · pcap · pcapng · lines     one file format each: records out of bytes
hci · linklayer                     one kind of packet each: advertisements out of a record
chains        advertising data that came in pieces
conversion    what is kept, when it was heard, what was left out and counted
command       `doorchime sim import`
"""
