"""Turns, from the message to the answer, and background work such as the clean-up."""
