"""How a workspace's conversations went in a period, counted from what is stored anyway.

What the words mean (docs/how-to/read-the-figures.md says the same):

contained   no person was asked for or took over;
resolved    closed, or quiet with a complete answer last; and the last answer neither abstained, failed
            nor got a thumb down, and the rating, if there is one, is above 2;
unanswered  the assistant abstained or failed, or its answer got a thumb down.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import (
    Aggregate,
    Avg,
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    FloatField,
    OuterRef,
    Q,
    QuerySet,
)
from django.db.models.functions import Extract, TruncDate
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.contract import State
from praxis.assistants.registry import get_assistant
from praxis.conversations.access import conversations_of
from praxis.conversations.memory import state_before
from praxis.conversations.models import (
    ConversationQuerySet,
    Feedback,
    Message,
    StateCorrection,
)
from praxis.handoff.models import Handoff, Survey

MOST_REASONS = 12
MOST_ANSWERS_READ = 2000
"""Newest answers that the accuracy of what was understood is counted from."""
LONGEST_DAYS = 366
UNRATED_BELOW = 3
"""A rating below this is of a conversation that resolved nothing."""

FELL_SHORT = (
    Q(events__contains=[{"kind": "done", "outcome": "abstained"}])
    | Q(events__contains=[{"kind": "done", "outcome": "failed"}])
    | Q(events__contains=[{"kind": "not_in_documents"}])
)
"""Answers in which the assistant had none."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """Whole days, both included, in the installation's time zone."""

    first: date
    last: date

    @classmethod
    def of_days(cls, days: int) -> "Period":
        today = timezone.localdate()
        return cls(first=today - timedelta(days=days - 1), last=today)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def bounds(self) -> tuple[datetime, datetime]:
        """From the first day's beginning to the beginning of the day after the last."""
        zone = timezone.get_current_timezone()
        assert isinstance(zone, ZoneInfo)
        begin = datetime.combine(self.first, datetime.min.time(), zone)
        return begin, datetime.combine(self.last + timedelta(days=1), datetime.min.time(), zone)


class _Percentile(Aggregate):
    """PostgreSQL's continuous percentile; `share` from 0 to 1."""

    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


@dataclass(frozen=True, kw_only=True)
class Figures:
    conversations: int
    contained: int
    resolved: int
    handoffs: int
    answer_seconds_p50: float | None
    """From the first message to the end of the assistant's first answer."""
    answer_seconds_p90: float | None
    person_seconds_p50: float | None
    """From the request to the first words of a person."""
    person_seconds_p90: float | None
    in_time: float | None
    """Share of the handoffs, answered or overdue, that a person answered in time."""
    ratings: int
    rating_mean: float | None
    satisfied: float | None
    """Share of the ratings that are 4 or 5."""
    thumbs_up: int
    thumbs_down: int

    @property
    def containment(self) -> float | None:
        return _share(self.contained, self.conversations)

    @property
    def resolution(self) -> float | None:
        return _share(self.resolved, self.conversations)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def conversations_in(principal: Principal, period: Period, assistant: str) -> ConversationQuerySet:
    """Begun in the period, with at least one message; of one assistant, or of all with ""."""
    principal.require(Role.AGENT)
    begin, end = period.bounds()
    found = conversations_of(principal).filter(created_at__gte=begin, created_at__lt=end)
    found = found.exclude(head=None)
    return found.filter(assistant=assistant) if assistant else found


IS_RESOLVED = (
    (Q(ends_complete=True) | Q(owner_kind="closed"))
    & Q(falls_short=False, is_unhappy=False)
    & Q(owner_kind__in=["assistant", "closed"])
)


def judged(conversations: ConversationQuerySet) -> ConversationQuerySet:
    """With `is_contained`, and what `IS_RESOLVED` asks for."""
    head = Message.objects.filter(pk=OuterRef("head_id"))
    thumb_down = Exists(Feedback.objects.filter(message=OuterRef("pk"), thumb="down"))
    return conversations.annotate(
        is_contained=~Exists(Handoff.objects.filter(conversation=OuterRef("pk"))),
        ends_complete=Exists(head.filter(role__in=["assistant", "person"], status="complete")),
        falls_short=Exists(head.filter(FELL_SHORT | thumb_down)),
        is_unhappy=Exists(
            Survey.objects.filter(conversation=OuterRef("pk"), score__lt=UNRATED_BELOW)
        ),
    )


