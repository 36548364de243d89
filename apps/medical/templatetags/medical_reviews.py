"""The clinician's decision about an answer, for its card."""

from django import template

from apps.medical.models import CaseReview
from praxis.conversations.models import Message

register = template.Library()


@register.simple_tag
def review_of(message: Message) -> CaseReview | None:
    return (
        CaseReview.objects.filter(message=message)
        .select_related("reviewer")
        .order_by("-created_at", "-pk")
        .first()
    )
