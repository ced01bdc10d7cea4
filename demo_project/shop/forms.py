from __future__ import annotations

from typing import Any

from django import forms

from demo_project.shop.cart import MOST_OF_ONE


class PlainForm(forms.Form):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)


class CheckoutForm(PlainForm):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    email = forms.EmailField(
        label="E-mail address",
        help_text="Bronto files the order under it.",
        widget=forms.EmailInput(attrs={"autocomplete": "email", "placeholder": "ada@example.com"}),
    )


class QuantityForm(PlainForm):
    quantity = forms.IntegerField(min_value=0, max_value=MOST_OF_ONE, initial=1)
