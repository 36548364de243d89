"""What the assistant says, in the person's language."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from apps.medical import lay_terms
from apps.medical.models import EmergencySettings
from apps.medical.ontology import Ontology
from apps.medical.ontology import load as load_ontology
from apps.medical.red_flags import Fired, Grade


@dataclass(frozen=True)
class Numbers:
    """Whom to call, as the text names it."""

    emergency: str
    crisis: str


def numbers_of(workspace_id: str) -> Numbers:
    """The workspace's own numbers, or the general wording."""
    settings = EmergencySettings.objects.filter(workspace_id=workspace_id).first()
    return Numbers(
        emergency=(settings.emergency_number if settings else "")
        or _("your local emergency number (112, 911, 999 or 120)"),
        crisis=(settings.crisis_line if settings else "")
        or _("your local crisis line (988 in the USA, 116 123 in the UK, 12356 in China)"),
    )


def term_label(identifier: str) -> str:
    """The finding's name for the person: Chinese where there is one, else with the lay name."""
    ontology: Ontology = load_ontology()[0]
    position = ontology.position(identifier)
    if position is None:
        return identifier
    name = ontology.names[position]
    if (get_language() or "").startswith("zh"):
        phrases = lay_terms.CHINESE_PHRASES.get(name)
        return f"{phrases[0]} ({name})" if phrases else name
    lay = ontology.lay_names[position]
    return name if lay == name.lower() else f"{name} ({lay})"


def urgent_text(fired: Sequence[Fired], numbers: Numbers) -> str:
    """Markdown; the first line is what to do now."""
    first = fired[0].rule
    lines = [f"**{first_line(fired, numbers)}**", "", _(first.advice)]
    if any(f.rule.crisis for f in fired) and first.grade is Grade.EMERGENCY:
        lines += ["", _("You can also reach %(crisis)s at any hour.") % {"crisis": numbers.crisis}]
    for other in fired[1:]:
        lines += ["", f"**{_(other.rule.title)}**: {_(other.rule.advice)}"]
    lines += [
        "",
        _(
            "This is a fixed safety rule, not a diagnosis; it does not wait for more questions. "
            "If what you described is over or was meant differently, tell me, but when in doubt, call."
        ),
    ]
    return "\n".join(lines)


def first_line(fired: Sequence[Fired], numbers: Numbers) -> str:
    rule = fired[0].rule
    names = {"number": numbers.emergency, "crisis": numbers.crisis, "title": _(rule.title)}
    if rule.grade is Grade.EMERGENCY:
        return _("Call %(number)s now. %(title)s.") % names
    if rule.grade is Grade.TODAY:
        return (
            _("%(title)s: call %(crisis)s now, or %(number)s if you are in danger.") % names
            if rule.crisis
            else _("%(title)s: see a doctor today; if it gets worse, call %(number)s.") % names
        )
    return (
        _("%(title)s: please call %(crisis)s today, or %(number)s if you might act on it.") % names
    )


def findings_text(present: Sequence[str], absent: Sequence[str], unclear: Sequence[str]) -> str:
    """The summary of what was understood."""
    parts = []
    if present:
        parts.append(_("**Present:** %(terms)s") % {"terms": _listed(present)})
    if absent:
        parts.append(_("**Absent:** %(terms)s") % {"terms": _listed(absent)})
    if unclear:
        parts.append(_("**Unclear, please confirm:** %(terms)s") % {"terms": _listed(unclear)})
    return "  \n".join(parts)


def _listed(terms: Sequence[str]) -> str:
    return ", ".join(term_label(term) for term in terms)


def percent_text(value: float, low: float, high: float) -> str:
    return _("%(value)s %% (%(low)s–%(high)s %%)") % {
        "value": round(100 * value),
        "low": round(100 * low),
        "high": round(100 * high),
    }


def count_text(count: int) -> str:
    return ngettext("%(count)s finding", "%(count)s findings", count) % {"count": count}


def question_text(term: str) -> str:
    return _("Most useful to know next: is there **%(finding)s**?") % {"finding": term_label(term)}
