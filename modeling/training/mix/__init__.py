"""What the shipped model is trained on, made from the packed public data; see `build`.

    python -m modeling.training.mix.build --data DIR --model DIR --out DIR

Tasks: dialogue state (`state`), service answers and domain text (`texts`), grounded answers with
citations (`grounded`), findings (`findings`), clauses and definitions (`clauses`), and what the base
itself would answer (`chat`), so that it isn't forgotten. Nothing of a development or test split of
the dialogues gets in, and of every other source one document in twelve is held out.
"""
