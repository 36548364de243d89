import sys

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from praxis.local.processes import LocalProcess


class CustomerServiceConfig(AppConfig):
    name = "apps.customer_service"
    verbose_name = _("Customer service")
    assistant = "apps.customer_service.assistant.ASSISTANT"

    @property
    def local_processes(self) -> list[LocalProcess]:
        """The demo businesses, which `manage.py up` runs beside the platform."""
        from apps.customer_service.endpoints import demo_file, demo_place

        return [
            LocalProcess(
                name="businesses",
                argv=(
                    *(sys.executable, "-m", "apps.customer_service.demo_businesses"),
                    *("--place", str(demo_file())),
                ),
                ready_url=f"{demo_place().url}/health",
            )
        ]
