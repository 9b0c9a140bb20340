"""The numbers of docs/scaling.md and docs/performance.md; never imported by the bridge."""
