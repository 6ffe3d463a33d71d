"""The Cloud Run WebSocket service that carries the audio of calls."""
