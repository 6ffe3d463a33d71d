"""TLS of the WebSockets that the emulated carrier opens."""

import ssl


def tls_for(scheme: str) -> ssl.SSLContext | None:
    """What to open a WebSocket with whose scheme is `wss`; None for `ws`.

    TLS 1.2: the library reads on one thread and writes on another, which OpenSSL does not allow on one connection. With
    the session tickets that come behind a handshake of TLS 1.3, one request in 130 was never sent (Python 3.11).
    """
    if scheme != "wss":
        return None
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
