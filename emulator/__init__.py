"""Local stand-ins for Twilio, AmiVoice and OpenAI, written from their documents, and the `callbot` command line."""
