"""Laptops over SSH: one conversation, what they answer, and which host keys are theirs."""
