"""`manage.py build_hpo_supplement DIR`: DIR holds `hp.obo` and `phenotype.hpoa` of one release."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from apps.medical import supplement


class Command(BaseCommand):
    help = "Build the synonyms and annotation frequencies that the packaged ontology lacks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        directory: Path = options["directory"]
        supplement.build(directory / "hp.obo", directory / "phenotype.hpoa", supplement.PATH)
        built = supplement.load()
        self.stdout.write(
            f"release {built.release}: {len(built.synonyms)} terms with synonyms, "
            f"{len(built.disease)} annotation rows, {supplement.PATH.stat().st_size} bytes"
        )
