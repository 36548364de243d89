"""What must be up to date before the processes start: schema, static files, translations, seed.

Each step looks first and does nothing when there is nothing to do, so a second start is quick.
"""

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from praxis.accounts.models import User


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """Who may sign in first."""

    name: str
    password: str
    """Empty unless the account was made just now."""


def prepare() -> Administrator:
    """Bring everything up to date. Prints one line for each step that had something to do."""
    migrate()
    if num := compile_translations(translation_directories()):
        print(f"{num} translations compiled", flush=True)  # noqa: T201
    collect_static_files()
    return seed()


def migrate() -> None:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        print(f"{len(plan)} migrations to apply", flush=True)  # noqa: T201
        call_command("migrate", interactive=False, verbosity=0)


def seed() -> Administrator:
    """Run the seed command and read the line by which it names a new administrator."""
    output = io.StringIO()
    call_command("seed", stdout=output)
    for line in output.getvalue().splitlines():
        match line.split():
            case ["ADMIN", name, password]:
                return Administrator(name=name, password=password)
    first = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    return Administrator(name=first.get_username() if first else "", password="")


def collect_static_files() -> None:
    """`collectstatic`, if a file was added, changed or removed since the last time."""
    target = Path(settings.STATIC_ROOT)
    stamp = target / ".collected"
    fingerprint = _fingerprint(
        Path(storage.path(name)) for finder in get_finders() for name, storage in finder.list([])
    )
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    print("collecting static files", flush=True)  # noqa: T201
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(fingerprint)


def _fingerprint(files: Iterable[Path]) -> str:
    facts = sorted(
        f"{path}:{status.st_mtime_ns}:{status.st_size}"
        for path in files
        for status in (path.stat(),)
    )
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def translation_directories() -> list[Path]:
    """The `locale` directories of the project itself, not of the libraries."""
    of_apps = (Path(config.path) / "locale" for config in apps.get_app_configs())
    own = (path for path in of_apps if path.is_relative_to(settings.BASE_DIR))
    inside_venv = settings.BASE_DIR / ".venv"
    return [
        path
        for path in {*map(Path, settings.LOCALE_PATHS), *own}
        if path.is_dir() and not path.is_relative_to(inside_venv)
    ]


def compile_translations(directories: Iterable[Path]) -> int:
    """Write each `.mo` that is missing or older than its `.po`; returns how many."""
    num_compiled = 0
    for directory in directories:
        for source in sorted(directory.glob("*/LC_MESSAGES/*.po")):
            target = source.with_suffix(".mo")
            if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
                continue
            with source.open("rb") as file:
                catalog = read_po(file, locale=source.parts[-3])
            # Renamed when complete: another process may be reading the old one.
            unfinished = target.with_suffix(f".mo.{os.getpid()}")
            with unfinished.open("wb") as file:
                write_mo(file, catalog)
            unfinished.replace(target)
            num_compiled += 1
    return num_compiled
