"""OpenAI on one machine: chat completions over SSE and Realtime over WebSocket."""

from emulator.openai.faults import OpenAIFaults
from emulator.openai.reports import ChatRequest, Pace, RealtimeReport, ResponseReport, Turn
from emulator.openai.script import Message, Reply, Script, Support, ToolCall
from emulator.openai.server import OpenAI

__all__ = [
    "ChatRequest",
    "Message",
    "OpenAI",
    "OpenAIFaults",
    "Pace",
    "RealtimeReport",
    "Reply",
    "ResponseReport",
    "Script",
    "Support",
    "ToolCall",
    "Turn",
]
