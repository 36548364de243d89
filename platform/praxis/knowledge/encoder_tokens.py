"""The tokenizer of the configured encoder, loaded once per process."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from modeling.retrieval.tokens import EncoderTokens
from modeling.weights.assemble import encoder_folder


@lru_cache(maxsize=1)
def encoder_tokens() -> EncoderTokens:
    return EncoderTokens(Path(settings.ENCODER_FOLDER or encoder_folder()))
