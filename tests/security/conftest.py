"""Each file here is one attack, tried on a running service.

Those services are started as for ``tests/e2e``.
"""

from __future__ import annotations

from tests.e2e.conftest import common_world, start_cluster, start_world, world

__all__ = ["common_world", "start_cluster", "start_world", "world"]
