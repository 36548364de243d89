from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class JobsConfig(AppConfig):
    name = "praxis.jobs"
    verbose_name = _("Jobs")

    def ready(self) -> None:
        # Every app's handlers; registering a kind twice stops the start.
        autodiscover_modules("job_kinds")
