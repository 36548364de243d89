"""Django settings. Environment variables replace the embedded parts; see docs/reference/settings.md.

A setting exists only where two deployments differ; everything else is a constant beside its use.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from modeling.weights.assemble import BASE_MODEL_NAME, default_base_name
from praxis.environment import read_bool, read_int, read_list, read_text, read_url
from praxis.guarded_http import AllowedNetwork

os.environ.setdefault("HF_HUB_OFFLINE", "1")

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(read_text("PRAXIS_VAR", str(BASE_DIR / "var"))).resolve()
VERSION = "0.1.0"

DEBUG = read_bool("PRAXIS_DEBUG", default=False)
HOST = read_text("PRAXIS_HOST", "127.0.0.1")
PORT = read_int("PRAXIS_PORT", default=8000, minimum=1, maximum=65535)
ALLOWED_HOSTS = read_list("PRAXIS_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", HOST])
CSRF_TRUSTED_ORIGINS = read_list("PRAXIS_TRUSTED_ORIGINS", [])
BEHIND_TLS = read_bool("PRAXIS_TLS", default=False)


def _secret_key() -> str:
    """`PRAXIS_SECRET_KEY`, or a key made at the first start and kept in var/, readable by its owner."""
    given = os.environ.get("PRAXIS_SECRET_KEY", "")
    if given:
        if len(given) < 32:
            raise ImproperlyConfigured(
                f"PRAXIS_SECRET_KEY must have at least 32 characters, got {len(given)}."
            )
        return given
    path = VAR_DIR / "secret.key"
    try:
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text()


SECRET_KEY = _secret_key()


def _running_services() -> dict[str, str]:
    """What `manage.py up` has started, by the name of the variable that would replace it."""
    path = VAR_DIR / "run" / "services.json"
    return json.loads(path.read_text()) if path.exists() else {}


_services = _running_services()

DATABASE_URL = read_url(
    "DATABASE_URL",
    schemes=("postgres", "postgresql"),
    example="postgresql://praxis:secret@db.internal:5432/praxis",
) or _services.get("DATABASE_URL", "")
REDIS_URL = read_url(
    "REDIS_URL", schemes=("redis", "rediss", "unix"), example="redis://cache.internal:6379/0"
) or _services.get("REDIS_URL", "redis://127.0.0.1:1/0")
LLM_BASE_URL = read_url(
    "LLM_BASE_URL", schemes=("http", "https"), example="http://vllm.internal:8000/v1"
) or _services.get("LLM_BASE_URL", "http://127.0.0.1:1/v1")
EMBEDDING_BASE_URL = read_url(
    "EMBEDDING_BASE_URL", schemes=("http", "https"), example="http://embed.internal:8000/v1"
) or _services.get("EMBEDDING_BASE_URL", LLM_BASE_URL)
RERANK_BASE_URL = read_url(
    "RERANK_BASE_URL", schemes=("http", "https"), example="http://rerank.internal:8000/v1"
) or _services.get("RERANK_BASE_URL", EMBEDDING_BASE_URL)
LLM_MODEL = read_text("LLM_MODEL", default_base_name())
# How long a turn waits for the language model to read the dialogue's state; 0: it is not asked. The
# shipped model has learnt the form; another one has to be trained on it first.
STATE_READING_MS = read_int(
    "PRAXIS_STATE_READING_MS",
    default=1200 if default_base_name() == LLM_MODEL != BASE_MODEL_NAME else 0,
    minimum=0,
    maximum=60_000,
)
# Folder of a sentence-transformers model instead of the shipped encoder; its tokenizer decides how
# long passages may be, also where another server embeds them, and tuning an encoder starts from it.
ENCODER_FOLDER = read_text("PRAXIS_ENCODER", "")
EMBEDDING_MODEL = read_text(
    "EMBEDDING_MODEL", Path(ENCODER_FOLDER).name if ENCODER_FOLDER else "all-minilm-l6-v2"
)
# Empty: whatever the server at RERANK_BASE_URL has.
RERANK_MODEL = read_text("RERANK_MODEL", "")
LLM_API_KEY = read_text("LLM_API_KEY", _services.get("LLM_API_KEY", ""))
METRICS_TOKEN = read_text("PRAXIS_METRICS_TOKEN", "")
# A Hugging Face folder of the model that LLM_BASE_URL serves; unset: made from the embedded base.
TRAINING_BASE = read_text("PRAXIS_TRAINING_BASE", "")
# CPU threads of a trainer; 0 leaves PyTorch's choice. It runs at a low priority in any case.
TUNING_THREADS = read_int("PRAXIS_TUNING_THREADS", default=0, minimum=0, maximum=1024)


def _database(url: str) -> dict[str, Any]:
    """Django's database settings for a PostgreSQL URL (a `?host=/socket/dir` is a Unix socket)."""
    parts = urlsplit(url)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    host = options.pop("host", parts.hostname or "")
    return {
        "ENGINE": "django_prometheus.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "praxis",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
        "CONN_HEALTH_CHECKS": True,
    }


