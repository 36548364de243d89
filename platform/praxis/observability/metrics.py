"""Figures that are read from the database and the broker when Prometheus asks."""

import contextlib
from collections.abc import Iterable

import redis
from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from praxis.jobs.models import Job, JobState, Queue
from praxis.observability.health import broker_client, model_server_problem


class PlatformCollector(Collector):
    """Queue lengths, jobs by state, and whether the model server is up."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield from _queue_lengths()
        yield _jobs()
        yield _oldest_waiting()
        up = not model_server_problem(settings.LLM_BASE_URL)
        yield GaugeMetricFamily(
            "praxis_model_server_up", "1 when the model server lists its models.", value=int(up)
        )


def _queue_lengths() -> Iterable[GaugeMetricFamily]:
    up = GaugeMetricFamily("praxis_broker_up", "1 when Redis answers.", value=None)
    lengths = GaugeMetricFamily(
        "praxis_queue_messages", "Messages that wait in the broker.", labels=["queue"]
    )
    try:
        with contextlib.closing(broker_client()) as client:
            for queue in Queue.values:
                lengths.add_metric([queue], client.llen(queue))
    except redis.RedisError:
        up.add_metric([], 0)
    else:
        up.add_metric([], 1)
        yield lengths
    yield up


def _jobs() -> GaugeMetricFamily:
    jobs = GaugeMetricFamily("praxis_jobs", "Jobs by kind and state.", labels=["kind", "state"])
    counts = Job.objects.values_list("kind", "state").annotate(number=Count("pk"))
    for kind, state, number in counts.order_by("kind", "state"):
        jobs.add_metric([kind, state], number)
    return jobs


def _oldest_waiting() -> GaugeMetricFamily:
    """A queue nobody works on shows here first."""
    ages = GaugeMetricFamily(
        "praxis_jobs_oldest_waiting_seconds",
        "How long the longest-waiting due job has waited.",
        labels=["queue"],
    )
    now = timezone.now()
    due = Job.objects.filter(state=JobState.QUEUED, next_attempt_at__lte=now)
    oldest = dict(due.values_list("queue").annotate(since=Min("next_attempt_at")).order_by("queue"))
    for queue in Queue.values:
        since = oldest.get(queue)
        ages.add_metric([queue], (now - since).total_seconds() if since else 0.0)
    return ages
