"""The emulated chat, asked by the vendor's own client."""

from typing import Any

import openai

MODEL = "gpt-6.1-terra"
ASK = [{"role": "user", "content": "営業時間を教えてください。"}]


def stream(client: openai.OpenAI, messages: list[Any] = ASK, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=messages, stream=True, **more)


def words(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
