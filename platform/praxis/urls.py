"""The address map; docs/architecture.md says what lives where."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.i18n import set_language

from praxis.accounts.views import invitation
from praxis.assistants.registry import all_assistants
from praxis.integrations.api import api
from praxis.integrations.hook_views import hook
from praxis.integrations.openai_api import openai_api

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("praxis.conversations.urls")),
    path("", include("praxis.handoff.person_urls")),
    path("", include("praxis.observability.urls")),
    path("accounts/", include("allauth.urls")),
    path("invitation/<uid>/<token>/", invitation, name="invitation"),
    path("language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("v1/", openai_api.urls),
    path("w/<slug:workspace>/knowledge/workbench/", include("praxis.workbench.urls")),
    path("w/<slug:workspace>/knowledge/", include("praxis.knowledge.urls")),
    path("w/<slug:workspace>/tuning/", include("praxis.tuning.urls")),
    path("w/<slug:workspace>/jobs/", include("praxis.jobs.urls")),
    path("w/<slug:workspace>/analytics/", include("praxis.analytics.urls")),
    path("w/<slug:workspace>/inbox/", include("praxis.handoff.urls")),
    path("widget/", include("praxis.widget.urls")),
    path("hooks/<slug:channel>/<str:key>", hook, name="hook"),
    path("w/<slug:workspace>/widgets/", include("praxis.widget.workspace_urls")),
    path("w/<slug:workspace>/integrations/", include("praxis.integrations.urls")),
    path("w/<slug:workspace>/members/", include("praxis.accounts.urls")),
    path("w/<slug:workspace>/answer-cache/", include("praxis.answer_cache.urls")),
    path("w/<slug:workspace>/assistants/", include("praxis.assistants.urls")),
    *(
        path(f"w/<slug:workspace>/{assistant.slug}/", include(assistant.urls))
        for assistant in all_assistants()
        if assistant.urls
    ),
]

handler403 = "praxis.error_pages.permission_denied"
handler404 = "praxis.error_pages.page_not_found"
