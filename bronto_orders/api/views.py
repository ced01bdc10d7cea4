from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import router, transaction
from django.http import Http404
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.decorators import method_decorator
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, PermissionDenied
from rest_framework.fields import get_error_detail
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ValidationError
from rest_framework.throttling import BaseThrottle

from bronto_orders.api import pagination, parameters, permissions, problems, throttles
from bronto_orders.api.documents import OrderDocument, ResyncWish
from bronto_orders.api.exact import ExactJSONParser, ExactJSONRenderer
from bronto_orders.api.openapi import describe
from bronto_orders.api.parameters import Parameter
from bronto_orders.api.resources import (
    AccountResource,
    DiffResource,
    OrderResource,
    OrderSummary,
    Problem,
    ResyncResource,
)
from bronto_orders.api.upsert import upsert
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import personal, status, tombstones
from bronto_orders.delivery.comparison import compare, erased_sentence
from bronto_orders.delivery.explain import surroundings
from bronto_orders.delivery.resync import Resynced, resync
from bronto_orders.models import AccountStatus, Order
from bronto_orders.models.querysets import OrderQuerySet

#: Columns that the list does not show and that can be long.
LONG_COLUMNS = ("last_sent", "origin_user_agent", "resync_options", "shipping_details")
PROBLEMS = dict.fromkeys((400, 401, 403, 404, 429), Problem)


# A transaction for each request would be open while Bronto is asked, and would keep a lost race from beginning anew.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class View(GenericAPIView[Any]):
    """What all views share. Authentication, and permissions and throttles beside these, are the project's."""

    renderer_classes = [ExactJSONRenderer]
    parser_classes = [ExactJSONParser]
    filter_backends = []
    pagination_class = None
    metadata_class = None
    queryset = Order.objects.all()

    needs: ClassVar[permissions.Needs]
    #: The query parameters that the view knows.
    accepts: ClassVar[tuple[Parameter, ...]] = ()
    #: What the query says.
    query: Mapping[str, Any]

    @property
    def bronto_scope(self) -> str:
        """The throttle scope of the call."""
        return throttles.READ if self.request.method in ("GET", "HEAD") else throttles.WRITE

    def get_permissions(self) -> list[BasePermission]:
        return [*super().get_permissions(), permissions.HasWhatTheViewNeeds()]  # type: ignore[list-item]

    def get_throttles(self) -> list[BaseThrottle]:
        return [*super().get_throttles(), throttles.ScopeThrottle()]

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return problems.handle

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.query = parameters.read(request.query_params, self.accepts)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        done = super().finalize_response(request, response, *args, **kwargs)
        patch_cache_control(done, private=True, no_store=True)
        return done

    def get_serializer_context(self) -> dict[str, Any]:
        """Return what the resources need; ``orders_context`` adds what explanations need."""
        match = self.request.resolver_match
        return {
            **super().get_serializer_context(),
            "may_see_personal_data": personal.may_see(self.request.user),
            "namespace": f"{match.namespace}:" if match and match.namespace else "",
            "now": timezone.now(),
        }

    def orders_context(self, *orders: Order) -> dict[str, Any]:
        """Return what the resources of these orders need."""
        names = {order.account for order in orders}
        statuses = AccountStatus.objects.in_bulk(names)
        accounts = {name: (statuses.get(name), surroundings(name, statuses.get(name))) for name in names}
        return {**self.get_serializer_context(), "accounts": accounts, "tombstones": tombstones.erasures(orders)}


class Orders(View):
    """Orders and how they stand, newest first."""

    needs = {"GET": [[permissions.VIEW]]}
    accepts = (*parameters.FILTERS, *pagination.PARAMETERS)
    pagination_class = pagination.NewestFirst  # type: ignore[assignment]
    serializer_class = OrderSummary

    @describe(parameters=parameters.FILTERS, responses={200: OrderSummary(many=True), **PROBLEMS})
    def get(self, request: Request) -> Response:
        orders: Any = self.get_queryset().defer(*LONG_COLUMNS).filter(parameters.condition(self.query))
        shown: Any = self.paginate_queryset(orders) or []
        return self.get_paginated_response(OrderSummary(shown, many=True, context=self.orders_context(*shown)).data)


