"""Failed handshakes in words; what the messages of real handshakes are is tested on mosquitto."""

import ssl

import pytest

from wire.enrolment import renewal_text
from wire.tls import MIN_VERSION, explain_alert, explain_refused


@pytest.mark.parametrize(
    ("number", "word"),
    [(9, "not_yet_valid"), (10, "server_expired"), (18, "unknown_ca"), (19, "unknown_ca"), (20, "unknown_ca"),
     (21, "unknown_ca"), (23, "server_revoked"), (62, "wrong_host"), (64, "wrong_host"), (1, "untrusted")],
)  # fmt: skip
def test_what_we_find_wrong_with_the_broker(number, word):
    found, text = explain_refused(number, "broker.shop", "/etc/ca.pem")
    assert found == word
    assert text.startswith("the certificate of broker.shop ")
    assert "{" not in text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("failed to receive on socket: [SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert (_ssl.c:2580)", "expired"),
        ("[SSL: SSL/TLS_ALERT_CERTIFICATE_REVOKED] ssl/tls alert certificate revoked (_ssl.c:2580)", "revoked"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:1)", "no_certificate"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:1)", "not_theirs"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)", "no_tls"),
        ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1)", "version"),
        ("[SSL: SOMETHING_NEW] something new (_ssl.c:1)", "tls"),
    ],
)
def test_what_the_broker_finds_wrong_with_us(text, word):
    found, told = explain_alert(text, "broker.shop")
    assert found == word
    assert told.startswith("broker.shop")


@pytest.mark.parametrize(
    "text", ["", "Sending PINGREQ", "failed to receive on socket: [Errno 104] reset", "SSL", "[SSL"]
)
def test_other_news_is_not_about_tls(text):
    assert explain_alert(text, "broker.shop") is None


def test_the_oldest_version_has_a_name_that_python_knows():
    assert ssl.TLSVersion[MIN_VERSION] is ssl.TLSVersion.TLSv1_2


def test_what_is_signed_to_renew_is_fixed():
    assert renewal_text("edge-door", "CSR\n") == b"doorchime renewal v1\nedge-door\nCSR\n"
