"""TLS towards the broker: the context of a connection, and what a failed handshake is called."""

import ssl
from pathlib import Path
from typing import NamedTuple

from wire.errors import BadConfig
from wire.tls import MIN_VERSION, explain_alert, explain_refused


class TlsFiles(NamedTuple):
    """Files of one connection, all PEM. `ca` None: the CAs of the system; `cert` None: no certificate of ours.

    `key` None: the key stands in the file of the certificate.
    """

    ca: Path | None
    cert: Path | None
    key: Path | None


class _Closing(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho leaves that to the collector, a socket for every attempt."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLWantReadError:
            raise
        except OSError:
            self.close()
            raise


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that checks chain and host name. Read anew for every connection: a renewed certificate is taken up.

    Raises:
        BadConfig: a file is missing or not what it should be; the text names it.
    """
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except (OSError, ValueError) as exc:
        raise BadConfig(f"broker_ca_file {files.ca}: {_why(exc, 'holds no certificate in PEM')}") from exc
    context.minimum_version = ssl.TLSVersion[MIN_VERSION]
    context.sslsocket_class = _Closing
    if files.cert is not None:
        try:
            context.load_cert_chain(files.cert, files.key)
        except (OSError, ValueError) as exc:
            named = f"broker_cert_file {files.cert}" + (f", broker_key_file {files.key}" if files.key else "")
            why = _why(exc, "must hold a certificate and the key that belongs to it, in PEM")
            raise BadConfig(f"{named}: {why}") from exc
    return context


def explain(exc: OSError | BadConfig, host: str, files: TlsFiles | None) -> tuple[str, str]:
    """A fixed word and a sentence for a connection that failed."""
    if isinstance(exc, BadConfig):  # a file has gone meanwhile; the line comes back with it
        return "files", str(exc)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return explain_refused(exc.verify_code, host, str(files.ca) if files and files.ca else "the system's store")
    if files is not None and isinstance(exc, ConnectionResetError):
        return "no_tls", f"{host}: it hung up during the handshake: does this port speak TLS?"
    told = explain_alert(str(exc), host) if isinstance(exc, ssl.SSLError) else None
    return told or (f"errno {exc.errno}", exc.strerror or type(exc).__name__)


def _why(exc: Exception, otherwise: str) -> str:
    """An SSLError is an OSError too: its text would only say where in OpenSSL it happened."""
    if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError):
        return exc.strerror or type(exc).__name__
    return otherwise
