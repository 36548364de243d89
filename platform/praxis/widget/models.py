"""An assistant on other sites: which one, on which origins, under which public key, how it looks."""

import secrets
import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace
from praxis.assistants.registry import title_of

DEFAULT_COLOUR = "#0f6b5c"


def public_key() -> str:
    """Names the widget in a page's source, so it is no secret and opens nothing but the widget."""
    return f"wgt_{secrets.token_urlsafe(18)}"


class Widget(models.Model):
    class Language(models.TextChoices):
        """Empty: the language of the page that shows it, else the browser's."""

        ENGLISH = "en", "English"
        CHINESE = "zh-hans", "简体中文"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="widgets")
    name = models.CharField(_("name"), max_length=80)
    assistant = models.SlugField(_("assistant"), max_length=60)
    key = models.CharField(max_length=40, unique=True, default=public_key, editable=False)
    origins = ArrayField(models.CharField(max_length=200))
    """Scheme, host and port of the sites that may show it, such as `https://shop.example.org`."""
    greeting = models.CharField(_("greeting"), max_length=300, blank=True)
    """Shown before the first message; empty: the assistant's own line."""
    colour = models.CharField(_("colour"), max_length=7, default=DEFAULT_COLOUR)
    """`#rrggbb`, of the button and the frame's head."""
    language = models.CharField(
        _("language"), max_length=10, choices=Language.choices, blank=True, default=""
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(origins__len__gt=0), name="a_widget_has_an_origin"),
            models.CheckConstraint(
                condition=Q(colour__regex=r"^#[0-9a-f]{6}$"), name="a_widget_colour_is_rrggbb"
            ),
            models.UniqueConstraint(fields=["workspace", "name"], name="widget_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def assistant_title(self) -> str:
        return title_of(self.assistant)

    @property
    def luminance(self) -> float:
        """Relative luminance of the colour after WCAG 2.1, from 0 to 1."""
        red, green, blue = (_linear(int(self.colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    @property
    def ink(self) -> str:
        """Black or white, whichever is read better on the colour: at least 4.5 : 1."""
        return "#000000" if (self.luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
