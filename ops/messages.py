"""Bring the translation catalogues up to date: one for the platform, one for each domain app.

Needs GNU gettext (xgettext). What is new has an empty translation; fill it in by hand.
"""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[1]
LANGUAGE = "zh_Hans"
SOURCES = ("platform/praxis", "apps/customer_service", "apps/medical", "apps/legal")


def main() -> None:
    sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    os.chdir(ROOT)
    django.setup()
    for source in SOURCES:
        os.chdir(ROOT / source)
        Path("locale").mkdir(exist_ok=True)
        # Line numbers would change with every edit and hide what a change translates.
        call_command(
            "makemessages",
            locale=[LANGUAGE],
            no_location=True,
            no_wrap=True,
            ignore_patterns=["tests/*"],
        )


if __name__ == "__main__":
    main()
