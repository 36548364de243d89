"""The ranking: typical profiles, what counts and what counts for nothing, questions, speed."""

import time

import numpy as np
import pytest

from apps.medical import differential
from apps.medical.common_conditions import CONDITIONS, DIAGNOSES
from apps.medical.differential import Case, KnowledgeBase, Ranking


@pytest.fixture(scope="module")
def base() -> KnowledgeBase:
    return differential.load()


def positions(base: KnowledgeBase, *names: str) -> tuple[int, ...]:
    return tuple(base.ontology.names.index(name) for name in names)


def ranked(
    base: KnowledgeBase, *present: str, absent: tuple[str, ...] = (), **person: object
) -> Ranking:
    case = Case(present=positions(base, *present), absent=positions(base, *absent), **person)  # type: ignore[arg-type]
    return differential.rank(base, case)


def best(base: KnowledgeBase, ranking: Ranking, count: int = 10) -> list[str]:
    return [base.names[disease] for disease in ranking.order[:count]]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (("Tall stature", "Arachnodactyly", "Ectopia lentis", "Aortic root aneurysm"), "Marfan syndrome"),
        (("Short stature", "Pulmonic stenosis", "Hypertelorism", "Webbed neck"), "Noonan syndrome"),
        (("Cafe-au-lait spot", "Axillary freckling", "Neurofibroma"), "Neurofibromatosis, type 1"),
        (("Blue sclerae", "Recurrent fractures", "Hearing impairment"), "Osteogenesis imperfecta"),
        (("Fever", "Cough", "Pharyngalgia"), "Influenza"),
        (("Polyuria", "Polydipsia", "Weight loss"), "diabetes mellitus"),
        (("Headache", "Photophobia", "Nausea"), "Migraine"),
        (("Dysuria", "Pollakisuria"), "Cystitis"),
    ],
)  # fmt: skip
def test_a_typical_profile_is_among_the_first_ten(
    base: KnowledgeBase, findings: tuple[str, ...], expected: str
) -> None:
    assert any(expected in name for name in best(base, ranked(base, *findings)))


def test_everyday_complaints_do_not_end_in_a_rare_syndrome(base: KnowledgeBase) -> None:
    order = ranked(base, "Fever", "Cough", "Pharyngalgia").order
    assert all(base.is_common(int(disease)) for disease in order[:5])


def test_what_was_never_mentioned_counts_for_exactly_nothing(base: KnowledgeBase) -> None:
    ranking = ranked(base, "Arachnodactyly")
    marfan = base.index["OMIM:154700"]
    assert ranking.score_D[marfan] == pytest.approx(
        ranking.prior_D[marfan] + ranking.ratios_FD[0, marfan]
    )
    unmentioned = differential.typical_unmentioned(base, ranking, marfan)
    assert unmentioned
    assert {part.term for part in ranking.contributions(marfan)} == set(ranking.terms)
    assert not {term for term, _ in unmentioned} & set(ranking.terms)


def test_findings_speak_for_against_or_neither(base: KnowledgeBase) -> None:
    ranking = ranked(base, "Arachnodactyly", "Cough", absent=("Tall stature",))
    parts = {p.term: p for p in ranking.contributions(base.index["OMIM:154700"])}
    arachnodactyly, cough, tall = positions(base, "Arachnodactyly", "Cough", "Tall stature")
    assert parts[arachnodactyly].direction == "for"
    assert parts[cough].direction == "against"
    assert parts[tall].direction == "against"
    assert not parts[tall].present


def test_a_denied_finding_lowers_the_diseases_that_show_it(base: KnowledgeBase) -> None:
    marfan = base.index["OMIM:154700"]
    silent = ranked(base, "Arachnodactyly")
    denied = ranked(base, "Arachnodactyly", absent=("Ectopia lentis",))
    assert denied.posterior_D[marfan] < silent.posterior_D[marfan]


def test_a_vaguer_word_still_counts_but_less(base: KnowledgeBase) -> None:
    marfan = base.index["OMIM:154700"]
    exact = ranked(base, "Ectopia lentis").ratios_FD[0, marfan]
    vague = ranked(base, "Abnormal lens morphology").ratios_FD[0, marfan]
    assert exact > vague > 0


def test_a_finding_implied_by_another_is_counted_once(base: KnowledgeBase) -> None:
    both = ranked(base, "Seizure", "Bilateral tonic-clonic seizure")
    one = ranked(base, "Bilateral tonic-clonic seizure")
    assert np.array_equal(both.score_D, one.score_D)


def test_sex_and_age_fit_the_common_conditions(base: KnowledgeBase) -> None:
    man = best(base, ranked(base, "Dysuria", "Pollakisuria", sex="male"), 3)
    assert not any("Cystitis" in name for name in man)
    child = best(base, ranked(base, "Cough", "Stridor", age_years=2.0), 1)
    assert child == ["Croup"]


def test_the_posterior_is_a_distribution(base: KnowledgeBase) -> None:
    assert ranked(base, "Fatigue").posterior_D.sum() == pytest.approx(1, abs=1e-4)


def test_the_next_question_is_new_informative_and_begs_nothing(base: KnowledgeBase) -> None:
    ranking = ranked(base, "Fever", "Cough", absent=("Rhinorrhea",))
    questions = differential.next_questions(base, ranking, limit=10)
    assert questions[0].information_bits > 0.1
    asked = {base.ontology.names[q.term] for q in questions}
    assert not asked & {"Fever", "Cough", "Rhinorrhea", *DIAGNOSES}
    again = differential.next_questions(base, ranking, asked_before=[questions[0].term])
    assert questions[0].term not in {q.term for q in again}


def test_the_answer_to_the_best_question_narrows_more_than_to_a_random_one(
    base: KnowledgeBase,
) -> None:
    bits = [
        q.information_bits
        for q in differential.next_questions(base, ranked(base, "Fever", "Cough"), limit=50)
    ]
    assert bits == sorted(bits, reverse=True)
    assert bits[0] > 2 * bits[-1]


def test_a_profile_of_its_own_gives_what_the_ranking_gives(base: KnowledgeBase) -> None:
    ranking = ranked(base, "Arachnodactyly", "Ectopia lentis", "Cough")
    marfan = base.index["OMIM:154700"]
    own = differential.profile_ratios(
        base, ranking.terms, 3, base.profiles[marfan], base.profile_frequency[marfan]
    )
    assert np.allclose(own, ranking.ratios_FD[:, marfan], atol=1e-4)


def test_common_conditions_name_real_terms_with_sane_figures(base: KnowledgeBase) -> None:
    names = set(base.ontology.names)
    assert len(CONDITIONS) >= 60
    for condition in CONDITIONS:
        assert set(condition.findings) <= names, condition.name
        assert all(0 < frequency < 1 for frequency in condition.findings.values())
        assert condition.weight > 0
    assert names >= DIAGNOSES


def test_a_case_takes_less_than_a_tenth_of_a_second(base: KnowledgeBase) -> None:
    names = base.ontology.names[200:212]
    differential.observed_ratio.cache_clear()
    started = time.perf_counter()
    ranked(base, *names)
    assert time.perf_counter() - started < 0.1


def test_the_release_is_the_packages_own(base: KnowledgeBase) -> None:
    assert base.ontology.release == "2025-11-24"
    assert base.num_rare > 8000
