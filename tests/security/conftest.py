"""Each file here is one attack, tried on a running service.

Those services are started as for ``tests/e2e``.
"""

from __future__ import annotations

from tests.e2e.conftest import deployment, shared_deployment, start_cluster, start_deployment

__all__ = ["deployment", "shared_deployment", "start_cluster", "start_deployment"]
