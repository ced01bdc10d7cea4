from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from bronto_orders.tracking import QUERY_PARAMETER, Note
from demo_project.shop.campaigns import CAMPAIGNS
from demo_project.shop.cart import Cart
from demo_project.shop.forms import CheckoutForm, QuantityForm
from demo_project.shop.models import Product, Purchase
from demo_project.shop.orders import place_order
from demo_project.shop.privacy import COOKIE, REFUSED, consent

#: Session key of the purchases that this visitor made and may look at.
PURCHASES = "purchases"


@require_safe
def products(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/products.html", {"products": Product.objects.all()})


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Product, slug=slug)
    return render(request, "shop/product.html", {"product": found, "form": QuantityForm()})


@require_POST
def add(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Product, slug=slug)
    form = QuantityForm(request.POST)
    if not form.is_valid():
        return render(request, "shop/product.html", {"product": found, "form": form}, status=422)
    Cart(request.session).add(found, form.cleaned_data["quantity"])
    messages.success(request, f"{found.name} is in your cart.")
    return redirect("shop:cart")


@require_safe
@never_cache
def inbox(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    mails = [
        {
            "campaign": campaign,
            "sent_at": campaign.sent_at(now),
            "link": f"{landing.get_absolute_url()}?{urlencode({QUERY_PARAMETER: campaign.tid(now)})}",
        }
        for campaign in CAMPAIGNS
        for landing in [get_object_or_404(Product, slug=campaign.product)]
    ]
    return render(request, "shop/inbox.html", {"mails": mails})


@require_safe
@never_cache
def cart(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/cart.html", {"cart": Cart(request.session)})


@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Product, slug=slug)
    form = QuantityForm(request.POST)
    if form.is_valid():
        Cart(request.session).change(found, form.cleaned_data["quantity"])
    else:
        messages.error(request, f"{found.name}: {form.errors['quantity'][0]}")
    return redirect("shop:cart")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def checkout(request: HttpRequest) -> HttpResponse:
    cart = Cart(request.session)
    if not cart.lines:
        messages.info(request, "Your cart is empty.")
        return redirect("shop:cart")
    form = CheckoutForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "shop/checkout.html", {"cart": cart, "form": form}, status=status)
    purchase = place_order(cart, **form.cleaned_data, absolute=request.build_absolute_uri)
    cart.clear()
    request.session[PURCHASES] = [*request.session.get(PURCHASES, []), purchase.pk]
    return redirect(purchase)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def privacy(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "shop/privacy.html", {"is_allowed": consent(request)})
    response = redirect("shop:privacy")
    if request.POST.get("choice") == REFUSED:
        response.set_cookie(COOKIE, REFUSED, httponly=True, samesite="Lax")
    else:
        response.delete_cookie(COOKIE, samesite="Lax")
    return response


@require_safe
@never_cache
def thanks(request: HttpRequest, pk: int) -> HttpResponse:
    if pk not in request.session.get(PURCHASES, []):
        raise Http404("Not a purchase of this visitor.")
    purchase = get_object_or_404(Purchase.objects.select_related("mirror"), pk=pk)
    order = purchase.mirror
    context = {
        "purchase": purchase,
        "lines": purchase.lines.select_related("product"),
        "order": order,
        "why_not_credited": dict(Note.choices).get(order.attribution_note) if order else None,
    }
    return render(request, "shop/thanks.html", context)