def figures(principal: Principal, period: Period, assistant: str = "") -> Figures:
    """A handful of queries, whatever the number of conversations."""
    conversations = conversations_in(principal, period, assistant)
    counted = judged(conversations).aggregate(
        conversations=Count("pk"),
        contained=Count("pk", filter=Q(is_contained=True)),
        resolved=Count("pk", filter=IS_RESOLVED),
    )
    first_answers = Message.objects.filter(
        conversation__in=conversations,
        role=Message.Role.ASSISTANT,
        turn=1,
        status=Message.Status.COMPLETE,
    ).annotate(seconds=_seconds(F("finished_at") - F("parent__created_at")))
    handoffs = Handoff.objects.filter(conversation__in=conversations)
    replied = handoffs.filter(first_reply_at__isnull=False)
    in_time = handoffs.aggregate(
        all=Count("pk"),
        kept=Count("pk", filter=Q(first_reply_at__lte=F("due_at"))),
        missed=Count(
            "pk",
            filter=Q(first_reply_at__gt=F("due_at"))
            | Q(
                first_reply_at__isnull=True,
                due_at__lt=timezone.now(),
                state__in=["waiting", "person"],
            ),
        ),
    )
    ratings = Survey.objects.filter(conversation__in=conversations).aggregate(
        count=Count("pk"), mean=Avg("score"), satisfied=Count("pk", filter=Q(score__gte=4))
    )
    thumbs = Feedback.objects.filter(message__conversation__in=conversations).aggregate(
        up=Count("pk", filter=Q(thumb="up")), down=Count("pk", filter=Q(thumb="down"))
    )
    answer = _median_and_90th(first_answers)
    person = _median_and_90th(
        replied.annotate(seconds=_seconds(F("first_reply_at") - F("requested_at")))
    )
    return Figures(
        **counted,
        handoffs=in_time["all"],
        answer_seconds_p50=answer["p50"],
        answer_seconds_p90=answer["p90"],
        person_seconds_p50=person["p50"],
        person_seconds_p90=person["p90"],
        in_time=_share(in_time["kept"], in_time["kept"] + in_time["missed"]),
        ratings=ratings["count"],
        rating_mean=ratings["mean"],
        satisfied=_share(ratings["satisfied"], ratings["count"]),
        thumbs_up=thumbs["up"],
        thumbs_down=thumbs["down"],
    )


def _seconds(difference: Any) -> Extract:
    return Extract(ExpressionWrapper(difference, output_field=DurationField()), "epoch")


def _median_and_90th(rows: QuerySet[Any]) -> dict[str, float | None]:
    return rows.aggregate(
        p50=_Percentile("seconds", share=0.5), p90=_Percentile("seconds", share=0.9)
    )


@dataclass(frozen=True, kw_only=True)
class Day:
    day: date
    conversations: int
    contained: int
    resolved: int
    handoffs: int
    ratings: int
    rating_mean: float | None


def by_day(principal: Principal, period: Period, assistant: str = "") -> list[Day]:
    """Every day of the period, also those on which nothing happened."""
    conversations = conversations_in(principal, period, assistant)
    rows: dict[date, Any] = {
        row["day"]: row
        for row in judged(conversations)
        .annotate(day=TruncDate("created_at"))
        .values("day")
        .annotate(
            num=Count("pk"),
            num_contained=Count("pk", filter=Q(is_contained=True)),
            num_resolved=Count("pk", filter=IS_RESOLVED),
        )
    }
    handoffs = _per_day(Handoff.objects.filter(conversation__in=conversations))
    ratings: dict[date, Any] = {
        row["day"]: row
        for row in Survey.objects.filter(conversation__in=conversations)
        .annotate(day=TruncDate("conversation__created_at"))
        .values("day")
        .annotate(num=Count("pk"), mean=Avg("score"))
    }
    found = []
    for number in range(period.days):
        day = period.first + timedelta(days=number)
        row, rating = rows.get(day) or {}, ratings.get(day) or {}
        found.append(
            Day(
                day=day,
                conversations=row.get("num", 0),
                contained=row.get("num_contained", 0),
                resolved=row.get("num_resolved", 0),
                handoffs=handoffs.get(day, 0),
                ratings=rating.get("num", 0),
                rating_mean=rating.get("mean"),
            )
        )
    return found


