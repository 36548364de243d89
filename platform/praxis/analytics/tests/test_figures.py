"""Each figure against conversations of which the outcome is known."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.analytics import figures
from praxis.analytics.figures import Period
from praxis.analytics.tests.conftest import PrincipalOf, Went
from praxis.conversations.models import Feedback, StateCorrection
from praxis.handoff import services
from praxis.handoff.models import Handoff

WEEK = 7


def test_containment_and_resolution(desk: Principal, me: Principal, went: Went) -> None:
    went("answered and quiet")
    went("no answer", outcome="abstained")
    went("no model", outcome="failed")
    thumbed = went("thumb down")
    Feedback.objects.create(
        message=thumbed.messages.get(role="assistant"), author=me.user, thumb="down"
    )
    helped = went("helped by a person", outcome="abstained")
    services.ask_for_person(principal=me, conversation=helped)
    services.take(principal=desk, conversation=helped)
    services.reply(principal=desk, conversation=helped, text="Here you are.")
    services.close(principal=desk, conversation=helped)
    waiting = went("waits")
    services.ask_for_person(principal=me, conversation=waiting)
    unhappy = went("closed but unhappy")
    services.close(principal=me, conversation=unhappy)
    unhappy.refresh_from_db()
    services.rate(principal=me, conversation=unhappy, score=1)
    found = figures.figures(desk, Period.of_days(WEEK))
    assert (found.conversations, found.contained, found.resolved) == (7, 5, 2)
    assert found.containment == pytest.approx(5 / 7)
    assert (found.handoffs, found.ratings, found.rating_mean) == (2, 1, 1.0)
    assert (found.satisfied, found.thumbs_down) == (0.0, 1)


def test_times_to_the_first_answer(desk: Principal, me: Principal, went: Went) -> None:
    for seconds in (1, 2, 9):
        went("how long?", seconds=seconds)
    found = figures.figures(desk, Period.of_days(WEEK))
    assert found.answer_seconds_p50 == pytest.approx(2)
    assert found.answer_seconds_p90 == pytest.approx(7.6)
    assert (found.person_seconds_p50, found.in_time) == (None, None)
    for minutes in (2, 30):
        asked = went("a person")
        services.ask_for_person(principal=me, conversation=asked)
        handoff = Handoff.objects.get(conversation=asked)
        handoff.first_reply_at = handoff.requested_at + timedelta(minutes=minutes)
        handoff.save()
    found = figures.figures(desk, Period.of_days(WEEK))
    assert found.person_seconds_p50 == pytest.approx(16 * 60)
    assert found.in_time == 0.5, "the workspace allows ten minutes"


def test_a_period_has_whole_days_and_both_ends(desk: Principal, went: Went) -> None:
    first, last = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
    for at in (
        first - timedelta(seconds=1),
        first,
        last + timedelta(hours=23, minutes=59),
        last + timedelta(days=1),
    ):
        went("when?", at=at)
    period = Period(first=first.date(), last=last.date())
    assert figures.figures(desk, period).conversations == 2
    days = figures.by_day(desk, period)
    assert [(day.day.day, day.conversations) for day in days] == [(2, 1), (3, 0), (4, 1)]


def test_reasons_come_by_how_often(desk: Principal, me: Principal, went: Went) -> None:
    for reason in ("Refund", "Too slow", "Refund"):
        services.ask_for_person(principal=me, conversation=went("?"), reason=reason)
    found = figures.handoff_reasons(desk, Period.of_days(WEEK))
    assert [(one.reason, one.count) for one in found] == [("Refund", 2), ("Too slow", 1)]


def test_what_was_understood_and_corrected(desk: Principal, went: Went) -> None:
    state = {"colour": "red"}
    event = {"kind": "state_changed", "changes": state, "state": state}
    for _number in range(4):
        conversation = went("I like red", events=[event], state=state)
    StateCorrection.objects.create(
        conversation=conversation, key="colour", before=state, after={"colour": "blue"}
    )
    [found] = figures.understood(desk, Period.of_days(WEEK))
    assert (found.label, found.understood, found.corrected) == ("Colour", 4, 1)
    assert found.accuracy == 0.75


def test_other_assistants_and_other_workspaces_are_left_out(
    desk: Principal, me: Principal, went: Went, stranger: User, principal_of: PrincipalOf
) -> None:
    went("ours")
    period = Period.of_days(WEEK)
    assert figures.figures(desk, period, "sample").conversations == 1
    assert figures.figures(desk, period, "tiny").conversations == 0
    assert figures.figures(principal_of(stranger), period).conversations == 0
    with pytest.raises(PermissionDenied):
        figures.figures(me, period)
    assert timezone.localdate() == period.last
