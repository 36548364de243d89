"""Conversations that waited for a person, or were with one, before handoffs were rows."""

from datetime import timedelta

from django.db import migrations
from django.utils import timezone


def make_handoffs(apps, schema_editor):
    Conversation = apps.get_model("conversations", "Conversation")
    Handoff = apps.get_model("handoff", "Handoff")
    now = timezone.now()
    for conversation in Conversation.objects.filter(owner_kind__in=["waiting", "person"]):
        with_person = conversation.owner_kind == "person"
        Handoff.objects.create(
            workspace_id=conversation.workspace_id,
            conversation=conversation,
            state=conversation.owner_kind,
            trigger="assistant",
            agent_id=conversation.owner_id,
            requested_at=conversation.updated_at,
            due_at=conversation.updated_at + timedelta(minutes=10),
            assigned_at=now if with_person else None,
        )


class Migration(migrations.Migration):
    dependencies = [("handoff", "0001_handoffs")]

    operations = [migrations.RunPython(make_handoffs, migrations.RunPython.noop)]
