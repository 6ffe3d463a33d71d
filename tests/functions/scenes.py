"""People, numbers and records that the scenes of these tests are made of."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from callbot.agents import Agent
from callbot.calls import Call, Status, StreamState, Turn
from callbot.settings import Part, Settings

ACCOUNT = "AC" + "0" * 32
TOKEN = "0123456789abcdef0123456789abcdef"
CALL_SID = "CA" + "a" * 32
FUNCTIONS_URL = "https://callbot.test"
OUR_NUMBER = "+815011112222"
CALLER = "+819011112222"
HUMAN = "+81312345678"
KEY = "trigger-key-one"
# Of today: by the machine's clock, stores forget what is older than a month.
NOW = datetime.now(UTC).replace(microsecond=0)

ENVIRONMENT = {
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_PHONE_NUMBER": OUR_NUMBER,
    "FUNCTIONS_URL": FUNCTIONS_URL,
    "STREAM_URL": "wss://stream.test/ws",
    "TRIGGER_KEYS": f"{KEY}, second-key",
    "STREAM_TICKET_SECRET": "ticket-secret",
}

AGENT = Agent(
    name="takumi",
    prompt="You are on the telephone.",
    greeting="もしもし、{name}さん。",
    closing="失礼いたします。",
    apology="申し訳ございません。",
    repeat_please="もう一度お願いします。",
    resume="お待たせいたしました。",
    time_warning="まもなくお時間です。",
    time_up="お時間となりました。",
    voicemail="また{name}さんにお電話します。",
    transfer_line="おつなぎします。",
    transfer_failed="おつなぎできませんでした。",
    fillers=("えっと。",),
    idle_prompts=("もしもし？", "聞こえますか？"),
    voice="Polly.Takumi-Neural",
    language="ja-JP",
    connecting="おつなぎしています。",
    transfers={"operator": HUMAN},
    idle_seconds=12,
    max_duration_seconds=900,
)


def settings(**env: str) -> Settings:
    return Settings.read(ENVIRONMENT | env, Part.FUNCTIONS)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def a_call(**fields: Any) -> Call:
    """A call in the middle of its first stream, a minute old."""
    call = Call(
        sid=CALL_SID,
        direction="inbound",
        from_=CALLER,
        to=OUR_NUMBER,
        agent="takumi",
        engine="amivoice",
        created_at=ago(61),
        answered_at=ago(60),
        status=Status.IN_PROGRESS,
        stream=StreamState(generation=1, connected_at=ago(59), seen_at=ago(3)),
    )
    return replace(call, **fields)


def a_turn(n: int = 3, **fields: Any) -> Turn:
    """What the agent is saying, in two sentences."""
    turn = Turn(
        n=n,
        role="agent",
        text="はい。承知しました。",
        engine="amivoice",
        generation=1,
        at=ago(2),
        sentences=("はい。", "承知しました。"),
    )
    return replace(turn, **fields)


def signature(url: str, form: Mapping[str, str], token: str = TOKEN) -> str:
    """What Twilio puts into X-Twilio-Signature, computed from its documentation and not by its package."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
