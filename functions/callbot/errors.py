"""What can go wrong, said in terms of whose fault it was. New kinds of failure go here; handling them does not."""


class CallbotError(Exception):
    """The root of every error that callbot raises on purpose."""


class ConfigError(CallbotError):
    """The operator's settings or agents file cannot be used; the text lists everything that is wrong."""


class RefusedError(CallbotError):
    """A request, handshake or message from outside is not acceptable, and nothing was done for it."""


class RemoteError(CallbotError):
    """A vendor or the network failed us.

    `service` names who (`twilio`, `amivoice`, `openai`, `store`), `code` is the vendor's own code where there is
    one, and `retryable` says whether the same thing could succeed a moment later.
    """

    def __init__(self, service: str, message: str, *, retryable: bool, code: str = "") -> None:
        super().__init__(f"{service}: {message}" + (f" ({code})" if code else ""))
        self.service = service
        self.code = code
        self.retryable = retryable


class StoreError(RemoteError):
    """The call store did not answer in time or could not be reached."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__("store", message, retryable=retryable)
