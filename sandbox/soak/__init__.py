"""Many turns on one bridge, to see whether it grows."""
