"""Where each of the functions is, made from the one setting that says it for all. Nothing else joins addresses."""

PLACEHOLDER = "{function}"


def function_url(functions_url: str, name: str) -> str:
    """The address of the function `name`, such as `call-flow`, without a trailing slash.

    On one host the functions are paths below FUNCTIONS_URL. Deployed each on its own, their addresses differ by a name
    inside the path, and FUNCTIONS_URL says where it stands: `https://REGION-PROJECT.cloudfunctions.net/mine-{function}`.
    """
    if PLACEHOLDER in functions_url:
        return functions_url.replace(PLACEHOLDER, name)
    return f"{functions_url}/{name}"
