"""First start: an administrator with a random password, a demo workspace, each assistant's demo."""

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from praxis.accounts.models import Role, User, Workspace
from praxis.accounts.services import create_workspace
from praxis.assistants.registry import all_assistants

ADMIN_NAME = "admin"
DEMO_SLUG = "demo"


class Command(BaseCommand):
    help = (
        "Creates what a first visit needs; safe to run again. The administrator's password is "
        "printed once, on the run that creates the account."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="Only the administrator.")

    def handle(self, *args: Any, **options: Any) -> None:
        admin = User.objects.filter(is_superuser=True).order_by("pk").first()
        if admin is None:
            password = secrets.token_urlsafe(15)
            admin = User.objects.create_superuser(ADMIN_NAME, "", password)
            self.stdout.write(f"ADMIN {admin.get_username()} {password}")
        if options["no_demo"]:
            return
        workspace = Workspace.objects.filter(slug=DEMO_SLUG).first()
        if workspace is None:
            workspace = create_workspace(owner=admin, slug=DEMO_SLUG, name="Demo")
        elif not workspace.memberships.filter(role=Role.OWNER).exists():
            return  # the demo was given away or emptied on purpose
        for assistant in all_assistants():
            if assistant.seed is not None:
                assistant.seed(workspace)
