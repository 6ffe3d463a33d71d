"""Strict checks of request bodies, and refusals in OpenAI's words and codes.

A check looks at a value and its path and raises ApiError. Which fields exist is for `chat_request` and
`realtime_config` to say. Wording as seen in the public API's answers (e.g. "Unknown parameter: 'session.voice'.").
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

Check = Callable[[Any, str], None]


class ApiError(Exception):
    """A refusal: `status` is for HTTP, the rest goes into the error object of either API."""

    def __init__(
        self,
        message: str,
        code: str | None = None,
        param: str | None = None,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.status = status
        self.kind = kind

    def as_object(self) -> dict[str, Any]:
        """The error object."""
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}


def _kind(value: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", list: "an array"}
    return "null" if value is None else names.get(type(value), "an object")


def _wrong_type(path: str, expected: str, value: object) -> ApiError:
    message = f"Invalid type for '{path}': expected {expected}, but got {_kind(value)} instead."
    return ApiError(message, "invalid_type", path)


def anything(value: object, path: str) -> None:
    """Any JSON value."""


def text(value: object, path: str) -> None:
    """A string."""
    if not isinstance(value, str):
        raise _wrong_type(path, "a string", value)


def boolean(value: object, path: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise _wrong_type(path, "a boolean", value)


def integer(low: int, high: int) -> Check:
    """A whole number in a range."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(path, "an integer", value)
        _in_range(value, low, high, path, "integer")

    return check


def number(low: float, high: float) -> Check:
    """A number in a range."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong_type(path, "a decimal", value)
        _in_range(value, low, high, path, "decimal")

    return check


def _in_range(value: float, low: float, high: float, path: str, name: str) -> None:
    if value > high:
        message = f"Invalid '{path}': {name} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise ApiError(message, f"{name}_above_max_value", path)
    if not value >= low:  # not a number is neither
        message = f"Invalid '{path}': {name} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise ApiError(message, f"{name}_below_min_value", path)


def choice(*allowed: str) -> Check:
    """One of these strings."""

    def check(value: object, path: str) -> None:
        text(value, path)
        if value not in allowed:
            raise invalid_value(value, path, allowed)

    return check


def invalid_value(value: object, path: str, allowed: Collection[str]) -> ApiError:
    """The refusal of a value that is none of those allowed."""
    quoted = [f"'{name}'" for name in allowed]
    listed = quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f", and {quoted[-1]}"
    return ApiError(f"Invalid value: '{value}'. Supported values are: {listed}.", "invalid_value", path)


def nullable(check: Check) -> Check:
    """null, or what the check wants."""
    return lambda value, path: None if value is None else check(value, path)


def array(check: Check, *, least: int = 0) -> Check:
    """An array whose elements all pass."""

    def check_all(value: object, path: str) -> None:
        if not isinstance(value, list):
            raise _wrong_type(path, "an array of objects", value)
        if len(value) < least:
            message = (
                f"Invalid '{path}': empty array. Expected an array with minimum length {least}, "
                "but got an empty array instead."
            )
            raise ApiError(message, "empty_array", path)
        for place, element in enumerate(value):
            check(element, f"{path}[{place}]")

    return check_all


def record(fields: Mapping[str, Check], required: Collection[str] = ()) -> Check:
    """An object with these fields and no others."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(path, "an object", value)
        check_fields(value, path, fields, required)

    return check


def check_fields(
    value: Mapping[str, Any], path: str, fields: Mapping[str, Check], required: Collection[str] = ()
) -> None:
    """What `record` checks, for an object that is known to be one; `path` may be ""."""
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in fields:
            raise ApiError(f"Unknown parameter: '{prefix}{name}'.", "unknown_parameter", prefix + name)
    for name in required:
        if name not in value:
            message = f"Missing required parameter: '{prefix}{name}'."
            raise ApiError(message, "missing_required_parameter", prefix + name)
    for name, inner in value.items():
        fields[name](inner, prefix + name)


def tagged(tag: str, kinds: Mapping[str, Check]) -> Check:
    """An object whose field `tag` says which check it must pass."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(path, "an object", value)
        if tag not in value:
            message = f"Missing required parameter: '{path}.{tag}'."
            raise ApiError(message, "missing_required_parameter", f"{path}.{tag}")
        choice(*kinds)(value[tag], f"{path}.{tag}")
        kinds[value[tag]](value, path)

    return check


def either(kind: type, first: Check, otherwise: Check) -> Check:
    """One check for values of a Python type, another for all others."""
    return lambda value, path: (first if isinstance(value, kind) else otherwise)(value, path)
