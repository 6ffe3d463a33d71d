"""Local stand-ins for Twilio, AmiVoice and OpenAI, written from the vendors' documents, and the `callbot` command line."""
