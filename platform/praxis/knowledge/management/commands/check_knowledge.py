"""Check that documents, chunks, index, cached answers and files agree."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from praxis.knowledge.integrity import problems


class Command(BaseCommand):
    help = (
        "Check that documents, chunks, index, cached answers and files agree; ends with 1 if not."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(problems())
        for line in found:
            self.stdout.write(line)
        if found:
            raise CommandError(f"{len(found)} problems; the lines above name them.")
        self.stdout.write("Documents, chunks, index, cached answers and files agree.")
