"""Free text to findings: lay words, typos, spelling, denial, relatives, numbers, Chinese."""

import pytest

from apps.medical.findings import Reading, read
from apps.medical.scope import Status


def terms(reading: Reading, status: Status = Status.PRESENT) -> set[str]:
    return {finding.name for finding in reading.findings if finding.status is status}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("she has fits", "Seizure"),
        ("I'm short of breath", "Dyspnea"),
        ("my heart is racing", "Palpitations"),
        ("pain in my left knee", "Knee pain"),
        ("my chest really hurts", "Chest pain"),
        ("I can't sleep", "Insomnia"),
        ("there was blood in my stool", "Hematochezia"),
        ("hypertelorism", "Hypertelorism"),
        ("his eyes are set wide apart, wide set eyes", "Hypertelorism"),
        ("Intellectual disability, severe", "Intellectual disability"),
        ("diarrhoea since Monday", "Diarrhea"),
        ("oedema of both legs", "Pedal edema"),
        ("bad haemorrhoids", "Hemorrhoids"),
        ("I have a heafache", "Headache"),
        ("palpitatons at night", "Palpitations"),
        ("发烧三天了", "Fever"),
        ("肚子疼", "Abdominal pain"),
        ("手脚麻", "Paresthesia"),
    ],
)
def test_it_understands_how_people_say_it(text: str, name: str) -> None:
    assert name in terms(read(text))


@pytest.mark.parametrize(
    ("text", "absent", "present"),
    [
        ("I have a cough but no fever", {"Fever"}, {"Cough"}),
        ("no fever, cough or rash", {"Fever", "Cough", "Skin rash"}, set()),
        ("Denies headache, nausea, vomiting. Has vertigo.", {"Headache", "Nausea", "Vomiting"}, {"Vertigo"}),
        ("I don't have a headache but I feel dizzy", {"Headache"}, {"Vertigo"}),
        ("without fever but with chills", {"Fever"}, {"Chills"}),
        ("the rash has gone and the cough is still there", {"Skin rash"}, {"Cough"}),
        ("no appetite, losing weight", set(), {"Poor appetite", "Weight loss"}),
        ("my legs hurt and I can't walk because of the pain, no numbness", {"Hypoesthesia"}, {"Lower limb pain"}),
        ("没有发烧，但是咳嗽", {"Fever"}, {"Cough"}),
        ("否认头痛", {"Headache"}, set()),
    ],
)  # fmt: skip
def test_denial_reaches_as_far_as_its_clause(
    text: str, absent: set[str], present: set[str]
) -> None:
    reading = read(text)
    assert absent <= terms(reading, Status.ABSENT)
    assert present <= terms(reading)
    assert not absent & terms(reading)


def test_a_list_that_may_go_on_is_left_unclear() -> None:
    assert terms(read("no fever, severe headache"), Status.UNCERTAIN) == {"Headache"}


@pytest.mark.parametrize(
    "text",
    [
        "my mother had seizures",
        "family history of migraine",
        "I'm worried about diabetes",
        "what are the symptoms of asthma?",
        "what if I get a rash",
        "我妈妈以前得过癫痫",
        "担心得糖尿病",
    ],
)
def test_relatives_and_suppositions_are_left_out(text: str) -> None:
    assert read(text).findings == ()


def test_a_relative_beside_the_person_does_not_hide_the_person() -> None:
    assert terms(read("My mother had seizures, and I have palpitations")) == {"Palpitations"}


def test_spans_point_at_the_words() -> None:
    text = "Since May I have had night sweats and a cough."
    for finding in read(text).findings:
        assert text[finding.start : finding.end] == finding.text
    assert {f.text for f in read(text).findings} == {"night sweats", "cough"}


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        ("fever of 39 °C", {"Fever"}, set()),
        ("temp 101.5 F", {"Fever"}, set()),
        ("my temperature is 36.8", set(), {"Fever"}),
        ("体温38.6度", {"Fever"}, set()),
        ("BP 165/100", {"Hypertension"}, set()),
        ("blood pressure 120/80", set(), set()),
        ("blood pressure 84/50", {"Hypotension"}, set()),
        ("heart rate 130", {"Tachycardia"}, set()),
        ("blood sugar 15 mmol", {"Hyperglycemia"}, set()),
        ("sats 88%", {"Hypoxemia"}, set()),
        ("my temperature is normal", set(), set()),
    ],
)
def test_numbers_are_read(text: str, present: set[str], absent: set[str]) -> None:
    reading = read(text)
    assert terms(reading) == present
    assert terms(reading, Status.ABSENT) == absent


@pytest.mark.parametrize(
    ("text", "age", "sex"),
    [
        ("I'm a 45 year old woman", 45, "female"),
        ("58M with chest pain", 58, "male"),
        ("Boy of 14, tall", 14, "male"),
        ("my 3 month old daughter", 0.25, "female"),
        ("我今年60岁，男", 60, "male"),
        ("My mother is ill and I cough", None, ""),
        ("I lost 12 kg", None, ""),
    ],
)
def test_age_and_sex_are_read(text: str, age: float | None, sex: str) -> None:
    reading = read(text)
    assert (reading.age_years, reading.sex) == (age, sex)


def test_a_typo_is_less_sure_than_the_ontologys_own_word() -> None:
    (typo,) = read("palpitatons").findings
    (exact,) = read("palpitations").findings
    assert (typo.source, exact.source) == ("typo", "name")
    assert typo.confidence < exact.confidence


def test_plain_talk_has_no_findings() -> None:
    text = "Thank you, that was helpful. I will write again on Thursday about the appointment."
    assert read(text).findings == ()


def test_the_newest_statement_about_a_finding_counts() -> None:
    assert terms(read("I have a fever. No, sorry, no fever."), Status.ABSENT) == {"Fever"}
