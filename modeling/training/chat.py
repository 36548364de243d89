"""A model's own chat template and tokeniser, read without torch.

Training, the data-set doctor and serving must see the same text and the same token ids, so this
reads `tokenizer.json` and the Jinja template that ship with the weights. The template is rendered
in the same sandbox, with the same options, as transformers does it (a test compares the two).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TypedDict

import jinja2
import jinja2.ext
import jinja2.sandbox
from tokenizers import Tokenizer

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    role: Role
    content: str


class ChatTemplateError(ValueError):
    """The chat template cannot be used for training or rejects a conversation."""


class Encoded(NamedTuple):
    """One conversation: token ids, and for each token whether it is learnt."""

    token_ids: list[int]
    supervised: list[bool]


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.exceptions.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _compile(source: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(source)


@dataclass(frozen=True, kw_only=True)
class ChatTokenizer:
    """Renders conversations as the model was taught to read them, and encodes them."""

    tokenizer: Tokenizer
    template: jinja2.Template
    special_tokens: dict[str, str]
    """The names that the template uses (`bos_token`, `eos_token`, ...) and their text."""

    @classmethod
    def load(cls, model_dir: Path) -> ChatTokenizer:
        """Read `tokenizer.json` and the chat template of a Hugging Face model folder."""
        tokenizer_file = model_dir / "tokenizer.json"
        if not tokenizer_file.is_file():
            raise FileNotFoundError(
                f"no tokenizer.json in {model_dir}; give the folder of a Hugging Face model"
            )
        config_file = model_dir / "tokenizer_config.json"
        config = json.loads(config_file.read_text("utf-8")) if config_file.is_file() else {}
        template_file = model_dir / "chat_template.jinja"
        source = (
            template_file.read_text("utf-8")
            if template_file.is_file()
            else config.get("chat_template")
        )
        if not isinstance(source, str):
            raise ChatTemplateError(
                f"{model_dir} has no chat template (neither chat_template.jinja nor a text under "
                "'chat_template' in tokenizer_config.json); use an instruction-tuned model"
            )
        special_tokens = {}
        for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
            token = config.get(name)
            text = token["content"] if isinstance(token, dict) else token
            if text is not None:
                special_tokens[name] = text
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer=tokenizer, template=_compile(source), special_tokens=special_tokens)

    @property
    def control_texts(self) -> tuple[str, ...]:
        """Texts that the tokeniser reads as control tokens, such as `<|im_end|>`."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.special)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        try:
            return self.template.render(
                messages=messages,
                add_generation_prompt=add_generation_prompt,
                **self.special_tokens,
            )
        except jinja2.exceptions.TemplateError as error:
            raise ChatTemplateError(
                f"the model's chat template rejects the conversation: {error}"
            ) from error

    def segments(
        self, messages: Sequence[Message], weights: Sequence[int] | None = None
    ) -> list[tuple[str, bool]]:
        """Split the rendered conversation into (text, learnt).

        A learnt segment is what the model has to write after the generation prompt of a turn: the
        answer and its end-of-turn mark. Text after the last answer is left out: nothing is learnt
        from it. `weights[i] == 0` keeps message i as context only.
        """
        segments: list[tuple[str, bool]] = []
        done = ""
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self.render(messages[:index], add_generation_prompt=True)
            through = self.render(messages[: index + 1])
            if not (prompt.startswith(done) and through.startswith(prompt)):
                raise ChatTemplateError(
                    "the model's chat template renders earlier turns differently once later turns "
                    "follow, so what is learnt would not be what is asked at serving time; use a "
                    "template whose text only grows"
                )
            answer = through[len(prompt) :].rstrip()
            segments.append((prompt[len(done) :], False))
            segments.append((answer, weights is None or weights[index] != 0))
            done = prompt + answer
        return segments

    def encode(
        self,
        conversations: Sequence[Sequence[Message]],
        weights: Sequence[Sequence[int]] | None = None,
    ) -> list[Encoded]:
        """Token ids and supervised marks of each conversation.

        Prompt and answer are encoded apart, as they are at serving time: the engine encodes the
        prompt and the model continues after it, so no token may span the border.
        """
        split = [
            self.segments(conversation, None if weights is None else weights[index])
            for index, conversation in enumerate(conversations)
        ]
        texts = [text for segments in split for text, _ in segments]
        ids = iter(self.tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        encoded = []
        for segments in split:
            token_ids: list[int] = []
            supervised: list[bool] = []
            for _, learnt in segments:
                piece = next(ids).ids
                token_ids.extend(piece)
                supervised.extend([learnt] * len(piece))
            encoded.append(Encoded(token_ids, supervised))
        return encoded

    def count(self, conversations: Sequence[Sequence[Message]]) -> list[int]:
        """The number of tokens that each conversation has in training."""
        return [len(encoded.token_ids) for encoded in self.encode(conversations)]