def _is(order: Order, account: str, number: str) -> bool:
    # MariaDB's usual collations take no notice of case, nor of spaces at the end.
    return (order.account, order.customer_order_id) == (account, number)


def wrong_number(number: str) -> dict[str, Any]:
    """Return what is wrong with the number of an order that is to be written, as a serializer's errors."""
    column = Order._meta.get_field("customer_order_id")
    try:
        column.clean(number, None)
    except DjangoValidationError as error:
        return {"customerOrderId": get_error_detail(error)}
    return {}


def check_preconditions(request: Request, order: Order | None) -> None:
    """Raise ChangedMeanwhileError unless the order is as the headers say: ``If-Match: "<revision>"`` and the like."""
    wanted = request.headers.get("If-Match")
    if wanted is not None:
        tags = parse_etags(wanted)
        if order is None or (tags != ["*"] and f'"{order.revision}"' not in tags):
            raise problems.ChangedMeanwhileError
    if order is not None and request.headers.get("If-None-Match") == "*":
        raise problems.ChangedMeanwhileError(_("There is such an order already."))


class OrderView(View):
    """Something about the one order that the address names."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if any("\x00" in part for part in self.address()):
            raise Http404

    def address(self) -> tuple[str, str]:
        """Return the account and the order number that are asked for."""
        return self.kwargs["account"], self.kwargs["customer_order_id"]

    def get_order(self) -> Order:
        """Return the order. Raises Http404 if there is none, and what the project's permissions raise."""
        account, number = self.address()
        found: OrderQuerySet = self.get_queryset()  # type: ignore[assignment]
        order = found.filter(account=account, customer_order_id=number).first()
        if order is None or not _is(order, account, number):
            raise Http404
        self.check_object_permissions(self.request, order)
        return order


class OrderDetail(OrderView):
    """An order: what the shop says, and how it stands with Bronto."""

    serializer_class = OrderResource
    needs = {
        "GET": [[permissions.VIEW]],
        "PUT": [[permissions.ADD], [permissions.CHANGE]],
        "PATCH": [[permissions.CHANGE]],
    }

    @describe(responses={200: OrderResource, **PROBLEMS})
    def get(self, request: Request, **kwargs: str) -> Response:
        return self.show(self.get_order())

    @describe(
        request=OrderDocument,
        responses={200: OrderResource, 201: OrderResource, **PROBLEMS, 409: Problem, 412: Problem},
    )
    def put(self, request: Request, **kwargs: str) -> Response:
        """Make the order, or make it what the body says; what the body leaves out is emptied."""
        return self.write(request, partial=False)

    @describe(request=OrderDocument, responses={200: OrderResource, **PROBLEMS, 409: Problem, 412: Problem})
    def patch(self, request: Request, **kwargs: str) -> Response:
        """Change what the body names; null empties. ``lineItems`` are replaced as a whole."""
        return self.write(request, partial=True)

    def write(self, request: Request, *, partial: bool) -> Response:
        """Take the order from the body."""
        account, number = self.address()
        if request.stream is None:
            raise ParseError(_("The body is empty."))
        document = OrderDocument(
            data=request.data, partial=partial, context={"customer_order_id": number, "may_see_personal_data": False}
        )
        wrong = wrong_number(number)
        if not document.is_valid() or wrong:
            raise ValidationError({**document.errors, **wrong})
        if not partial and account not in bronto_settings.account_names:
            raise Http404(_("No account of this name is configured."))

        def allow(order: Order | None) -> None:
            self.check_write(request, order, partial=partial)

        done = upsert(account, number, document.validated_data, allow=allow)
        return self.show(done.order, status=201 if done.created else 200)

    def check_write(self, request: Request, order: Order | None, *, partial: bool) -> None:
        """Raise what the caller gets who may not write the order as it is, or make it."""
        if order is not None:
            if not _is(order, *self.address()):
                raise problems.ConflictError(
                    _("The database takes this number for that of another order, which differs in case or in spaces.")
                )
            self.check_object_permissions(request, order)
        elif partial:
            raise Http404
        if not request.user.has_perm(permissions.ADD if order is None else permissions.CHANGE):
            raise PermissionDenied
        check_preconditions(request, order)

    def show(self, order: Order, **options: Any) -> Response:
        """Return the order as it is now."""
        return Response(OrderResource(order, context=self.orders_context(order)).data, **options)


