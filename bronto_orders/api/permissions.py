"""Who may do what: Django's model permissions and the two of this app, beside whatever the project asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

ADD: Final = "bronto_orders.add_order"
CHANGE: Final = "bronto_orders.change_order"
VIEW: Final = "bronto_orders.view_order"
VIEW_DIFF: Final = "bronto_orders.view_diff"
RESYNC: Final = "bronto_orders.resync_order"
VIEW_ACCOUNTS: Final = "bronto_orders.view_accountstatus"

#: Sets of permissions by HTTP method; having all of any one set is enough.
Needs = Mapping[str, Sequence[Sequence[str]]]


class HasWhatTheViewNeeds(BasePermission):
    """The user has one of the sets of permissions that the view names for the method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        needs: Needs = view.needs  # type: ignore[attr-defined]
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in needs:  # answered with 405
            return True
        user: Any = request.user
        return bool(user and user.is_authenticated and any(map(user.has_perms, needs[method])))
