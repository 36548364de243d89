#!/usr/bin/env python
"""Django's command-line entry point; `manage.py up` starts the whole product."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    # `platform/` is a source root, not a package (it would shadow the standard library's).
    sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    if sys.argv[1:] == ["up"]:
        # It starts the services whose addresses the settings need.
        from praxis.local.startup import main as start_everything

        sys.exit(start_everything())
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
