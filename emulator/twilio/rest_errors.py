"""Errors of the REST API, as Twilio's JSON. Which error a request earns is decided where it is handled."""

from __future__ import annotations

from typing import Any


class RestError(Exception):
    """An HTTP answer that is not a success. `code` is Twilio's."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


def not_found(path: str) -> RestError:
    return RestError(404, 20404, f"The requested resource {path} was not found")


def invalid(code: int, message: str) -> RestError:
    return RestError(400, code, message)
