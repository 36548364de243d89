"""Why an act on a conversation is not done; pages and the API show the sentence."""


class MessageRefused(ValueError):
    """The text can't be taken; the sentence says what was given and what is allowed."""


class NotNow(Exception):
    """The conversation's present state forbids the act; the sentence says what to do first."""
