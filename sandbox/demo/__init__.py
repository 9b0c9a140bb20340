"""``make demo``: a voice note through the whole bridge, shown step by step."""
