from django.apps import AppConfig


class AnswerCacheConfig(AppConfig):
    name = "praxis.answer_cache"
