"""What each process of the platform loads, however little it does."""

import os
import subprocess
import sys

from django.conf import settings


def test_it_needs_no_torch() -> None:
    script = "import django, sys; django.setup(); print('torch' in sys.modules)"
    roots = os.pathsep.join(str(settings.BASE_DIR / name) for name in ("platform", "."))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": roots, "DJANGO_SETTINGS_MODULE": "praxis.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
