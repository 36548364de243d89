"""The Praxis platform: what every domain assistant shares."""

from praxis.celery import app as celery_app

__all__ = ["celery_app"]
