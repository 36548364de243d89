"""What people said was meant, which the classifier of intents learns from."""

from apps.customer_service.models import ServiceDefinition
from praxis.conversations.models import StateCorrection

MOST = 500


def corrected_intents(workspace_id: str, service_name: str) -> tuple[tuple[str, str], ...]:
    """Texts and the intent that a member chose for each, "" for none; the newest `MOST`, in order.

    A visitor's own corrections count for their conversation alone: what anybody on the internet
    types must not teach the assistant.
    """
    versions = ServiceDefinition.objects.filter(workspace_id=workspace_id, name=service_name)
    rows = (
        StateCorrection.objects.filter(
            key="task",
            author__isnull=False,
            conversation__workspace_id=workspace_id,
            after__definition__in=list(versions.values_list("pk", flat=True)),
        )
        .order_by("-created_at", "-pk")
        .values_list("before__intent", "before__heard", "after__intent", "message__parent__text")
    )
    # The text that began the task; without one, the message that nothing was recognised in.
    texts = [
        ((heard if before else said) or "", after) for before, heard, after, said in rows[:MOST]
    ]
    return tuple((text, intent) for text, intent in reversed(texts) if text.strip())
