"""What docs/scaling.md says in numbers, measured; never imported by the bridge."""
