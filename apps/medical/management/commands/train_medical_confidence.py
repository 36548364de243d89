"""`manage.py train_medical_confidence`: a few minutes on one core; writes weights and card."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.medical import confidence, train_confidence


class Command(BaseCommand):
    help = "Train the medical confidence head on simulated cases."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cases", type=int, default=12_000)
        parser.add_argument("--test-cases", type=int, default=2_000)
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        figures = train_confidence.train(
            cases=options["cases"],
            test_cases=options["test_cases"],
            seed=options["seed"],
            target=confidence.HEAD_PATH,
        )
        self.stdout.write(str(figures))
