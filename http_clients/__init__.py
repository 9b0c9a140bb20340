"""How requests to providers are made, whichever provider it is."""
