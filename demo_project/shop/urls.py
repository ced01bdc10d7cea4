from __future__ import annotations

from django.urls import path

from demo_project.shop import views

app_name = "shop"
urlpatterns = [
    path("", views.products, name="products"),
    path("products/<slug:slug>/", views.product, name="product"),
    path("products/<slug:slug>/add/", views.add, name="add"),
    path("inbox/", views.inbox, name="inbox"),
    path("cart/", views.cart, name="cart"),
    path("cart/<slug:slug>/", views.change, name="change"),
    path("checkout/", views.checkout, name="checkout"),
    path("privacy/", views.privacy, name="privacy"),
    path("thanks/<int:pk>/", views.thanks, name="thanks"),
]
