"""Why an act on a conversation is not done; pages and the API show the sentence."""

from django.forms import BaseForm


class MessageRefused(ValueError):
    """The text can't be taken; the sentence says what was given and what is allowed."""


class NotNow(Exception):
    """The conversation's present state forbids the act; the sentence says what to do first."""


def sentences_of(form: BaseForm) -> str:
    """What a form refuses, for an answer in JSON: `name: This field is required.; …`."""
    return "; ".join(
        f"{field}: {' '.join(map(str, errors))}" for field, errors in form.errors.items()
    )
