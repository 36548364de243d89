"""The ASGI entry point: `uvicorn praxis.asgi:application --app-dir platform`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT / "platform"), str(ROOT)) if path not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")

from django.core.asgi import get_asgi_application  # noqa: E402  (the path comes first)

application = get_asgi_application()