# Without a database URL the commands that need none (check, makemigrations) still work; the
# others fail with PostgreSQL's own message about this socket directory.
DATABASES = {
    "default": _database(
        DATABASE_URL or f"postgresql:///praxis?host={VAR_DIR / 'run' / 'not-started'}"
    )
}
if DATABASE_URL:
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 24, "timeout": 15}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DOMAIN_APPS = read_list(
    "PRAXIS_DOMAIN_APPS", ["apps.customer_service", "apps.medical", "apps.legal"]
)
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_htmx",
    "django_prometheus",
    "praxis.accounts",
    "praxis.jobs",
    "praxis.assistants",
    "praxis.conversations",
    "praxis.knowledge",
    "praxis.workbench",
    "praxis.tuning",
    "praxis.answer_cache",
    "praxis.handoff",
    "praxis.analytics",
    "praxis.widget",
    "praxis.integrations",
    "praxis.observability",
    "praxis.local",
    *DOMAIN_APPS,
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
    "praxis.middleware.in_one_thread",
]

ROOT_URLCONF = "praxis.urls"
ASGI_APPLICATION = "praxis.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "platform" / "praxis" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "praxis.accounts.context.navigation",
                "praxis.handoff.context.inboxes",
            ],
        },
    }
]

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("account_login")
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "praxis.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_RATE_LIMITS = {"login_failed": "10/5m/ip,5/5m/key"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        # Clearing the cache empties a whole Redis database; the queues live in number 0.
        "OPTIONS": {"db": 1},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_NAME = "__Host-session" if BEHIND_TLS else "session"
SECURE_SSL_REDIRECT = BEHIND_TLS
SECURE_REDIRECT_EXEMPT = [r"^live$", r"^ready$"]  # probes come without TLS
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "manifest-src": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
    },
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "platform" / "praxis" / "locale"]
TIME_ZONE = read_text("PRAXIS_TIME_ZONE", "UTC")
USE_TZ = True
LANGUAGE_COOKIE_SAMESITE = "Lax"

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "platform" / "praxis" / "static"]
MEDIA_ROOT = VAR_DIR / "files"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440

EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
if _smtp := read_url("EMAIL_URL", schemes=("smtp", "smtps"), example="smtps://user:pw@mail:465"):
    _mail = urlsplit(_smtp)
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST = _mail.hostname or ""
    EMAIL_PORT = _mail.port or (465 if _mail.scheme == "smtps" else 25)
    EMAIL_HOST_USER = unquote(_mail.username or "")
    EMAIL_HOST_PASSWORD = unquote(_mail.password or "")
    EMAIL_USE_SSL = _mail.scheme == "smtps"
    EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = read_text("PRAXIS_FROM_EMAIL", "praxis@localhost")


def _networks(name: str, given: list[str]) -> list[AllowedNetwork]:
    """Private networks, as CIDR with an optional port; see guarded_http.py."""
    try:
        return [AllowedNetwork.parse(text) for text in given]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from error


# What webhooks may reach, and what an import of web pages may read.
WEBHOOK_ALLOWED_NETWORKS = _networks(
    "PRAXIS_WEBHOOK_NETWORKS", read_list("PRAXIS_WEBHOOK_NETWORKS", [])
)
IMPORT_ALLOWED_NETWORKS = _networks(
    "PRAXIS_IMPORT_NETWORKS", read_list("PRAXIS_IMPORT_NETWORKS", [])
)
# WORKSPACE/CORPUS/… below it is imported as it changes; unset: no folder is watched.
WATCHED_FOLDER = read_text("PRAXIS_WATCHED_FOLDER", "")

# The broker only rings; every message is acknowledged early because the job row decides.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "interactive"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s", "datefmt": "%H:%M:%S"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}

UNFOLD = {"SITE_TITLE": "Praxis", "SITE_HEADER": "Praxis"}
