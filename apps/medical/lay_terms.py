"""How people say it: everyday English and Chinese phrases for HPO terms, written for this project.

One line per term: `HPO name: phrase; phrase`. Articles, possessives and intensifiers are left out
by the matcher's normalisation, and the order of the words does not matter, so "my chest really
hurts" is matched by "chest hurts".
"""

ENGLISH = """
Seizure: fits; had a fit; convulsion; convulsing; fitting; shaking fit; epileptic fit; blackout with shaking
Dyspnea: short of breath; shortness of breath; out of breath; breathless; breathlessness; cannot breathe; cannot catch breath; trouble breathing; difficulty breathing; hard to breathe; struggling to breathe; breathing is hard; cannot get enough air; gasping for air; winded; breathing difficulty; fighting for breath
Exertional dyspnea: breathless on exertion; breathless climbing stairs; short of breath on exertion; short of breath walking; out of breath walking; breathless when walking; out of breath climbing stairs; short of breath climbing stairs
Orthopnea: cannot lie flat; breathless lying down; breathless lying flat; sleep propped up; short of breath lying down
Palpitations: heart racing; racing heart; heart pounding; pounding heart; heart fluttering; fluttering in chest; heart skips beats; skipped beats; heart beating fast; heart beats fast; heart flutters; irregular heartbeat; heart thumping
Chest pain: chest hurts; pain in chest; chest ache; chest discomfort; pressure on chest; pressure in chest; chest pressure; crushing chest; heaviness in chest; chest heaviness; chest feels heavy; sore chest; elephant on chest; pains in chest; chest pains
Chest tightness: tight chest; chest feels tight; tightness in chest; chest is tight; tight band around chest; squeezing in chest
Pleuritic chest pain: hurts to breathe; pain when breathing in; sharp chest pain when breathing; painful to breathe; hurts when I breathe in; chest pain on breathing; pain on breathing in
Fever: high temperature; running a temperature; temperature; feverish; burning up; febrile; pyrexia; has a temp; fevers
Chills: shivering; shivers; shivery; rigors; teeth chattering; the shakes with fever
Cough: coughing; coughs; tickly cough; bad cough
Productive cough: coughing up phlegm; coughing up mucus; chesty cough; cough with phlegm; cough with sputum; bringing up phlegm; wet cough; coughing up sputum; green phlegm; yellow phlegm
Nonproductive cough: dry cough; tickly dry cough
Hemoptysis: coughing up blood; coughing blood; blood in sputum; blood in phlegm; spitting blood; coughed up blood
Pharyngalgia: sore throat; throat hurts; throat pain; scratchy throat; throat is sore; painful throat; throat is raw; pain in throat
Rhinorrhea: runny nose; nose is running; nose running; nasal discharge; snotty nose; dripping nose; streaming nose
Nasal congestion: stuffy nose; blocked nose; stuffed up; congested nose; bunged up; nose is blocked; congested; stuffed nose; nasal stuffiness; nose is stuffy
Sneeze: sneezing; sneezes; keep sneezing
Anosmia: cannot smell; lost sense of smell; no sense of smell; loss of smell; lost smell; cannot smell anything
Abnormality of taste sensation: lost sense of taste; cannot taste; loss of taste; no taste; metallic taste
Hoarse voice: hoarse; lost voice; husky voice; croaky voice; hoarseness; raspy voice; losing voice
Headache: head hurts; headaches; sore head; head ache; pounding head; head is pounding; splitting head; pain in head; thumping head; head pain; head is killing
Migraine: migraines; migraine attack; sick headache
Photophobia: light hurts eyes; sensitive to light; light sensitivity; cannot stand light; lights hurt; bothered by light; bright light hurts; hurts to look at light
Phonophobia: sensitive to noise; noise hurts; bothered by noise; sounds hurt; sensitive to sound
Stiff neck: neck stiffness; neck is stiff; cannot bend neck; cannot touch chin to chest; neck stiff; cannot move neck
Neck pain: neck hurts; sore neck; pain in neck; neck ache
Syncope: fainted; fainting; passed out; pass out; blacked out; blackout; blackouts; passing out; faints; keeled over; collapsed
Presyncope: lightheaded; light headed; faint; feel faint; feeling faint; about to faint; nearly fainted; almost passed out; woozy; nearly passed out; lightheadedness; light headedness
Vertigo: dizzy; dizziness; room spinning; room is spinning; head spinning; spinning sensation; everything spins; dizzy spells; giddy; giddiness; head swimming
Loss of consciousness: lost consciousness; unconscious; unresponsive; knocked out; not responding; will not wake up; cannot be woken; cannot wake
Confusion: confused; disoriented; muddled; not making sense; does not know where is; talking nonsense; acting confused; not himself; not herself; delirious; disorientated
Lethargy: lethargic; drowsy; very sleepy; floppy and sleepy; hard to wake; sluggish; listless; difficult to rouse
Fatigue: tired; exhausted; no energy; worn out; wiped out; tiredness; exhaustion; run down; low energy; drained; lack of energy; always tired; knackered; shattered; tired all the time; lacking energy; weary
Malaise: unwell; feeling ill; feel ill; under the weather; feel rotten; off colour
Muscle weakness: weak; weakness; feels weak; no strength; loss of strength; weak muscles; muscles weak; lost strength
Lower limb muscle weakness: legs weak; weak legs; legs give way; weakness in legs; leg weakness; legs gave way; legs are weak; cannot lift leg
Upper limb muscle weakness: arm weak; weak arm; arm weakness; weakness in arm; arms weak; cannot lift arm; cannot raise arm; arm is weak
Hemiparesis: weakness on one side; one side weak; one sided weakness; left side weak; right side weak; weakness down one side; weak on one side; left sided weakness; right sided weakness; weakness of left side; weakness of right side
Facial palsy: face drooping; facial droop; droopy face; face droops; mouth drooping; drooping mouth; side of face dropped; crooked smile; lopsided face; face is lopsided; mouth droops; face has dropped; face dropped; one side of face drooping
Dysarthria: slurred speech; slurring; slurring words; speech is slurred; speech slurred; cannot speak clearly; slurs; words are slurred
Aphasia: cannot find words; cannot get words out; trouble finding words; cannot speak; cannot talk; words come out wrong; unable to speak; trouble speaking; difficulty speaking; lost ability to speak
Paresthesia: pins and needles; tingling; tingly; prickling; prickly feeling; crawling sensation
Hypoesthesia: numb; numbness; lost feeling; no feeling in; cannot feel; gone numb; reduced sensation; loss of sensation
Tremor: shaky hands; hands shake; trembling; shaking hands; shakes; tremors; hands tremble; hand shaking; trembles; shakiness
Unsteady gait: unsteady; wobbly; off balance; loss of balance; cannot walk straight; losing balance; poor balance; balance problems; staggering; unsteady on feet; wobbly on feet
Frequent falls: keep falling; falls a lot; falling over; keeps falling; falls often; falling often; falling down a lot
Memory impairment: forgetful; memory problems; memory loss; forgets things; losing memory; bad memory; poor memory; keeps forgetting; cannot remember; forgetting things
Blurred vision: blurry vision; vision is blurry; blurred eyesight; cannot see clearly; fuzzy vision; blurry eyesight; vision blurred; sight blurry
Visual loss: lost vision; lost sight; cannot see; gone blind; loss of vision; went blind; going blind; vision went black; curtain over eye; curtain over vision; vision loss; loss of sight; blind in one eye
Diplopia: double vision; seeing double; see double; seeing two of everything
Vitreous floaters: floaters; black spots floating; spots in vision
Photopsia: flashing lights; flashes of light; seeing flashes
Ocular pain: eye pain; eye hurts; sore eye; eyes hurt; painful eye; pain in eye; pain behind eye; eyes sore; eyes are sore
Red eye: red eyes; bloodshot eyes; eye is red; bloodshot; pink eyes
Conjunctivitis: pink eye; sticky eyes; eyes stuck together; gunky eyes; eye discharge
Epiphora: watery eyes; eyes watering; eyes water; streaming eyes; tearing eyes; watering eyes
Keratoconjunctivitis sicca: dry eyes; dry eye; gritty eyes
Ear pain: earache; ear hurts; ears hurt; sore ear; pain in ear; pulling at ear; tugging ear; ear ache
Hearing impairment: cannot hear; hard of hearing; hearing loss; going deaf; deaf; poor hearing; lost hearing; trouble hearing; muffled hearing
Tinnitus: ringing in ears; ears ringing; buzzing in ears; ringing ears; whistling in ears
Epistaxis: nosebleed; nose bleed; nose bleeds; bleeding from nose; nosebleeds; bloody nose; nose keeps bleeding
Gingival bleeding: gums bleed; bleeding gums; gums bleeding
Bruising susceptibility: bruise easily; easy bruising; bruises easily; bruising easily; unexplained bruises; lots of bruises; covered in bruises
Nausea: feel sick; nauseous; queasy; sick to stomach; feeling sick; want to throw up; nauseated; feels sick; want to be sick; sickness
Vomiting: throwing up; threw up; being sick; vomited; puking; puked; throw up; been sick; vomits; vomit; throws up; cannot keep anything down; keeps being sick
Hematemesis: vomiting blood; throwing up blood; vomited blood; coffee ground vomit; blood in vomit; coffee grounds; threw up blood; puking blood; being sick with blood; bringing up blood
Diarrhea: loose stools; loose stool; loose motions; watery stools; watery stool; watery poo; runny poo; the trots; loose bowels; upset bowels; diarrhoeal; runny stool; upset tummy
Constipation: constipated; cannot poo; cannot go to toilet; hard stools; no bowel movement; bowels not moved; not pooping
Abdominal pain: stomach ache; stomachache; tummy ache; belly ache; stomach hurts; tummy hurts; belly hurts; stomach pain; tummy pain; belly pain; pain in stomach; pain in belly; pain in tummy; pain in abdomen; sore stomach; stomach pains; gut pain; bellyache; sore tummy; abdominal pains; tummyache
Abdominal cramps: stomach cramps; cramping; tummy cramps; belly cramps; crampy pain; cramps in stomach; griping pain; gripes
Epigastric pain: pain in upper stomach; pain in upper abdomen; upper abdominal pain; pain under breastbone; pain in pit of stomach; upper stomach pain; upper belly pain
Acute abdomen: rigid stomach; stomach hard as board; board like abdomen; rigid abdomen; stomach is rigid; belly rigid
Abdominal distention: bloated; bloating; swollen belly; stomach swollen; swollen stomach; swollen abdomen; distended belly; belly swollen
Flatulence: gassy; passing gas; farting; passing wind
Gastroesophageal reflux: heartburn; acid reflux; reflux; acid coming up; acid indigestion; burning behind breastbone
Dyspepsia: indigestion; upset stomach
Dysphagia: cannot swallow; trouble swallowing; difficulty swallowing; hard to swallow; food gets stuck; hurts to swallow; swallowing hurts; painful to swallow; food sticks
Drooling: drooling; dribbling; cannot swallow saliva; dribbles
Poor appetite: no appetite; lost appetite; not hungry; off food; loss of appetite; not eating; does not want to eat; reduced appetite; not eating much; appetite is poor; will not eat
Feeding difficulties: not feeding; will not feed; refusing feeds; not taking feeds; refuses bottle; not nursing; feeding poorly; poor feeding; off feeds; will not take bottle
Hematochezia: blood in stool; blood in poo; bloody stool; bleeding from bottom; blood on toilet paper; rectal bleeding; bloody diarrhea; blood in stools; passing blood; bright red blood in stool; bleeding from back passage; bloody poo; bloody stools; blood in poop
Melena: black stool; black stools; tarry stool; tarry stools; black tarry stool; black poo; tar like stool; black as tar; black tarry poo; stools black; poo is black; stool is black; black poop
Jaundice: yellow skin; yellow eyes; skin turned yellow; eyes turned yellow; skin is yellow; eyes are yellow; gone yellow; jaundiced; turning yellow; eyes yellow
Dark urine: dark pee; brown urine; tea coloured urine; cola coloured urine; brown pee; dark wee; urine is dark
Hematuria: blood in urine; blood in pee; pee blood; red urine; bloody urine; blood in wee; peeing blood; pink urine; pink pee; weeing blood
Dysuria: burning when I pee; hurts to pee; burns when I pee; pain when urinating; burning urination; painful urination; stings when I pee; stings to wee; burning pee; pain on passing urine; hurts to wee; burning on urination; burns to pee; painful to pee; burning sensation when urinating; hurts when I pee
Pollakisuria: peeing often; peeing a lot; urinating often; frequent urination; going to toilet a lot; need to pee all the time; weeing a lot; pee frequently; urinary frequency; urinating frequently; peeing more often; pee all the time; urinating more often
Urinary urgency: cannot hold pee; rushing to toilet; urgent need to pee; sudden need to pee; bursting to pee
Nocturia: up at night to pee; get up at night to pee; wake up to pee; peeing at night; waking to urinate; up at night to urinate
Polyuria: passing lots of urine; urinating large amounts; large amounts of urine; passing a lot of urine; peeing large amounts
Polydipsia: very thirsty; always thirsty; thirsty; excessive thirst; drinking a lot; thirst; drinks a lot; thirsty all the time; drinking lots of water
Urinary retention: cannot pee; cannot urinate; cannot pass urine; unable to urinate; unable to pee; cannot wee; unable to pass urine
Urinary incontinence: wet myself; leaking urine; wetting bed; cannot control bladder; lost control of bladder; leaks pee; wetting myself; leaking pee; loss of bladder control; wet himself; wet herself; lost bladder control
Bowel incontinence: soiled myself; cannot control bowels; lost control of bowels; loss of bowel control; soiling; lost bowel control; messed myself
Decreased urine output: no wet nappies; fewer wet nappies; dry nappy; dry diaper; not peeing; hardly peeing; no wet diapers; fewer wet diapers; barely peeing; has not peed; nappies are dry; has not weed
Flank pain: pain in side; pain in flank; side hurts; loin pain; kidney pain; pain in kidney; pain in kidneys; kidneys hurt
Groin pain: pain in groin; groin hurts; sore groin
Pelvic pain: pain low in belly; lower abdominal pain; lower belly pain; pain in pelvis; lower stomach pain; pain in lower abdomen; pain in lower stomach; lower tummy pain
Weight loss: losing weight; lost weight; weight falling off; clothes are loose; weight dropped; dropped weight; lost kilos; lost pounds; lost a stone; lost kg; getting thinner; lost so much weight
Increased body weight: gaining weight; put on weight; weight gain; gained weight; putting on weight; weight is going up
Night sweats: sweating at night; wake up soaked; drenched at night; sweaty at night; soaking sheets; wake up drenched; sweats at night
Hyperhidrosis: sweating; sweaty; cold sweat; drenched in sweat; clammy; breaking out in sweat; broke out in sweat; sweats; cold sweats; pouring with sweat
Hot flashes: hot flushes; hot flush; hot flash; flushes
Cold intolerance: always cold; feel cold all the time; cannot stand cold; feeling cold all the time; cold all the time
Heat intolerance: cannot stand heat; always hot; feel hot all the time; cannot tolerate heat
Skin rash: rash; rashes; red spots on skin; spots; breaking out; broken out in spots; spots on skin; red spots; skin eruption
Pruritus: itchy; itching; itch; scratching; itchy skin; itches; itchy all over; itchiness
Urticaria: hives; nettle rash; welts; wheals; raised itchy bumps
Angioedema: swollen lips; lips swelling; lips swollen; swollen tongue; tongue swelling; tongue swollen; face swelling; face swollen; swelling of lips; swelling of tongue; swelling of face; lip swelling; puffy lips; lips are swelling; swollen lip; facial swelling; eyes swelling shut; tongue feels thick; throat swelling; lips puffed up; face puffed up; lips blew up; face blew up
Eczematoid dermatitis: eczema; atopic dermatitis
Psoriasiform dermatitis: psoriasis; silvery scales
Erythema: red skin; skin is red; redness; skin red; flushed skin; redness of skin
Skin vesicle: blisters; little blisters; fluid filled bumps; blister; blistering rash; vesicles
Petechiae: tiny red dots; pinprick spots; rash that does not fade; spots that do not fade; rash does not blanch; non blanching rash; purple spots; spots do not fade under glass; pinprick rash; rash not fading; tiny purple dots; purple rash
Purpura: purple blotches; purple patches
Pallor: pale; very pale; gone white; white as sheet; looks pale; ashen; grey skin; gone grey; looks grey; washed out; pasty; turned grey
Cyanosis: blue lips; lips are blue; turning blue; gone blue; lips turned blue; blue fingers; bluish lips; turned blue; blue around mouth; lips blue; lips look blue; going blue; mottled skin; blue skin
Edema: swelling; swollen; puffy; puffiness
Peripheral edema: swollen ankles; swollen legs; swollen feet; ankles swell; puffy ankles; feet swollen; legs swollen; ankles swollen; ankle swelling; leg swelling; feet swell; legs swell; swelling in legs; swelling of ankles; swelling in ankles; swollen leg; leg swollen
Lower limb pain: leg pain; leg hurts; legs hurt; pain in leg; calf pain; calf hurts; sore calf; legs ache; pain in calf; sore legs; pain in legs; painful leg; painful calf; calf is sore; pain down leg; calf tender
Upper limb pain: arm pain; arm hurts; pain in arm; pain down arm; left arm pain; pain in left arm; left arm hurts; pain down left arm; arms hurt; arm ache; left arm aches; pain going down arm; ache in left arm
Back pain: back hurts; pain in back; sore back; backache; back ache; bad back; back is killing; pains in back
Low back pain: lower back hurts; lower back pain; pain in lower back; lumbago; low back hurts; lower backache
Knee pain: knee hurts; sore knee; pain in knee; knees hurt; knees ache; bad knee; pain in knees
Shoulder pain: shoulder hurts; sore shoulder; pain in shoulder; shoulders ache; shoulders hurt; pain in shoulders
Hip pain: hip hurts; pain in hip; sore hip; hips hurt
Hand pain: hand hurts; hands hurt; pain in hand; sore hands; pain in hands; hands ache; fingers hurt; wrist hurts
Foot pain: foot hurts; feet hurt; pain in foot; sore feet; toe hurts; big toe hurts; heel pain; painful toe; painful big toe; sore foot; pain in toe; pain in big toe
Jaw pain: jaw hurts; pain in jaw; sore jaw; jaw ache; jaw aches
Arthralgia: joint pain; joints hurt; achy joints; sore joints; painful joints; joints ache; pain in joints; aching joints; joints are sore; joint pains
Joint swelling: swollen joints; joints swollen; swollen knee; swollen joint; swollen fingers; knee swollen; joints swell; fingers swollen; knuckles swollen; swollen knuckles
Joint stiffness: stiff joints; joints stiff; stiff fingers; stiffness; stiff hands; feel stiff
Generalized morning stiffness: stiff in morning; morning stiffness; stiff when wake up; stiffness in morning; stiff every morning
Myalgia: muscle ache; muscle aches; body aches; aching all over; achy muscles; sore muscles; aches and pains; muscles hurt; muscle pain; muscles ache; aching muscles; body ache; ache all over; achy; aching body; everything aches; whole body aches; body is aching
Muscle spasm: muscle cramp; cramps in legs; leg cramps; cramps; charley horse; muscle cramps; muscles cramp; muscle twitches; leg cramp
Bone pain: bones hurt; pain in bones; bones ache; aching bones
Joint hypermobility: double jointed; bendy joints; very flexible joints; hyperflexible; loose joints; hypermobile; very bendy; bendy; hyperflexible joints
Tall stature: very tall; tall for age; unusually tall; much taller than; tall; tall and thin; tall and slim
Short stature: short for age; very short; not growing; small for age; stopped growing; unusually short; shorter than peers; much shorter than
Arachnodactyly: long fingers; long thin fingers; spider fingers; long slender fingers; spidery fingers; thin long fingers; long skinny fingers; fingers are long
Ectopia lentis: lens dislocation; dislocated lens; lens slipped; displaced lens; dislocated lenses; lens dislocated; lens out of place; lens subluxation; lens displaced; subluxated lens
Scoliosis: curved spine; crooked spine; spine is curved; curvature of spine; spine curves
Pectus excavatum: sunken chest; caved in chest; hollow chest; funnel chest; chest caves in; dented chest
Pectus carinatum: pigeon chest; protruding chest; chest sticks out
Aortic root aneurysm: enlarged aorta; dilated aortic root; aortic root dilatation; dilated aorta; widened aorta; aortic root dilation; dilation of aortic root; enlarged aortic root; aortic dilatation; aortic dilation
Macrocephaly: big head; large head; oversized head; head is big; head is large; enlarged head
Microcephaly: small head; tiny head; head is small
Global developmental delay: developmental delay; behind in development; delayed milestones; slow to develop; late developer; missed milestones; development is delayed; delayed development; not meeting milestones; developmentally delayed; developmental delays
Delayed speech and language development: late talker; not talking yet; late to talk; speech delay; talks late; late talking; not speaking yet; delayed speech; started talking late; slow to talk
Delayed ability to walk: late walker; not walking yet; walked late; late to walk; late walking; started walking late
Motor delay: delayed motor; slow motor development; late to sit; sat late
Intellectual disability: learning disability; mentally disabled; intellectually disabled; mental retardation; low iq; learning disabilities
Autistic behavior: autistic; autism; on spectrum; autism spectrum
Hypotonia: floppy; floppy baby; low muscle tone; poor muscle tone; floppy infant; limp; weak muscle tone; gone floppy; low tone
Spasticity: stiff legs; stiff muscles; tight muscles; spastic; stiff limbs
Cafe-au-lait spot: coffee coloured patches; cafe au lait; brown birthmarks; coffee coloured spots; cafe au lait patches; light brown patches; light brown birthmarks; cafe au lait spots; coffee colored spots
Axillary freckling: freckles in armpits; armpit freckles; freckles in armpit; freckling in armpits; freckled armpits; armpit freckling
Neurofibroma: lumps on nerves; neurofibromas; nerve tumours; soft lumps under skin; nerve tumors; neurofibromata
Hypertelorism: wide set eyes; widely spaced eyes; eyes far apart; wide apart eyes; widely set eyes
Low-set ears: ears set low; low ears; ears are low
Webbed neck: webbing of neck; webbed skin on neck; neck webbing; skin folds on neck
Ptosis: droopy eyelid; droopy eyelids; drooping eyelid; eyelid droops; drooping eyelids; eyelids droop; eyelid drooping
Cleft palate: hole in roof of mouth; cleft in palate
Cleft lip: hare lip; split lip at birth
Ventricular septal defect: hole in heart; vsd
Atrial septal defect: asd; hole between upper heart chambers
Pulmonic stenosis: narrow pulmonary valve; pulmonary valve stenosis; pulmonary stenosis; narrowed pulmonary valve
Heart murmur: murmur; heart murmurs
Hypertension: high blood pressure; raised blood pressure; bp is high; blood pressure is high; bp high; blood pressure high
Hypotension: low blood pressure; bp is low; blood pressure is low; bp low
Tachycardia: fast heart rate; fast pulse; rapid pulse; rapid heart rate; pulse is fast; high heart rate; rapid heartbeat; fast heartbeat
Bradycardia: slow heart rate; slow pulse; low heart rate; slow heartbeat
Tachypnea: breathing fast; fast breathing; rapid breathing; breathing quickly; panting; breathing very fast; breathing rapidly
Wheezing: wheeze; wheezy; whistling when breathing; wheezes; whistling chest; whistling breath
Stridor: noisy breathing; high pitched noise breathing in; crowing sound; noisy breathing in; harsh noise breathing in; barking noise
Snoring: snores; snore loudly; loud snoring; snore
Sleep apnea: stops breathing at night; stop breathing in sleep; stops breathing in sleep; stops breathing when asleep; stops breathing while asleep
Excessive daytime somnolence: sleepy during day; sleepy in daytime; falling asleep during day; nodding off; daytime sleepiness; fall asleep during day
Insomnia: cannot sleep; not sleeping; trouble sleeping; sleepless; lying awake; difficulty sleeping; bad sleep; cannot fall asleep; sleeping badly; problems sleeping; sleep badly
Anxiety: anxious; worrying all the time; nervous; on edge; panicky; constant worry; worry a lot; keyed up; nervousness
Panic attack: panic attacks; panicking; attack of panic
Depression: depressed; feeling low; hopeless; feeling down; low mood; sad all the time; feel low; mood is low; feel down; feel hopeless; very sad; miserable; feel empty
Anhedonia: no interest in anything; nothing is fun; lost interest; cannot enjoy anything; no pleasure; do not enjoy anything; no joy; not interested in anything
Irritability: irritable; cranky; grumpy; short tempered; fussy; snappy; irritated; crabby; bad tempered; cries all the time; will not stop crying; crying nonstop; cannot be consoled; screaming for hours
Agitation: agitated; cannot sit still; pacing; worked up
Hallucinations: hearing voices; seeing things; hears voices; sees things; hear voices; see things that are not there; seeing things that are not there
Restlessness: restless; fidgety
Restless legs: legs twitch at night; legs jump at night; jumpy legs; restless leg
Dry skin: skin is dry; flaky skin; dried out skin; skin very dry
Xerostomia: dry mouth; mouth is dry; cotton mouth; mouth very dry
Alopecia: hair loss; losing hair; hair falling out; going bald; bald patches; hair is falling out; hair thinning
Hirsutism: facial hair growth; hairy face; excess hair; unwanted hair
Acne: pimples; zits; spotty face; spots on face; breakouts
Oral ulcer: mouth ulcers; mouth sores; sores in mouth; ulcers in mouth; canker sores; canker sore; mouth ulcer
Lymphadenopathy: swollen glands; lumps in neck; swollen lymph nodes; glands up; glands are up; swollen nodes; glands swollen; enlarged glands
Cervical lymphadenopathy: swollen glands in neck; glands in neck; lumps in neck glands; neck glands swollen; swollen neck glands; neck glands
Goiter: lump in neck front; swollen thyroid; enlarged thyroid
Splenomegaly: enlarged spleen; big spleen; swollen spleen
Hepatomegaly: enlarged liver; big liver; swollen liver
Anemia: anaemic; anemic; low iron; low blood count; low hemoglobin; low haemoglobin
Pica: eating dirt; eating ice; craving ice; eats dirt
Menorrhagia: heavy periods; heavy bleeding during period; flooding periods; very heavy period; periods are heavy; period is heavy; heavy period; heavy menstrual bleeding
Dysmenorrhea: painful periods; period pain; bad cramps with period; period cramps; period pains; painful period; menstrual cramps; periods are painful
Irregular menstruation: irregular periods; periods all over place; periods irregular; irregular cycle; periods are irregular; irregular period
Amenorrhea: no periods; periods stopped; missed period; late period; period is late; missed periods; period late; not had period
Abnormal vaginal bleeding: vaginal bleeding; bleeding between periods; spotting; bleeding down below; bleeding from vagina; bleeding from down below
Abnormal vaginal discharge: vaginal discharge; discharge down there; smelly discharge; discharge from vagina
Vaginal dryness: dry down below; dryness down there; dry vagina
Dyspareunia: sex hurts; painful sex; pain during sex; pain during intercourse
Erectile dysfunction: cannot get erection; impotent; impotence; erection problems; cannot keep erection; trouble getting erection
Testicular pain: testicle hurts; balls hurt; pain in testicle; sore testicle; painful testicle; pain in balls; ball hurts; testicles hurt; pain in testicles; nuts hurt; pain in ball; painful testicles; ache in testicle; pain in one testicle; testis pain; painful balls
Female infertility: cannot get pregnant; trying to conceive; trouble conceiving; trouble getting pregnant
Decreased libido: no sex drive; low sex drive; low libido; lost sex drive; not interested in sex
Hyperglycemia: high blood sugar; sugar is high; high sugar; blood sugar is high; blood sugar high; high glucose; high sugars; sugars are high
Hypoglycemia: low blood sugar; sugar is low; hypo; blood sugar is low; low sugar; blood sugar low; hypos
Type II diabetes mellitus: type 2 diabetes; type two diabetes
Type I diabetes mellitus: type 1 diabetes; type one diabetes
Diabetes mellitus: diabetes; diabetic; sugar disease
Asthma: asthmatic; asthma attack; asthma attacks
Dehydration: dehydrated; sunken eyes; sunken fontanelle; no tears when crying; dried out; crying without tears; sunken soft spot; parched
Hypothyroidism: underactive thyroid; low thyroid; slow thyroid
Hyperthyroidism: overactive thyroid; high thyroid; fast thyroid
Gout: gouty; gout attack
Hemorrhoids: piles; haemorrhoid; pile
Nephrolithiasis: kidney stones; kidney stone; stones in kidney; renal stones
Cholelithiasis: gallstones; gall stones; gallstone; stones in gallbladder
Congestive heart failure: heart failure; failing heart; weak heart
Atrial fibrillation: afib; a fib; auricular fibrillation
Deep venous thrombosis: clot in leg; dvt; blood clot in leg; leg clot; deep vein thrombosis
Raynaud phenomenon: fingers turn white; white fingers in cold; fingers go white; fingers go white in cold; fingers turn white in cold; fingers turn blue in cold
Cutaneous photosensitivity: burn easily in sun; sun rash; rash from sun; sensitive to sun; sunlight gives me a rash; skin sensitive to sun
Malar rash: butterfly rash; rash across cheeks; rash over cheeks; red cheeks rash; rash on cheeks
Skin ulcer: open sore; ulcer on leg; wound not healing; sore that will not heal; leg ulcer
Delayed puberty: no puberty; late puberty; puberty late
Failure to thrive: not gaining weight; failing to thrive; not putting on weight; poor weight gain
Recurrent infections: always getting infections; keeps getting infections; infection after infection; infections all the time; constant infections; frequent infections
Recurrent fractures: keeps breaking bones; breaks bones easily; bones break easily; many fractures; broken bones many times; multiple fractures; frequent fractures; several broken bones; brittle bones
Blue sclerae: blue whites of eyes; bluish whites of eyes; blue sclera; whites of eyes are blue; blue whites of his eyes
Nystagmus: eyes flicker; jerky eyes; eyes wobble; jumping eyes; wobbly eyes; eyes dance
Strabismus: squint; cross eyed; lazy eye; crossed eyes; eyes crossed; squinting eye
Myopia: short sighted; nearsighted; near sighted; shortsighted; short sightedness; severe short sight; nearsightedness; high myopia
Nyctalopia: night blindness; cannot see in dark; cannot see at night; poor night vision; blind at night; trouble seeing at night; trouble seeing in dark
Cataract: cloudy lens; cataracts; cloudy eye lens
Enlarged tonsils: big tonsils; swollen tonsils; tonsils swollen; white spots on tonsils; tonsils are swollen
Nail pits: pitted nails; pits in nails
Exercise intolerance: cannot exercise; tire on exertion; tires easily; gets tired quickly; tire easily
Gait disturbance: walks strangely; odd walk; trouble walking; difficulty walking; limping; limp when walking; walks funny; cannot walk properly; problems walking; limps
Bradykinesia: slow movements; moves slowly; slowed down movements; slow moving; movements are slow
Shuffling gait: shuffles; shuffling walk; shuffles when walking; shuffling
Resting tremor: tremor at rest; hand shakes at rest; shakes when resting; hand trembles at rest
Micrographia: small handwriting; handwriting got smaller; tiny handwriting
Dementia: senile; senility
Burning mouth: mouth burns; burning tongue
Weak cry: feeble cry; quiet cry; weak crying
High-pitched cry: high pitched crying; shrill cry; high pitched scream
"""

