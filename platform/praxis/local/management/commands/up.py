"""Listed by `manage.py help`. The work is in `praxis.local.startup`."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Starts everything in the foreground: databases, model server, workers and web."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        # `manage.py up` starts it before the settings are read and never comes here; from
        # `django-admin` or `call_command` they have been, so the process begins anew.
        manage = str(settings.BASE_DIR / "manage.py")
        os.execv(sys.executable, [sys.executable, manage, "up"])  # noqa: S606
