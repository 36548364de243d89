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
        """The demo shop, which `manage.py up` runs beside the platform."""
        from apps.customer_service.endpoints import demo_shop, demo_shop_file

        return [
            LocalProcess(
                name="shop",
                argv=(
                    *(sys.executable, "-m", "apps.customer_service.demo_shop"),
                    *("--place", str(demo_shop_file())),
                ),
                ready_url=f"{demo_shop().url}/health",
            )
        ]
