from __future__ import annotations

from typing import Any, Final

from rest_framework.throttling import ScopedRateThrottle

READ: Final = "bronto_orders"
WRITE: Final = "bronto_orders_write"
REMOTE: Final = "bronto_orders_remote"
LANDING: Final = "bronto_orders_tracking"

#: What holds for a scope that ``DEFAULT_THROTTLE_RATES`` does not name. A rate of None there means no limit.
RATES: Final = {READ: "300/min", WRITE: "600/min", REMOTE: "30/min", LANDING: "120/min"}


class ScopeThrottle(ScopedRateThrottle):
    """Limits each user's calls by the view's ``bronto_scope``.

    Not by ``throttle_scope``: the project's own ScopedRateThrottle would look at that too, and fail for a scope whose
    rate the project has not set.
    """

    scope_attr = "bronto_scope"

    def get_rate(self) -> Any:
        scope = str(self.scope)
        return self.THROTTLE_RATES.get(scope, RATES[scope])
