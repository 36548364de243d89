"""The figures over REST, for agents and above; drafts of articles for administrators."""

from dataclasses import asdict
from datetime import date
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import Field, model_validator

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.analytics import figures
from praxis.analytics.drafts import draft_article
from praxis.analytics.figures import LONGEST_DAYS, Period
from praxis.analytics.forms import DEFAULT_DAYS
from praxis.analytics.questions import unanswered_topics
from praxis.conversations.refusals import MessageRefused
from praxis.knowledge.access import get_corpus
from praxis.knowledge.services import UploadRefused

router = Router(tags=["analytics"])


class AuthedRequest(HttpRequest):
    auth: Principal


class Chosen(Schema):
    """`days` up to today, or `first` and `last` (whole days, both included)."""

    days: int = Field(DEFAULT_DAYS, ge=1, le=LONGEST_DAYS)
    first: date | None = None
    last: date | None = None
    assistant: str = Field("", max_length=60, description="A slug; empty: all assistants.")

    @model_validator(mode="after")
    def _is_a_period(self) -> "Chosen":
        if (self.first is None) != (self.last is None):
            raise ValueError("give both `first` and `last`, or neither")
        if self.first and self.last and not 0 <= (self.last - self.first).days < LONGEST_DAYS:
            raise ValueError(f"`last` must be 0 to {LONGEST_DAYS - 1} days after `first`")
        return self

    def period(self) -> Period:
        if self.first and self.last:
            return Period(first=self.first, last=self.last)
        return Period.of_days(self.days)


class NewDraft(Schema):
    corpus: UUID
    title: str = Field(min_length=1, max_length=200)
    questions: list[UUID] = Field(
        min_length=1, max_length=50, description="`message_ids` of a topic."
    )


def _enter(request: AuthedRequest, scope: str = "conversations:read") -> Principal:
    request.auth.require_scope(scope)
    request.auth.require(Role.AGENT)
    return request.auth


@router.get("/analytics", summary="How the conversations of a period went")
def read_figures(request: AuthedRequest, chosen: Query[Chosen]) -> dict[str, Any]:
    principal, period = _enter(request), chosen.period()
    found = figures.figures(principal, period, chosen.assistant)
    return {
        "first": period.first.isoformat(),
        "last": period.last.isoformat(),
        "assistant": chosen.assistant,
        **asdict(found),
        "containment": found.containment,
        "resolution": found.resolution,
        "days": [
            {**asdict(day), "day": day.day.isoformat()}
            for day in figures.by_day(principal, period, chosen.assistant)
        ],
        "handoff_reasons": [
            asdict(one) for one in figures.handoff_reasons(principal, period, chosen.assistant)
        ],
        "understood": [
            {**asdict(one), "accuracy": one.accuracy}
            for one in figures.understood(principal, period, chosen.assistant)
        ],
    }


@router.get("/analytics/unanswered", summary="Unanswered questions by topic, the most asked first")
def read_topics(request: AuthedRequest, chosen: Query[Chosen]) -> dict[str, Any]:
    principal = _enter(request)
    topics = unanswered_topics(principal, chosen.period(), chosen.assistant)
    return {
        "items": [
            {
                "title": topic.title,
                "assistant": topic.assistant,
                "count": topic.count,
                "message_ids": [str(one) for one in topic.message_ids],
                "questions": [
                    {
                        "message": str(one.message_id),
                        "conversation": str(one.conversation_id),
                        "text": one.text,
                    }
                    for one in topic.questions
                ],
            }
            for topic in topics
        ]
    }


@router.post(
    "/analytics/drafts", response={201: dict[str, Any]}, summary="Draft an article on a topic"
)
def create_draft(request: AuthedRequest, body: NewDraft) -> Status:
    """Only administrators find the draft until it is published."""
    principal = _enter(request, "knowledge:write")
    corpus = get_corpus(principal, body.corpus)
    try:
        document = draft_article(
            principal=principal, corpus=corpus, title=body.title, question_ids=body.questions
        )
    except UploadRefused as error:
        raise MessageRefused(str(error)) from error
    return Status(201, document.to_dict())
