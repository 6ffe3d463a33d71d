#!/usr/bin/env python3
"""Ask for the secrets and run a command that has them in its environment, as TF_VAR_secrets: nowhere else.

    python3 infra/ask_secrets.py terraform -chdir=infra apply -var-file=mine.tfvars
    python3 infra/ask_secrets.py --only OPENAI_API_KEY terraform -chdir=infra apply -var-file=mine.tfvars

What is typed is not shown and is in no file, history or process list. The secret of the stream tickets is made here and
seen by nobody. Which names there are is said in variables.tf (`secrets`); what becomes of them, in secrets.tf.
Standard library only: it runs before anything is installed.
"""

import argparse
import getpass
import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Mapping

# What each looks like (Twilio: API, account SID and auth token); what cannot be right is asked for again.
ASKED: Mapping[str, tuple[str, str]] = {
    "TWILIO_ACCOUNT_SID": ("Twilio account SID (AC…)", r"AC[0-9a-fA-F]{32}"),
    "TWILIO_AUTH_TOKEN": ("Twilio auth token (two with a comma while it is rotated)", r"[0-9a-f]{32}(,[0-9a-f]{32})?"),
    "OPENAI_API_KEY": ("OpenAI API key", r"\S+"),
    "AMIVOICE_API_KEY": ("AmiVoice app key", r"\S+"),
    "TRIGGER_KEYS": (
        "keys of those who may ask for calls, comma-separated, 16 characters or more each",
        r"[^\s,]{16,}(,[^\s,]{16,})*",
    ),
}
TICKETS = "STREAM_TICKET_SECRET"
FIRST = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY", "AMIVOICE_API_KEY", TICKETS)
TRIES = 3


def main() -> int:
    """Returns only when the command could not be run: otherwise it takes this process's place."""
    options = _options()
    if not sys.stdin.isatty():
        _say("ask_secrets.py asks at a terminal; a machine sets TF_VAR_secrets itself")
        return 2
    try:
        values = {name: _value(name) for name in _wanted(options)}
    except (ValueError, EOFError, KeyboardInterrupt) as exc:
        _say(f"\nnothing was run: {exc or 'interrupted'}")
        return 1
    environment = {**os.environ, "TF_VAR_secrets": as_hcl(values)}
    try:
        os.execvpe(options.command[0], options.command, environment)  # noqa: S606 -- the operator's own command
    except OSError as exc:
        _say(f"{options.command[0]} could not be run: {exc.strerror}")
        return 127


def as_hcl(values: Mapping[str, str]) -> str:
    """The values as Terraform reads a map from the environment: JSON, in which `${` and `%{` would begin a template."""
    text = json.dumps(dict(values), ensure_ascii=False)
    return re.sub(r"([$%])\{", r"\1\1{", text)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Ask for the secrets and run a command that has them as TF_VAR_secrets."
    )
    parser.add_argument("--only", action="append", choices=[*ASKED, TICKETS], help="ask for this one (may be repeated)")
    parser.add_argument("--trigger-keys", action="store_true", help="ask for TRIGGER_KEYS too (trigger_auth = key)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="such as: terraform apply")
    options = parser.parse_args()
    if not options.command:
        parser.error("which command shall have the secrets? For example: terraform -chdir=infra apply")
    return options


def _wanted(options: argparse.Namespace) -> Iterable[str]:
    return options.only or (*FIRST, *(["TRIGGER_KEYS"] if options.trigger_keys else []))


def _value(name: str) -> str:
    if name == TICKETS:
        return secrets.token_urlsafe(32)
    words, form = ASKED[name]
    for _ in range(TRIES):
        value = getpass.getpass(f"{words}: ").strip()
        if re.fullmatch(form, value):
            return value
        _say(f"That is not what {name} looks like.")
    raise ValueError(f"{name} was not given")


if __name__ == "__main__":
    sys.exit(main())
