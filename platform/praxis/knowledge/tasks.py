"""Periodic work of this app."""

from celery import shared_task

from praxis.knowledge import imports, terms


@shared_task(ignore_result=True)
def compact_term_counts() -> None:
    terms.compact_where_due()


@shared_task(ignore_result=True)
def watch_folder() -> None:
    imports.watch()
