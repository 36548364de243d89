"""The definitions of the demo's services, as the businesses would write them.

Sentences for people are marked for translation; the samples only teach the classifier.
"""

from typing import Any

from apps.customer_service.demo_services.clinic import CLINIC
from apps.customer_service.demo_services.restaurant import RESTAURANT
from apps.customer_service.demo_services.shop import SHOP

DEMO_SERVICES: tuple[dict[str, Any], ...] = (SHOP, RESTAURANT, CLINIC)
"""Each is named like the business that does what it promises (`demo_businesses`)."""
