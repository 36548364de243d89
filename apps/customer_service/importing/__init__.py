"""Definitions from elsewhere: OpenAPI descriptions, Rasa's domain files, exported services.

What can't be taken over is reported, sentence by sentence, and never dropped in silence.
"""

from apps.customer_service.importing.files import Imported, ImportRefused, from_files

__all__ = ["ImportRefused", "Imported", "from_files"]
