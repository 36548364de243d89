"""What the pages of a service show of its definition."""

from django import template

from apps.customer_service.editing import KIND_LABELS

register = template.Library()


@register.filter
def kind_label(kind: str) -> str:
    """A slot's kind as the editor names it; what a draft says wrongly stays as it is."""
    return str(KIND_LABELS.get(kind, kind))
