"""A string out of somebody else's JSON, fit to be kept and sent on. What it means is each protocol's own file."""


def text(value: object) -> str:
    """`value`, which must be a string, without halves of surrogate pairs: JSON can hold one, UTF-8 cannot.

    Raises TypeError for anything but a string.
    """
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value.encode("utf-8", "replace").decode()