def _per_day(handoffs: QuerySet[Handoff]) -> dict[date, int]:
    """By the day on which the conversation began, as everything else in the table."""
    rows = (
        handoffs.annotate(day=TruncDate("conversation__created_at"))
        .values("day")
        .annotate(num=Count("pk"))
    )
    return {row["day"]: row["num"] for row in rows}


@dataclass(frozen=True, kw_only=True)
class Reason:
    trigger: str
    reason: str
    count: int


def handoff_reasons(principal: Principal, period: Period, assistant: str = "") -> list[Reason]:
    """Why a person was asked for, the most frequent first."""
    rows = (
        Handoff.objects.filter(conversation__in=conversations_in(principal, period, assistant))
        .values("trigger", "reason")
        .annotate(count=Count("pk"))
        .order_by("-count", "trigger", "reason")
    )
    return [
        Reason(
            trigger=str(Handoff.Trigger(row["trigger"]).label),
            reason=row["reason"],
            count=row["count"],
        )
        for row in rows[:MOST_REASONS]
    ]


@dataclass(frozen=True, kw_only=True)
class Understood:
    """How often a field of the understood state had to be put right by hand."""

    assistant: str
    key: str
    label: str
    understood: int
    """Values that the assistant set or changed."""
    corrected: int

    @property
    def accuracy(self) -> float:
        return 1 - min(self.corrected, self.understood) / self.understood


def understood(principal: Principal, period: Period, assistant: str = "") -> list[Understood]:
    """Per field of the state panel (the intent is one of them), the worst first.

    A value that nobody put right counts as right, so this is an upper bound; it says where to look.
    """
    conversations = conversations_in(principal, period, assistant)
    answers = (
        Message.objects.filter(
            conversation__in=conversations, events__contains=[{"kind": "state_changed"}]
        )
        .select_related("conversation", "parent__parent")
        .order_by("-created_at", "pk")
    )
    set_by_assistant: Counter[tuple[str, str]] = Counter()
    labels: dict[tuple[str, str], str] = {}
    for answer in answers[:MOST_ANSWERS_READ]:
        slug = answer.conversation.assistant
        for key, label in _fields_set(slug, answer).items():
            set_by_assistant[slug, key] += 1
            labels[slug, key] = label
    corrected: dict[tuple[str, str], int] = defaultdict(int)
    corrections = StateCorrection.objects.filter(conversation__in=conversations)
    for row in corrections.values("conversation__assistant", "key").annotate(num=Count("pk")):
        corrected[row["conversation__assistant"], row["key"]] += row["num"]
    found = [
        Understood(
            assistant=slug,
            key=key,
            label=labels[slug, key],
            understood=number,
            corrected=corrected[slug, key],
        )
        for (slug, key), number in set_by_assistant.items()
    ]
    return sorted(found, key=lambda one: (one.accuracy, -one.understood, one.key))


def _fields_set(slug: str, answer: Message) -> dict[str, str]:
    """Labels by key of the panel's fields that the turn set.

    The first `state_changed` of an answer is the turn's own; a correction adds its event later.
    """
    question = answer.parent
    before = _panel(slug, state_before(question.parent) if question else {})
    after = _panel(slug, answer.events_of("state_changed")[0]["state"])
    return {
        key: label
        for key, (label, value) in after.items()
        if value and before.get(key, ("", ""))[1] != value
    }


def _panel(slug: str, state: State) -> dict[str, tuple[str, str]]:
    panel = get_assistant(slug).panel
    if panel is None:
        return {}
    try:
        return {field.key: (str(field.label), field.value) for field in panel(state)}
    except ObjectDoesNotExist:  # what the state refers to was deleted since
        return {}
