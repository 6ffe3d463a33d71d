"""Twilio on one machine: webhooks, TwiML, REST and media streams."""
