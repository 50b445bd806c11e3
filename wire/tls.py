"""What a failed TLS handshake means, in words that say what to do. Pure: the programs make the connections.

Numbers are OpenSSL's `X509_V_ERR_*` (what *we* found wrong with the broker's certificate); words are the alerts of
RFC 8446 section 6 as OpenSSL spells them (what the *broker* found wrong with ours).
"""

import re

MIN_VERSION = "TLSv1_2"
"""Name of the oldest `ssl.TLSVersion` accepted: older ones are forbidden by RFC 8996."""

MAX_TOLD_CHARS = 200
"""Longest text of OpenSSL's own that is passed on."""

_OURS = {
    9: ("not_yet_valid", "{server} is not valid yet: set this machine's clock"),
    10: ("server_expired", "{server} has expired: renew it there"),
    18: ("unknown_ca", "{server} is not signed by the CA in {ca}: is it the right broker, and the right CA?"),
    19: ("unknown_ca", "{server} is not signed by the CA in {ca}: is it the right broker, and the right CA?"),
    20: ("unknown_ca", "{server} is not signed by the CA in {ca}: is it the right broker, and the right CA?"),
    21: ("unknown_ca", "{server} is not signed by the CA in {ca}: is it the right broker, and the right CA?"),
    23: ("server_revoked", "{server} has been revoked"),
    62: ("wrong_host", "{server} is for another host name than {host}: write the name that it is made for"),
    64: ("wrong_host", "{server} is for another address than {host}: write the name that it is made for"),
}

_THEIRS = {
    "CERTIFICATE_EXPIRED": ("expired", "our certificate has expired: enrol again"),
    "CERTIFICATE_REVOKED": ("revoked", "our certificate has been revoked: enrol again"),
    "CERTIFICATE_REQUIRED": ("no_certificate", "it asks for a certificate, and we have none: enrol first"),
    "UNKNOWN_CA": ("not_theirs", "it does not know the CA that signed our certificate: enrol at its own hub"),
    "BAD_CERTIFICATE": ("bad_certificate", "it does not take our certificate: enrol again"),
    "HANDSHAKE_FAILURE": ("handshake", "it found no way to speak TLS with us: it may ask for a certificate"),
    "PROTOCOL_VERSION": ("version", "it speaks no TLS from 1.2 on"),
    "WRONG_VERSION_NUMBER": ("no_tls", "it does not speak TLS on this port: write `mqtt://`, or the TLS port"),
    "UNEXPECTED_EOF_WHILE_READING": ("no_tls", "it hung up during the handshake: does this port speak TLS?"),
}


def explain_refused(verify_code: int, host: str, ca: str) -> tuple[str, str]:
    """Why *we* refuse the far end's certificate: a fixed word, and a sentence. `ca` names where our CA stands."""
    word, text = _OURS.get(
        verify_code, ("untrusted", "{server} cannot be trusted (OpenSSL's number " + f"{verify_code})")
    )
    return word, text.format(server=f"the certificate of {host}", host=host, ca=ca)


def explain_alert(text: str, host: str) -> tuple[str, str] | None:
    """Why the *far end* refuses us, from OpenSSL's text of the failure; None when it says nothing about TLS."""
    found = re.search(r"\[SSL(?::([^\]]*))?\]", text)
    if not found:
        return None
    words = re.sub(r"[^A-Z0-9]+", "_", text.upper())  # a Python older than its OpenSSL has no name, only the sentence
    for alert, (word, told) in _THEIRS.items():
        if alert in words:
            return word, f"{host} refused us: {told}" if word not in ("no_tls", "version") else f"{host}: {told}"
    what = (found[1] or "").strip().lower().replace("_", " ")
    return "tls", f"{host}: TLS failed" + (f": {what[:MAX_TOLD_CHARS]}" if what else "")
