"""One file per protocol: bytes and text in, events out. No sockets here."""
