"""What the base itself would answer, so that training on the trades doesn't take it away.

The prompts are our own: everyday requests over everyday subjects. The answers are drawn from the
base (self-distillation), so no other model's text gets in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modeling.training.chat import Message
from modeling.training.mix.items import Item

TEMPERATURE = 0.8
ANSWER_TOKENS = 160

_REQUESTS = """Explain {} in simple words.|What is {}?|Write a short paragraph about {}.
Give me three tips about {}.|Why does {} matter?|Write a poem of four lines about {}.
What should a beginner know about {}?|Tell me a fun fact about {}.|Summarise the history of {}.
List five words that go with {}.|How would you explain {} to a child?|Write a title for an article about {}.
What are the advantages and disadvantages of {}?|Compare {} with something similar.
Write a question about {} and answer it.|Describe {} in one sentence.|Write an e-mail to a friend about {}.
What could go wrong with {}?|Help me plan an afternoon around {}.|Is {} difficult to learn about?
Write a short dialogue about {}.|How has {} changed over time?|Who is interested in {}?
What do people often get wrong about {}?|Write a slogan about {}.|How do I start with {}?"""
_SUBJECTS = """rain|bread|bicycles|the moon|friendship|chess|volcanoes|music|gardening|sleep|maps|bees|coffee
painting|rivers|trains|winter|libraries|mathematics|cats|dogs|the ocean|photography|running|tea|stars|cooking
forests|mountains|history|poetry|robots|computers|the internet|electricity|magnets|gravity|light|sound|clouds
snow|deserts|islands|bridges|castles|ships|airplanes|cars|walking|swimming|football|tennis|dancing|theatre
cinema|novels|newspapers|language|writing|reading|teaching|learning|memory|dreams|colours|numbers|shapes|time
clocks|calendars|money|trade|markets|farming|apples|rice|potatoes|cheese|chocolate|salt|sugar|spices|soup
birthdays|holidays|travel|hotels|camping|weather|seasons|spring|autumn|birds|fish|insects|trees|flowers|soil
water|fire|air|metal|glass|paper|wood|plastic|clothes|shoes|hats|houses|windows|doors|furniture|kitchens
tools|machines|engines|batteries|solar power|wind power|recycling|planets|comets|telescopes|microscopes
atoms|energy|oceans and tides|earthquakes|dinosaurs|fossils|evolution|ecosystems|rainforests|polar bears
whales|elephants|horses|sheep|puzzles|games|jokes|stories|myths|music lessons|guitars|pianos|singing|choirs
kindness|patience|courage|honesty|teamwork|leadership|creativity|curiosity|habits|breakfast|exercise|stretching""".replace(
    "\n", "|"
)


def prompts(count: int, seed: int) -> list[str]:
    """`count` different prompts, the same for the same seed."""
    requests = [form for line in _REQUESTS.split("\n") for form in line.split("|")]
    subjects = [subject for subject in _SUBJECTS.split("|") if subject]
    every = [form.format(subject) for form in requests for subject in subjects]
    random.Random(seed).shuffle(every)  # noqa: S311
    if count > len(every):
        raise ValueError(f"{count} prompts asked for; there are {len(every)}")
    return every[:count]


class Answer(NamedTuple):
    prompt: str
    text: str
    finished: bool
    """False where the base had more to say than ANSWER_TOKENS; the end is then not its own."""


def answer(
    model_dir: Path, asked: Sequence[str], *, batch: int, seed: int, device: str
) -> Iterator[Answer]:
    """The base's answers to these prompts, drawn at TEMPERATURE, in batches."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # transformers' types know no `generate` on what the auto class returns.
    model: Any = AutoModelForCausalLM.from_pretrained(
        model_dir,
        # Most CPUs only imitate bfloat16, which is slower than float32.
        dtype=torch.float32 if device == "cpu" else torch.bfloat16,
        local_files_only=True,
    )
    model.to(device)
    ends = torch.tensor(model.generation_config.eos_token_id, device=device).view(-1)
    torch.manual_seed(seed)
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
            for text in part
        ]
        encoded = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(
            device
        )
        with torch.inference_mode():
            written = model.generate(
                **encoded,
                max_new_tokens=ANSWER_TOKENS,
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = written[:, encoded["input_ids"].shape[1] :]
        finished = torch.isin(new, ends).any(dim=1).tolist()
        answers = tokenizer.batch_decode(new, skip_special_tokens=True)
        for prompt, text, ended in zip(part, answers, finished, strict=True):
            yield Answer(prompt, text.strip(), ended)


def items(path: Path) -> Iterator[Item]:
    """The conversations of a file of {"prompt", "answer", "finished"} lines."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["answer"]:
                yield Item(
                    domain="general",
                    task="chat",
                    document=row["prompt"],
                    messages=[
                        Message(role="user", content=row["prompt"]),
                        Message(role="assistant", content=row["answer"]),
                    ],
                    is_cut=not row["finished"],
                )