class OrderDiff(OrderView):
    """An order beside what Bronto acknowledged of it and has of it. Asks Bronto, and changes nothing."""

    serializer_class = DiffResource
    needs = {"GET": [[permissions.VIEW, permissions.VIEW_DIFF]]}
    accepts: ClassVar[tuple[Parameter, ...]] = (parameters.ALL,)

    @property
    def bronto_scope(self) -> str:
        return throttles.REMOTE

    @describe(parameters=[parameters.ALL], responses={200: DiffResource, **PROBLEMS})
    def get(self, request: Request, **kwargs: str) -> Response:
        order = self.get_order()
        comparison = compare(order)
        show_all = self.query.get("all", False)
        changes = [change for change in comparison.changes if show_all or change.verdict.is_difference]
        shown: Any = {"order": order, "comparison": comparison, "changes": changes}
        return Response(DiffResource(shown, context=self.get_serializer_context()).data)


class OrderResync(OrderView):
    """Sends an order to Bronto again."""

    serializer_class = ResyncWish
    needs = {"POST": [[permissions.VIEW, permissions.RESYNC]]}

    @describe(request=ResyncWish, responses={202: ResyncResource, **PROBLEMS, 409: Problem})
    def post(self, request: Request, **kwargs: str) -> Response:
        order = self.get_order()
        wish = ResyncWish(data=request.data)
        wish.is_valid(raise_exception=True)
        if tombstones.is_erased(order):
            raise problems.ErasedError(erased_sentence())
        done = self.resync(order, **wish.validated_data)
        return Response(ResyncResource(done).data, status=202)

    def resync(self, order: Order, *, force: bool, trigger_events: bool) -> Resynced:
        """Queue the order."""
        orders = Order.objects.using(router.db_for_write(Order)).filter(pk=order.pk)
        return resync(orders, trigger="api", force=force, trigger_events=trigger_events)


class Accounts(View):
    """The accounts and how their orders stand. Counts all orders: ask once a minute rather than every second."""

    queryset = AccountStatus.objects.all()  # type: ignore[assignment]
    serializer_class = AccountResource
    needs = {"GET": [[permissions.VIEW_ACCOUNTS]]}

    @describe(responses={200: AccountResource(many=True), **PROBLEMS})
    def get(self, request: Request) -> Response:
        overviews: Any = status.accounts()
        return Response(AccountResource(overviews, many=True).data)


class _ByQuery(OrderView):
    def address(self) -> tuple[str, str]:
        return self.query["account"], self.query["customer_order_id"]


@describe(parameters=parameters.ADDRESS)
class OrderDetailByQuery(_ByQuery, OrderDetail):
    """An order, by account and number in the query."""

    accepts = (*OrderDetail.accepts, *parameters.ADDRESS)


@describe(parameters=parameters.ADDRESS)
class OrderDiffByQuery(_ByQuery, OrderDiff):
    """A comparison, by account and number in the query."""

    accepts = (*OrderDiff.accepts, *parameters.ADDRESS)


@describe(parameters=parameters.ADDRESS)
class OrderResyncByQuery(_ByQuery, OrderResync):
    """Sending again, by account and number in the query."""

    accepts = (*OrderResync.accepts, *parameters.ADDRESS)
