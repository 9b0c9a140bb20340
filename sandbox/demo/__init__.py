"""``make demo``: sends a voice note through the whole bridge, and shows each step."""
