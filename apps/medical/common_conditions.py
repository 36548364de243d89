"""A short curated list of common conditions, so that a cough does not end in a rare syndrome.

Written for this project from general medical knowledge; not taken from a data set and NOT
validated. Frequencies are rough (how often patients with the condition have the finding), weights
are the relative share of consultations. The product shows this origin next to every such entry.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CommonCondition:
    slug: str
    name: str
    weight: float
    sex: str
    """"female", "male", or "" for both."""
    ages: tuple[int, int]
    """Usual range in years."""
    findings: dict[str, float]
    """HPO term name -> frequency."""


# name | weight | sex | ages | findings with their percentages
TABLE = """
Common cold | 60 | | 0-99 | Rhinorrhea 90, Nasal congestion 85, Sneeze 75, Pharyngalgia 60, Cough 60, Headache 30, Fatigue 35, Fever 20, Hoarse voice 20, Myalgia 15
Influenza | 25 | | 0-99 | Fever 90, Myalgia 80, Cough 85, Fatigue 85, Headache 70, Chills 70, Pharyngalgia 50, Rhinorrhea 40, Poor appetite 50, Arthralgia 40, Nausea 15
COVID-19 | 25 | | 0-99 | Cough 65, Fever 60, Fatigue 65, Anosmia 35, Headache 50, Pharyngalgia 45, Myalgia 45, Rhinorrhea 40, Dyspnea 25, Diarrhea 15, Chills 35
Acute pharyngitis or tonsillitis | 25 | | 3-60 | Pharyngalgia 98, Fever 60, Dysphagia 50, Cervical lymphadenopathy 55, Headache 35, Cough 20, Ear pain 15, Abnormality of the tonsils 50
Infectious mononucleosis | 3 | | 10-30 | Fatigue 90, Pharyngalgia 85, Cervical lymphadenopathy 85, Fever 80, Splenomegaly 45, Headache 40, Skin rash 10, Poor appetite 40
Acute bronchitis | 25 | | 2-99 | Cough 99, Productive cough 60, Wheezing 30, Fatigue 40, Chest pain 20, Fever 25, Dyspnea 25, Pharyngalgia 25
Pneumonia | 10 | | 0-99 | Cough 90, Fever 80, Productive cough 60, Dyspnea 65, Tachypnea 45, Pleuritic chest pain 35, Chills 50, Fatigue 70, Chest pain 35, Confusion 12
Acute sinusitis | 15 | | 6-80 | Nasal congestion 90, Sinusitis 95, Headache 60, Rhinorrhea 75, Cough 40, Fever 25, Anosmia 35, Fatigue 30
Acute otitis media | 15 | | 0-12 | Ear pain 90, Fever 60, Irritability 50, Hearing impairment 40, Rhinorrhea 45, Otitis media 99, Vomiting 15
Allergic rhinitis | 30 | | 3-70 | Sneeze 90, Rhinorrhea 85, Nasal congestion 85, Epiphora 55, Allergic rhinitis 99, Pruritus 40, Conjunctivitis 45, Cough 20
Asthma | 20 | | 2-80 | Wheezing 90, Dyspnea 85, Cough 80, Chest tightness 75, Asthma 99, Exertional dyspnea 60, Nonproductive cough 50
Chronic obstructive pulmonary disease | 10 | | 40-99 | Exertional dyspnea 85, Dyspnea 85, Productive cough 65, Cough 85, Wheezing 55, Fatigue 50, Weight loss 20, Chest tightness 30
Croup | 4 | | 0-6 | Cough 99, Stridor 75, Hoarse voice 85, Fever 60, Rhinorrhea 65
Bronchiolitis | 5 | | 0-2 | Cough 95, Wheezing 75, Tachypnea 80, Rhinorrhea 85, Fever 50, Feeding difficulties 55, Dyspnea 70
Pulmonary embolism | 2 | | 18-99 | Dyspnea 80, Pleuritic chest pain 55, Tachycardia 45, Chest pain 65, Cough 25, Hemoptysis 10, Syncope 12, Lower limb pain 25, Deep venous thrombosis 40, Tachypnea 50
Acute coronary syndrome | 4 | | 35-99 | Chest pain 88, Angina pectoris 80, Dyspnea 40, Hyperhidrosis 40, Nausea 35, Jaw pain 15, Upper limb pain 35, Fatigue 30, Palpitations 12, Vomiting 15, Presyncope 15
Heart failure | 6 | | 50-99 | Exertional dyspnea 90, Dyspnea 85, Orthopnea 55, Peripheral edema 70, Fatigue 75, Increased body weight 40, Nocturia 35, Cough 30, Congestive heart failure 99
Atrial fibrillation | 6 | | 45-99 | Palpitations 75, Atrial fibrillation 99, Fatigue 50, Dyspnea 45, Vertigo 35, Chest pain 20, Syncope 8, Tachycardia 60
Panic attack or anxiety disorder | 20 | | 12-70 | Anxiety 95, Palpitations 70, Panic attack 70, Chest tightness 40, Dyspnea 50, Hyperhidrosis 45, Tremor 40, Paresthesia 35, Vertigo 50, Insomnia 50, Nausea 30, Restlessness 50, Chest pain 25
Depression | 20 | | 12-99 | Depression 97, Insomnia 65, Fatigue 75, Anhedonia 80, Poor appetite 45, Weight loss 25, Suicidal ideation 25, Irritability 35, Anxiety 55, Memory impairment 25
Tension-type headache | 30 | | 8-80 | Headache 99, Stiff neck 20, Fatigue 30, Insomnia 20, Neck pain 40
Migraine | 20 | | 8-65 | Headache 97, Migraine 99, Nausea 75, Photophobia 80, Phonophobia 70, Vomiting 35, Migraine with aura 25, Scotoma 15, Vertigo 25, Blurred vision 20
Cluster headache | 1 | | 18-60 | Headache 99, Epiphora 85, Nasal congestion 65, Ptosis 55, Restlessness 70, Ocular pain 70, Red eye 65
Benign positional vertigo | 8 | | 30-99 | Vertigo 97, Nausea 55, Nystagmus 60, Vomiting 20, Unsteady gait 45
Iron deficiency anaemia | 12 | | 1-80 | Fatigue 85, Pallor 65, Exertional dyspnea 45, Headache 30, Vertigo 35, Anemia 99, Palpitations 25, Pica 15, Brittle hair 20, Restless legs 15
Hypothyroidism | 10 | | 15-99 | Fatigue 85, Increased body weight 60, Cold intolerance 60, Dry skin 60, Constipation 45, Hypothyroidism 99, Alopecia 35, Depression 35, Bradycardia 25, Irregular menstruation 25, Goiter 25, Muscle spasm 25
Hyperthyroidism | 4 | | 15-80 | Weight loss 70, Palpitations 75, Heat intolerance 65, Tremor 65, Hyperhidrosis 60, Anxiety 55, Tachycardia 70, Hyperthyroidism 99, Fatigue 55, Diarrhea 25, Goiter 50, Proptosis 20, Insomnia 40
Type 2 diabetes mellitus | 12 | | 25-99 | Polyuria 55, Polydipsia 55, Fatigue 55, Hyperglycemia 97, Weight loss 25, Blurred vision 25, Paresthesia 20, Nocturia 45, Type II diabetes mellitus 99
Type 1 diabetes mellitus | 2 | | 1-40 | Polyuria 90, Polydipsia 90, Weight loss 75, Fatigue 70, Hyperglycemia 99, Nocturia 60, Vomiting 25, Abdominal pain 25, Type I diabetes mellitus 99
Gastroenteritis | 25 | | 0-99 | Diarrhea 95, Vomiting 70, Nausea 75, Abdominal pain 70, Abdominal cramps 50, Fever 45, Poor appetite 55, Dehydration 25, Myalgia 20
Gastro-oesophageal reflux | 20 | | 18-90 | Gastroesophageal reflux 97, Dyspepsia 45, Chest pain 25, Dysphagia 20, Nonproductive cough 25, Hoarse voice 15, Epigastric pain 45, Nausea 20
Peptic ulcer | 4 | | 18-90 | Epigastric pain 85, Nausea 40, Dyspepsia 60, Melena 15, Abdominal pain 80, Weight loss 15, Hematemesis 8, Postprandial fullness 30, Gastroesophageal reflux 40
Irritable bowel syndrome | 15 | | 15-65 | Abdominal pain 97, Abdominal distention 75, Diarrhea 60, Constipation 50, Flatulence 65, Abdominal cramps 70, Mucus in stool 30
Inflammatory bowel disease | 2 | | 12-60 | Diarrhea 85, Abdominal pain 75, Hematochezia 60, Weight loss 50, Fatigue 60, Fever 25, Tenesmus 35, Arthralgia 25, Oral ulcer 15, Mucus in stool 45, Anemia 40
Coeliac disease | 2 | | 1-70 | Diarrhea 55, Abdominal distention 55, Fatigue 60, Weight loss 35, Anemia 45, Abdominal pain 50, Flatulence 45, Steatorrhea 25, Oral ulcer 15
Appendicitis | 3 | | 5-50 | Abdominal pain 98, Nausea 75, Poor appetite 75, Vomiting 55, Fever 50, Acute abdomen 60
Gallstones or cholecystitis | 4 | | 25-90 | Abdominal pain 95, Nausea 70, Vomiting 55, Fever 30, Jaundice 15, Cholelithiasis 97, Epigastric pain 45
Acute pancreatitis | 1 | | 20-90 | Epigastric pain 90, Abdominal pain 97, Vomiting 75, Nausea 85, Back pain 50, Fever 35, Pancreatitis 99
Constipation, functional | 12 | | 1-99 | Constipation 99, Abdominal distention 40, Abdominal pain 40, Anal fissure 12, Hemorrhoids 15
Haemorrhoids | 8 | | 20-80 | Hemorrhoids 99, Hematochezia 75, Pruritus 35, Constipation 40
Viral hepatitis | 1 | | 5-80 | Jaundice 65, Fatigue 80, Nausea 60, Poor appetite 65, Fever 35, Abdominal pain 45, Dark urine 55, Hepatomegaly 45, Arthralgia 20
Cystitis (urinary tract infection) | 20 | female | 12-99 | Dysuria 90, Pollakisuria 85, Urinary urgency 75, Hematuria 30, Pelvic pain 40, Abdominal pain 25
Pyelonephritis | 3 | | 1-99 | Fever 90, Flank pain 85, Chills 65, Dysuria 60, Nausea 45, Vomiting 40, Pollakisuria 50, Pyelonephritis 97
Kidney stone | 5 | | 18-80 | Flank pain 90, Hematuria 80, Nausea 60, Vomiting 45, Nephrolithiasis 97, Dysuria 25, Groin pain 40, Abdominal pain 55
Benign prostatic enlargement | 6 | male | 50-99 | Nocturia 75, Urinary hesitancy 75, Pollakisuria 70, Urinary urgency 50, Urinary retention 15, Urinary incontinence 15
Polycystic ovary syndrome | 4 | female | 12-45 | Irregular menstruation 85, Hirsutism 70, Acne 45, Obesity 50, Increased body weight 45, Amenorrhea 40, Alopecia 20
Endometriosis | 3 | female | 14-50 | Dysmenorrhea 85, Pelvic pain 75, Dyspareunia 50, Menorrhagia 35, Female infertility 35, Fatigue 45, Abdominal pain 45
Menopausal symptoms | 6 | female | 42-62 | Hot flashes 80, Insomnia 50, Irregular menstruation 60, Night sweats 65, Vaginal dryness 35, Irritability 40, Depression 25, Arthralgia 30
Mechanical low back pain | 30 | | 16-90 | Low back pain 98, Back pain 95, Limitation of joint mobility 30, Muscle spasm 40, Lower limb pain 20
Sciatica (lumbar radiculopathy) | 8 | | 25-80 | Low back pain 85, Lower limb pain 90, Paresthesia 60, Hypoesthesia 45, Sciatica 97, Lower limb muscle weakness 25
Osteoarthritis | 20 | | 45-99 | Arthralgia 95, Joint stiffness 75, Osteoarthritis 99, Joint swelling 35, Knee pain 60, Hip pain 35, Limitation of joint mobility 50, Hand pain 30
Rheumatoid arthritis | 2 | | 20-85 | Arthralgia 95, Joint swelling 90, Generalized morning stiffness 80, Joint stiffness 85, Fatigue 70, Rheumatoid arthritis 99, Hand pain 65, Weight loss 20, Fever 12, Keratoconjunctivitis sicca 15, Polyarticular arthritis 80, Arthritis 97
Gout attack | 4 | | 30-90 | Gout 99, Arthralgia 97, Joint swelling 90, Foot pain 60, Erythema 65, Fever 15, Arthritis 95
Polymyalgia rheumatica | 1 | | 50-99 | Shoulder pain 95, Generalized morning stiffness 90, Hip pain 65, Fatigue 60, Myalgia 80, Fever 15, Weight loss 25, Neck pain 50
Systemic lupus erythematosus | 1 | | 12-60 | Arthralgia 85, Fatigue 85, Malar rash 50, Fever 50, Cutaneous photosensitivity 55, Oral ulcer 35, Alopecia 40, Systemic lupus erythematosus 99, Pleuritic chest pain 35, Raynaud phenomenon 30, Proteinuria 40
Fibromyalgia | 5 | | 20-70 | Myalgia 95, Fatigue 90, Insomnia 75, Headache 45, Memory impairment 45, Paresthesia 40, Depression 40, Anxiety 40, Generalized morning stiffness 55
Carpal tunnel syndrome | 5 | | 25-80 | Paresthesia 92, Hypoesthesia 75, Hand pain 60, Hand muscle weakness 35, Constrictive median neuropathy 99
Atopic dermatitis (eczema) | 15 | | 0-60 | Pruritus 95, Eczematoid dermatitis 99, Dry skin 80, Erythema 75, Skin rash 85
Urticaria | 8 | | 2-70 | Urticaria 99, Pruritus 92, Angioedema 25, Skin rash 70, Erythema 60
Contact dermatitis | 10 | | 5-80 | Skin rash 92, Pruritus 90, Erythema 85, Skin vesicle 30, Dry skin 35
Psoriasis | 5 | | 10-80 | Psoriasiform dermatitis 97, Scaling skin 85, Erythema 80, Pruritus 60, Arthralgia 20, Nail pits 35, Skin plaque 85
Shingles (herpes zoster) | 3 | | 30-99 | Skin rash 95, Skin vesicle 92, Pain 90, Paresthesia 40, Fever 15, Pruritus 40, Headache 20
Chickenpox | 2 | | 1-15 | Skin vesicle 95, Skin rash 97, Pruritus 85, Fever 75, Fatigue 50, Poor appetite 40
Acne vulgaris | 10 | | 11-40 | Acne 99, Pustule 60, Papule 60
Cellulitis | 6 | | 10-99 | Erythema 97, Edema 80, Pain 85, Fever 35, Cellulitis 99, Chills 25
Bacterial or viral conjunctivitis | 10 | | 0-90 | Conjunctivitis 99, Red eye 95, Epiphora 60, Pruritus 35, Ocular pain 25, Photophobia 12
Deep vein thrombosis | 2 | | 18-99 | Lower limb pain 75, Edema 70, Deep venous thrombosis 99, Erythema 40, Peripheral edema 70
Stroke | 3 | | 45-99 | Hemiparesis 75, Dysarthria 50, Facial palsy 55, Aphasia 35, Stroke 99, Headache 20, Vertigo 15, Visual field defect 20, Unsteady gait 25, Confusion 20
Epilepsy | 3 | | 1-80 | Seizure 99, Loss of consciousness 60, Confusion 40, Bilateral tonic-clonic seizure 50, Headache 20
Alzheimer disease or other dementia | 4 | | 60-99 | Memory impairment 97, Confusion 55, Dementia 99, Depression 25, Irritability 25, Aphasia 25, Sleep disturbance 30
Parkinson disease | 2 | | 50-95 | Bradykinesia 92, Resting tremor 70, Rigidity 85, Tremor 75, Shuffling gait 60, Parkinsonism 97, Anosmia 50, Constipation 45, Depression 30, Frequent falls 25, Micrographia 35
Multiple sclerosis | 1 | | 18-55 | Paresthesia 65, Fatigue 80, Visual loss 35, Optic neuritis 40, Diplopia 25, Muscle weakness 55, Unsteady gait 45, Urinary urgency 35, Spasticity 35, Vertigo 20
Vasovagal syncope | 8 | | 8-80 | Syncope 97, Presyncope 80, Pallor 55, Nausea 40, Hyperhidrosis 45, Blurred vision 30
Essential hypertension | 15 | | 30-99 | Hypertension 99, Headache 20, Vertigo 15, Epistaxis 6
Obstructive sleep apnoea | 5 | | 25-80 | Snoring 92, Excessive daytime somnolence 80, Sleep apnea 99, Obesity 65, Headache 25, Nocturia 25, Fatigue 65
Insomnia | 10 | | 15-99 | Insomnia 99, Fatigue 65, Irritability 40, Anxiety 35
Meningitis | 1 | | 0-70 | Headache 88, Fever 90, Stiff neck 75, Photophobia 45, Vomiting 55, Confusion 50, Meningitis 99, Petechiae 20, Seizure 15, Lethargy 45
Tuberculosis, pulmonary | 1 | | 10-99 | Cough 85, Fever 65, Night sweats 60, Weight loss 65, Hemoptysis 25, Fatigue 65, Productive cough 60, Poor appetite 50
"""


def _parse(line: str) -> CommonCondition:
    name, weight, sex, ages, findings = (cell.strip() for cell in line.split("|"))
    youngest, oldest = ages.split("-")
    frequencies = {}
    for item in findings.split(", "):
        term, percent = item.rsplit(" ", 1)
        frequencies[term] = int(percent) / 100
    slug = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    return CommonCondition(
        slug=slug,
        name=name,
        weight=float(weight),
        sex=sex,
        ages=(int(youngest), int(oldest)),
        findings=frequencies,
    )


CONDITIONS = tuple(_parse(line) for line in TABLE.strip().splitlines())

# Terms of the table that are the condition itself (or its test): evidence when the person names
# them, but asking "do you have it?" would beg the question.
DIAGNOSES = frozenset({
    "Sinusitis", "Otitis media", "Allergic rhinitis", "Asthma", "Congestive heart failure", "Atrial fibrillation",
    "Migraine", "Hypothyroidism", "Hyperthyroidism", "Type II diabetes mellitus", "Type I diabetes mellitus",
    "Cholelithiasis", "Pancreatitis", "Pyelonephritis", "Nephrolithiasis", "Sciatica", "Osteoarthritis",
    "Rheumatoid arthritis", "Gout", "Systemic lupus erythematosus", "Constrictive median neuropathy", "Stroke",
    "Eczematoid dermatitis", "Psoriasiform dermatitis", "Cellulitis", "Deep venous thrombosis", "Dementia",
    "Parkinsonism", "Meningitis", "Hemorrhoids", "Depression", "Anxiety", "Panic attack", "Sleep apnea",
    "Hypertension", "Angina pectoris", "Migraine with aura", "Anemia", "Conjunctivitis",
})  # fmt: skip
