"""Embed every passage anew, by the encoder that is configured now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from praxis.assistants.contract import ModelUnavailable
from praxis.knowledge.reembedding import change_encoder
from praxis.knowledge.vector_space import OtherEncoder


class Command(BaseCommand):
    help = (
        "Embed every passage of every workspace by the encoder that is configured now, then search by "
        "it. Needs the embedding server. May be stopped and run again; tuned encoders are retired."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        def report(done: int, total: int) -> None:
            self.stdout.write(f"{done} of {total} passages embedded")

        try:
            changed = change_encoder(report)
        except (ModelUnavailable, OtherEncoder) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            "Search uses the configured encoder from now on."
            if changed
            else "The passages are this encoder's already; nothing was changed."
        )
