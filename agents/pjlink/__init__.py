"""The PJLink protocol: text, one session, and bringing a projector to a wished state."""
