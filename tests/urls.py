from __future__ import annotations

from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("bronto/", include("bronto_orders.api.urls")),
    # Browsers ask for it by themselves, and note in the console if there is none.
    path("favicon.ico", lambda request: HttpResponse(status=204)),
]
