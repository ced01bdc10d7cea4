from __future__ import annotations

from django.apps import apps
from django.urls import include, path

from tests.urls import urlpatterns

if apps.is_installed("grappelli"):
    urlpatterns = [path("grappelli/", include("grappelli.urls")), *urlpatterns]
