"""OpenAI on one machine: chat completions over SSE and Realtime over WebSocket."""
