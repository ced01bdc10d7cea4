"""The wheel holds what it should and works in a project that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import django
import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
SETTINGS = """
SECRET_KEY = "minimal"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
    "django.contrib.sessions", "bronto_orders",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "bronto_orders.middleware.TrackingMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"transaction_mode": "IMMEDIATE"},
}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CLIENT_ID": "id", "CLIENT_SECRET": "secret"}}}
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO_", "COV"))
    }
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "bronto_orders/py.typed",
        "bronto_orders/migrations/0001_initial.py",
        "bronto_orders/sandbox/openapi.json",
        "bronto_orders/sandbox/assets/console.css",
        "bronto_orders/management/commands/bronto_deliver.py",
        "bronto_orders/locale/de/LC_MESSAGES/django.mo",
        "bronto_orders/locale/tr/LC_MESSAGES/django.mo",
    ):
        assert needed in names
    assert any(name.startswith("bronto_orders/templates/") and name.endswith(".html") for name in names)
    assert any(name.startswith("bronto_orders/static/bronto_orders/") and name.endswith(".css") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"bronto_orders"}
    assert not [name for name in names if "__pycache__" in name]


def test_everything_in_the_package_is_in_the_wheel(wheel: Path) -> None:
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "bronto_orders").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_installs_into_a_minimal_project(wheel: Path, tmp_path: Path) -> None:
    environment, project = tmp_path / "env", tmp_path / "project"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, f"django=={django.__version__}", cwd=tmp_path)
    run(python, "-m", "pip", "check", cwd=tmp_path)
    project.mkdir()
    (project / "settings.py").write_text(SETTINGS)
    manage = (python, "-W", "error::DeprecationWarning:bronto_orders", "-m", "django")
    options = ("--settings", "settings", "--pythonpath", project)
    run(*manage, "migrate", *options, cwd=project)
    assert "no issues" in run(*manage, "check", *options, cwd=project)
    assert "No changes" in run(*manage, "makemigrations", "--check", "--dry-run", *options, cwd=project)
    assert "default: nothing due" in run(*manage, "bronto_deliver", *options, cwd=project)
    assert "default: 0 pending" in run(*manage, "bronto_status", *options, cwd=project)
