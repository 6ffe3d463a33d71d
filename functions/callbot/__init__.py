"""The core that the HTTP functions and the stream service share. It imports neither."""