CHINESE = """
Fever: 发烧; 发热; 高烧; 低烧; 体温高; 发高烧; 烧得; 烫得厉害
Chills: 寒战; 发冷; 打冷战; 畏寒; 发抖发冷; 怕冷发抖
Cough: 咳嗽; 一直咳; 咳个不停; 咳得
Productive cough: 咳痰; 有痰; 痰多; 黄痰; 绿痰
Nonproductive cough: 干咳
Hemoptysis: 咳血; 痰中带血; 咯血; 痰里有血
Pharyngalgia: 喉咙痛; 嗓子疼; 咽痛; 嗓子痛; 喉咙疼; 咽喉痛
Rhinorrhea: 流鼻涕; 流涕; 鼻涕
Nasal congestion: 鼻塞; 鼻子不通; 鼻子堵
Sneeze: 打喷嚏; 喷嚏
Anosmia: 闻不到; 嗅觉丧失; 失去嗅觉; 没有嗅觉
Abnormality of taste sensation: 尝不出味道; 味觉丧失; 没有味觉
Hoarse voice: 声音嘶哑; 嗓子哑; 声嘶
Dyspnea: 呼吸困难; 喘不上气; 喘不过气; 气短; 气促; 上不来气; 憋气; 透不过气; 气喘吁吁; 呼吸费力
Exertional dyspnea: 活动后气短; 爬楼气喘; 走路气喘; 爬楼梯喘
Orthopnea: 不能平躺; 躺下喘; 平躺就喘
Wheezing: 喘息; 哮鸣; 喘鸣
Stridor: 喉鸣; 吸气有响声
Tachypnea: 呼吸急促; 呼吸很快; 呼吸快
Chest pain: 胸痛; 胸口痛; 胸口疼; 胸疼; 胸口压着; 胸口压榨; 心口疼; 心口痛; 心前区疼
Chest tightness: 胸闷; 胸口闷; 胸口发紧; 胸口紧
Palpitations: 心慌; 心悸; 心跳快; 心跳很快; 心跳加速; 心跳得厉害
Tachycardia: 心率快; 脉搏快
Bradycardia: 心率慢; 心跳慢
Syncope: 晕倒; 昏倒; 晕厥; 昏过去; 晕过去
Presyncope: 快要晕倒; 头重脚轻; 眼前发黑; 快晕了
Vertigo: 头晕; 眩晕; 天旋地转; 晕眩
Loss of consciousness: 失去意识; 不省人事; 昏迷; 叫不醒; 没有意识; 没有反应; 意识丧失
Confusion: 意识模糊; 糊涂; 神志不清; 说胡话; 胡言乱语; 认不得人
Lethargy: 嗜睡; 昏昏沉沉; 精神差; 没精神; 精神萎靡; 反应迟钝
Headache: 头痛; 头疼; 脑袋疼
Migraine: 偏头痛
Photophobia: 怕光; 畏光
Stiff neck: 脖子僵硬; 颈项强直; 脖子硬; 脖子发硬; 低不下头
Neck pain: 脖子痛; 脖子疼; 颈痛
Seizure: 抽搐; 癫痫; 抽风; 惊厥; 羊癫疯; 抽筋抽搐
Hemiparesis: 半身不遂; 偏瘫; 一侧无力; 半边身子无力; 半边身体没力气; 左边没力气; 右边没力气; 半边无力; 左侧无力; 右侧无力; 半身没有力气; 一边手脚没力
Facial palsy: 嘴歪; 口角歪斜; 面瘫; 脸歪; 嘴角歪; 口眼歪斜; 脸歪了
Dysarthria: 说话不清; 口齿不清; 说话含糊; 言语不清; 吐字不清; 大舌头
Aphasia: 说不出话; 不会说话; 话说不出来; 讲不出话
Muscle weakness: 无力; 没力气; 没有力气; 肌无力; 乏力无力
Fatigue: 乏力; 疲劳; 很累; 疲倦; 疲惫; 累得很; 没劲
Malaise: 不舒服; 难受; 浑身不适
Paresthesia: 发麻; 刺痛感; 针刺感; 手脚麻; 蚁走感
Hypoesthesia: 麻木; 没有知觉; 没知觉; 感觉减退
Tremor: 手抖; 颤抖; 震颤; 手颤; 发抖
Unsteady gait: 走路不稳; 站不稳; 步态不稳; 走不稳
Frequent falls: 经常摔倒; 老是摔跤; 总摔倒
Memory impairment: 记性差; 健忘; 记忆力下降; 记不住; 忘事
Blurred vision: 视力模糊; 看不清; 视物模糊; 眼睛模糊
Visual loss: 看不见; 失明; 视力丧失; 突然看不到; 眼前一片黑; 瞎了
Diplopia: 重影; 复视; 看东西两个
Ocular pain: 眼睛痛; 眼痛; 眼睛疼; 眼疼; 眼睛胀痛
Red eye: 眼睛红; 红眼; 眼红
Conjunctivitis: 结膜炎; 红眼病
Epiphora: 流眼泪; 流泪
Ear pain: 耳朵痛; 耳痛; 耳朵疼; 耳疼
Hearing impairment: 听不见; 听力下降; 耳聋; 耳背; 听不清
Tinnitus: 耳鸣
Epistaxis: 流鼻血; 鼻出血; 鼻子出血
Gingival bleeding: 牙龈出血
Bruising susceptibility: 容易淤青; 瘀斑; 容易青紫; 淤青
Nausea: 恶心; 想吐; 反胃
Vomiting: 呕吐; 吐了; 一直吐; 吐个不停; 喷射性呕吐; 上吐下泻
Hematemesis: 吐血; 呕血; 吐咖啡色; 呕吐物有血; 呕吐咖啡色
Diarrhea: 腹泻; 拉肚子; 拉稀; 水样便; 泻肚; 上吐下泻; 闹肚子
Constipation: 便秘; 大便干; 拉不出; 排便困难
Abdominal pain: 肚子痛; 腹痛; 肚子疼; 胃痛; 胃疼; 肚子绞痛
Acute abdomen: 肚子硬得像板; 板状腹; 肚子像木板
Abdominal distention: 腹胀; 肚子胀; 胀气
Gastroesophageal reflux: 烧心; 反酸; 胃食管反流; 胃酸反流
Dyspepsia: 消化不良
Dysphagia: 吞咽困难; 咽不下; 吞不下; 咽东西困难
Drooling: 流口水; 口水咽不下
Poor appetite: 没胃口; 食欲差; 不想吃; 食欲不振; 吃不下; 没有胃口
Feeding difficulties: 不吃奶; 拒奶; 吃奶少; 不肯吃奶; 奶量减少
Hematochezia: 便血; 大便带血; 拉血; 大便有血; 血便
Melena: 黑便; 柏油样便; 大便发黑; 大便黑; 柏油便; 黑色大便
Jaundice: 黄疸; 皮肤发黄; 眼睛发黄; 眼白发黄; 皮肤黄; 眼睛黄
Dark urine: 尿色深; 茶色尿; 酱油色尿; 尿像浓茶
Hematuria: 血尿; 尿血; 尿里有血; 小便带血; 尿中带血
Dysuria: 尿痛; 小便痛; 尿的时候疼; 小便疼; 小便刺痛; 排尿疼痛
Pollakisuria: 尿频; 老想小便; 小便次数多
Urinary urgency: 尿急; 憋不住尿
Nocturia: 起夜; 夜尿; 夜尿多
Polyuria: 多尿; 尿多; 尿量多
Polydipsia: 口渴; 多饮; 总是口渴; 喝很多水; 老是渴
Urinary retention: 尿不出; 排不出尿; 小便不出; 解不出小便; 尿潴留
Urinary incontinence: 尿失禁; 小便失禁; 漏尿; 大小便失禁; 憋不住小便
Bowel incontinence: 大便失禁; 大小便失禁
Decreased urine output: 尿少; 没有尿; 尿量少; 没小便; 尿布一直是干的; 尿布干
Flank pain: 腰侧痛; 肾区痛; 腰部绞痛; 肋腰痛
Pelvic pain: 下腹痛; 小腹痛; 小腹疼; 下腹疼; 小肚子疼
Groin pain: 腹股沟痛
Testicular pain: 睾丸痛; 蛋疼; 睾丸疼; 蛋蛋疼; 睾丸剧痛; 阴囊疼
Abnormal vaginal bleeding: 阴道出血; 阴道流血; 下面出血; 下身出血
Weight loss: 体重下降; 消瘦; 瘦了; 体重减轻; 变瘦
Increased body weight: 体重增加; 变胖; 胖了
Night sweats: 盗汗; 夜间出汗; 半夜出汗
Hyperhidrosis: 出冷汗; 大汗; 多汗; 冒冷汗; 冷汗; 满头大汗; 大汗淋漓; 出汗
Skin rash: 皮疹; 起疹子; 红疹; 疹子; 出疹
Pruritus: 瘙痒; 痒; 皮肤痒; 发痒
Urticaria: 荨麻疹; 风团; 风疹块
Angioedema: 嘴唇肿; 舌头肿; 脸肿; 喉咙肿; 嘴肿; 嘴唇肿了; 喉头水肿; 面部肿胀; 舌头肿胀; 喉咙发紧
Eczematoid dermatitis: 湿疹
Psoriasiform dermatitis: 银屑病; 牛皮癣
Skin vesicle: 水泡; 起泡; 疱疹; 水疱
Petechiae: 出血点; 紫点; 压不褪色; 按压不褪色; 瘀点; 紫色斑点
Pallor: 面色苍白; 脸色苍白; 脸色发白; 脸色很白; 脸色灰
Cyanosis: 嘴唇发紫; 发绀; 脸发紫; 嘴唇发青; 口唇发紫; 嘴唇紫; 脸色发青; 嘴唇青紫
Edema: 水肿; 浮肿; 肿了; 肿胀
Peripheral edema: 脚肿; 腿肿; 脚踝肿; 下肢水肿; 腿浮肿
Lower limb pain: 腿痛; 腿疼; 小腿痛; 小腿疼; 腿剧痛
Upper limb pain: 胳膊痛; 手臂痛; 左臂痛; 左胳膊疼; 胳膊疼; 左手臂痛; 手臂疼; 左肩膀疼
Back pain: 背痛; 后背痛; 后背疼; 背疼
Low back pain: 腰痛; 腰疼; 下背痛
Knee pain: 膝盖痛; 膝盖疼; 膝关节痛; 膝关节疼
Shoulder pain: 肩膀痛; 肩膀疼; 肩痛
Jaw pain: 下巴痛; 下颌痛; 下巴疼
Arthralgia: 关节痛; 关节疼; 关节疼痛
Joint swelling: 关节肿; 关节肿胀
Joint stiffness: 关节僵硬
Generalized morning stiffness: 晨僵; 早晨僵硬; 早上僵硬
Myalgia: 肌肉痛; 肌肉酸痛; 全身酸痛; 浑身疼; 全身疼痛; 浑身酸痛; 肌肉疼
Muscle spasm: 抽筋; 肌肉痉挛
Joint hypermobility: 关节过伸; 关节松弛; 关节活动度大; 关节很软
Tall stature: 个子很高; 身材高; 特别高; 身高过高; 身材高大
Short stature: 身材矮小; 个子矮; 矮小; 长不高
Arachnodactyly: 蜘蛛指; 手指细长; 手指很长; 手指又细又长
Ectopia lentis: 晶状体脱位; 晶体脱位; 晶状体移位
Scoliosis: 脊柱侧弯; 脊椎侧弯; 脊柱弯曲
Pectus excavatum: 漏斗胸; 胸部凹陷
Pectus carinatum: 鸡胸
Macrocephaly: 大头; 头围大
Microcephaly: 小头; 头围小; 小头畸形
Global developmental delay: 发育迟缓; 发育落后; 发育慢; 发育迟
Delayed speech and language development: 说话晚; 语言发育迟缓; 不会讲话
Intellectual disability: 智力障碍; 智力低下; 智力落后; 智障
Autistic behavior: 自闭症; 孤独症; 自闭
Hypotonia: 肌张力低; 软绵绵; 肌张力低下; 全身软
Cafe-au-lait spot: 咖啡斑; 牛奶咖啡斑; 咖啡牛奶斑
Hypertelorism: 眼距宽; 眼距过宽
Ptosis: 眼睑下垂; 上睑下垂; 眼皮下垂
Hypertension: 高血压; 血压高
Hypotension: 低血压; 血压低
Insomnia: 失眠; 睡不着; 睡眠差
Anxiety: 焦虑; 紧张; 坐立不安
Panic attack: 惊恐发作; 恐慌发作
Depression: 抑郁; 情绪低落; 心情低落; 抑郁症
Anhedonia: 没兴趣; 提不起兴趣
Hallucinations: 幻觉; 幻听; 幻视
Irritability: 烦躁; 易怒; 哭闹不安; 哭个不停; 哄不住
Xerostomia: 口干; 嘴干
Dry skin: 皮肤干; 皮肤干燥
Alopecia: 掉头发; 脱发
Acne: 痘痘; 青春痘; 痤疮
Oral ulcer: 口腔溃疡; 嘴里溃疡
Lymphadenopathy: 淋巴结肿大; 淋巴结肿
Splenomegaly: 脾大; 脾肿大
Hepatomegaly: 肝大; 肝肿大
Anemia: 贫血
Menorrhagia: 月经量多; 月经过多
Dysmenorrhea: 痛经
Irregular menstruation: 月经不调; 月经不规律
Amenorrhea: 停经; 闭经; 月经没来; 月经推迟
Hyperglycemia: 血糖高; 高血糖
Hypoglycemia: 低血糖; 血糖低
Diabetes mellitus: 糖尿病
Asthma: 哮喘; 哮喘发作
Dehydration: 脱水; 眼窝凹陷; 囟门凹陷; 哭没有眼泪; 哭时没有眼泪
Gout: 痛风
Hemorrhoids: 痔疮
Nephrolithiasis: 肾结石
Cholelithiasis: 胆结石
Atrial fibrillation: 房颤; 心房颤动
Congestive heart failure: 心衰; 心力衰竭
Snoring: 打鼾; 打呼噜
"""


def parse(table: str) -> dict[str, tuple[str, ...]]:
    """HPO name -> phrases."""
    lines = (line.partition(":") for line in table.strip().splitlines())
    return {
        name: tuple(phrase.strip() for phrase in phrases.split(";")) for name, _, phrases in lines
    }


ENGLISH_PHRASES = parse(ENGLISH)
CHINESE_PHRASES = parse(CHINESE)
