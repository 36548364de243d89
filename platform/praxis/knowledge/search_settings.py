"""How a search goes: one object of settings, stored for a workspace or for one of its corpora."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _

from praxis.accounts.models import User, Workspace
from praxis.knowledge.models import Corpus, SearchProfile

FUSIONS = ("score", "rank")
REWRITES = ("off", "rules")
MAX_FILTERS = 20


def _setting(default: Any, lowest: float | None = None, highest: float | None = None) -> Any:
    return field(default=default, metadata={"lowest": lowest, "highest": highest})


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The defaults are what every assistant uses; docs/reference/retrieval.md says how they were
    chosen."""

    fusion: str = "score"
    """`score` adds the legs' scores, each brought to 0…1; `rank` adds 1 / (60 + rank)."""
    vector_weight: float = _setting(0.6, 0, 1)
    text_weight: float = _setting(0.4, 0, 1)
    rerank: bool = False
    """Whether the first candidates are put in order once more by the reranker."""
    rerank_weight: float = _setting(0.35, 0, 1)
    """Share of the reranker's score in the order; the rest is the fused score."""
    num_candidates: int = _setting(50, 5, 200)
    """Of each leg."""
    ef_search: int = _setting(200, 10, 1000)
    """How far the vector index looks around; more is slower and misses less."""
    neighbours: int = _setting(0, 0, 3)
    """How many chunks before and after a passage are handed along as its context."""
    parent: bool = False
    """Whether the larger piece around a passage is handed along instead of neighbours."""
    rewrite: str = "rules"
    """How a follow-up question becomes one that stands alone: not at all, or by rules."""
    min_relevance: float = _setting(0.0, 0, 1)
    """Passages that are less likely than this to be about the question are left out."""
    filters: Mapping[str, Any] = field(default_factory=dict)
    """Metadata that every passage must have: name to value, or to a list of which one is enough."""

    def __post_init__(self) -> None:
        problems: dict[str, str] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if message := _problem(each.name, each.type, each.metadata, value):
                problems[each.name] = message
        if not problems and self.vector_weight + self.text_weight == 0:
            problems["text_weight"] = _("One of the two weights must be above 0.")
        if problems:
            raise ValidationError(problems)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From stored or submitted values; what is left out has its default.

        Raises `ValidationError` with one message for each wrong or unknown name.
        """
        names = [each.name for each in fields(cls)]
        if unknown := sorted(set(values) - set(names)):
            allowed = ", ".join(names)
            raise ValidationError(
                {
                    name: _("There is no such setting; there are: %(names)s.") % {"names": allowed}
                    for name in unknown
                }
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def changed(self, **values: Any) -> Self:
        """The same settings but for these. Raises `ValidationError`."""
        return replace(self, **values)


def _problem(name: str, kind: Any, limits: Mapping[str, Any], value: Any) -> str | None:
    choices = {"fusion": FUSIONS, "rewrite": REWRITES}.get(name)
    if choices and value not in choices:
        return _("Must be one of %(choices)s, got %(value)s.") % {
            "choices": ", ".join(choices),
            "value": value,
        }
    if kind is bool and not isinstance(value, bool):
        return _("Must be true or false, got %(value)s.") % {"value": value}
    if kind in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and (kind is int or not isinstance(value, float)):
            return _("Must be a number, got %(value)s.") % {"value": value}
        if not limits["lowest"] <= value <= limits["highest"]:
            return _("Must be from %(lowest)s to %(highest)s, got %(value)s.") % {
                **limits,
                "value": value,
            }
    if name == "filters":
        return _problem_of_filters(value)
    return None


def _problem_of_filters(filters: Any) -> str | None:
    if not isinstance(filters, Mapping):
        return _("Must be an object of metadata names and values.")
    if len(filters) > MAX_FILTERS:
        return _("At most %(limit)d filters are allowed, got %(count)d.") % {
            "limit": MAX_FILTERS,
            "count": len(filters),
        }
    for key, wanted in filters.items():
        options = wanted if isinstance(wanted, list) else [wanted]
        if not isinstance(key, str) or not all(
            isinstance(option, str | int | float | bool) for option in options
        ):
            return _(
                "The filter %(name)s must be a text, a number, true, false or a list of these."
            ) % {"name": key}
    return None


def settings_for(workspace: Workspace, corpora: Sequence[UUID] = ()) -> SearchSettings:
    """Those of the corpus if exactly one is searched and it has its own, else the workspace's."""
    fitting = Q(corpus=None) | Q(corpus__in=corpora if len(corpora) == 1 else [])
    profiles = SearchProfile.objects.filter(fitting, workspace=workspace)
    found = profiles.order_by("corpus_id").first()  # null, the workspace's own, comes last
    return SearchSettings.from_dict(found.values) if found else SearchSettings()


def save_settings(
    settings: SearchSettings,
    *,
    workspace: Workspace,
    corpus: Corpus | None = None,
    by: User | None = None,
) -> SearchProfile:
    profile, _created = SearchProfile.objects.update_or_create(
        workspace=workspace,
        corpus=corpus,
        defaults={"values": settings.to_dict(), "updated_by": by},
    )
    return profile


def forget_settings(*, workspace: Workspace, corpus: Corpus | None = None) -> None:
    """Back to the workspace's settings (of a corpus) or to the defaults (of the workspace)."""
    SearchProfile.objects.filter(workspace=workspace, corpus=corpus).delete()
