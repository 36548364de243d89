"""Deterministic rules for emergencies: they run before anything else and end the turn.

A *sign* is something said (English or Chinese patterns) or understood (HPO terms, age, vital
signs). Signs accumulate over the turns of a conversation. A *rule* is an emergency with
alternatives; each alternative is a list of groups joined by `+`, and of each group (`a/b/c`) one
sign is needed. A rule fires on a message that adds a sign to a satisfied alternative.

What is denied, supposed, long ago or somebody else's doesn't count (`scope.py`); what is merely
uncertain does, because a missed emergency is worse than a false alarm. Written for this project
from widely published warning signs (the `source` of each rule); not validated.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from django.utils.translation import gettext_noop

from apps.medical.findings import Reading
from apps.medical.ontology import load as load_ontology
from apps.medical.scope import Status, Token, is_past, sentence_bounds, status_of, tokenize


class Grade(IntEnum):
    """How urgent; a more specific danger never has a lower grade."""

    SUPPORT = 1
    """Distress that needs a helpline and a person to talk to."""
    TODAY = 2
    """Medical help within hours."""
    EMERGENCY = 3
    """Call the emergency number now."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    id: str
    title: str
    advice: str
    alternatives: tuple[str, ...]
    source: str
    grade: Grade = Grade.EMERGENCY
    crisis: bool = False
    """Self-harm or violence: the crisis line is shown as well."""


@dataclass(frozen=True, kw_only=True)
class Fired:
    rule: Rule
    signs: tuple[str, ...]
    """The satisfied alternative's signs."""


# Signs said in words: name -> (English pattern, Chinese pattern). Matched in lower case.
PATTERNS: dict[str, tuple[str, str]] = {
    # heart and circulation
    "chest_pain": (
        r"(?:chest|breast ?bone|sternum|heart)[\w\s,']{0,25}?\b(?:pain|pains|hurts?|hurting|ache|aches|aching|pressure|tight|tightness|heavy|heaviness|squeez\w+|crush\w+|discomfort|burning|gripping|sore)\b"
        r"|\b(?:pain|pains|pressure|tightness|heaviness|ache|discomfort|weight|squeezing|gripping|band)\b[\w\s,']{0,22}?\b(?:chest|breast ?bone|sternum)\b|angina|elephant (?:is )?(?:sitting )?on my chest|\b(?:heavy|tight|crushing|squeezing|odd|strange|burning|funny) (?:feeling|sensation)[\w\s]{0,10}chest",
        r"胸口?(?:很|非常|特别|有点|一直|突然|剧烈|压榨性|阵阵)*(?:痛|疼|闷|压|紧)|心口(?:很|有点|突然)*(?:痛|疼|闷)|心绞痛|心前区.{0,4}(?:痛|疼)|心脏.{0,4}(?:痛|疼)",
    ),
    "chest_benign": (
        r"after (?:the )?(?:gym|workout|push.?ups|coughing|bench|lifting)|when i press|tender to (?:the )?touch|pulled (?:a )?muscle|bruised rib|acid reflux|heartburn|after (?:a )?spicy|sunburn|muscle soreness|from coughing",
        r"健身后|按压时|肌肉拉伤|吃辣后",
    ),
    "radiating": (
        r"\b(?:left |my |an? )?(?:arm|arms|jaw|shoulder|neck|back)\b[\w\s,']{0,18}?\b(?:pain|ache|aches|aching|hurts?|numb|heavy|tingl\w+|weird|funny)\b|(?:pain|ache|aching|going|spread\w*|radiat\w*|shoot\w*|travel\w*|moving|up|down|into|goes|numb\w*)[\w\s]{0,18}\b(?:(?:left |right |both )?(?:arms?|shoulder)|jaw|between (?:my )?shoulder blades)\b",
        r"(?:左|右)?(?:臂|胳膊|肩膀|肩|下巴|下颌|后背|手臂).{0,4}(?:痛|疼|麻|酸)|放射到|传到(?:左)?(?:臂|肩|背|胳膊|手)",
    ),
    "sweaty": (
        r"sweat\w*|clammy|drenched|soaked in sweat|cold sweat",
        r"冷汗|大汗|出汗|冒汗|满头汗",
    ),
    "breathless": (
        r"short(?:ness)? of (?:\w+ )?breath|(?:can ?not|can't|cant|cannot|unable to|hard to|difficult\w* (?:in |to )?|trouble|struggl\w+ (?:to|for)|fighting (?:to|for)|barely) ?(?:breath\w*|breathe|catch (?:my|his|her|their) breath)|breathless\w*|gasping|out of breath|cannot get (?:enough )?air|can't get (?:enough )?air|breathing (?:is |has become |got |gets )?(?:very |really |so )?(?:hard|difficult|heavy|worse|laboured|labored|fast)|sob\b|dyspn\w+|winded",
        r"喘不[上过]气|呼吸困难|上不来气|透不过气|憋气|气促|呼吸急促|气短|喘得厉害|不能呼吸|呼吸费力",
    ),
    "severe_breathless": (
        r"(?:can ?not|can't|cant|cannot|unable to|barely|hardly|struggling to|fighting to|fighting for) (?:\w+ )?(?:breathe|breath)\b|gasping|(?:can ?not|can't|cannot|cant|too breathless to|unable to) (?:finish|speak|talk|say)[\w\s]{0,22}(?:sentences?|words?|breath\w*)?|too (?:breathless|short of breath)|choking|suffocat\w+|turning blue|blue lips",
        r"喘不[上过]气|不能呼吸|快窒息|窒息|说不了完整|说不出完整的?话|上不来气|透不过气",
    ),
    "faint": (
        r"faint\w*|pass(?:ed|ing|es)? out|black(?:ed|ing)? ?out|collaps\w+|lightheaded|light-headed|keeled over|dizzy|woozy|syncop\w+|lost consciousness",
        r"晕倒|昏倒|晕厥|快晕|头晕|晕过去|昏过去|眼前发黑",
    ),
    "nausea": (r"nause\w*|feel(?:ing)? sick|vomit\w*|throw\w* up|threw up|being sick", r"恶心|呕吐|想吐"),
    "indigestion_like": (
        r"indigestion|heartburn|upset stomach|gas pain|trapped wind|something i ate|burning in (?:my )?(?:stomach|chest)",
        r"消化不良|胃不舒服|烧心",
    ),
    "cardiac_risk": (
        r"heart attack|stent|bypass|heart disease|angina|diabet\w+|smok\w+|high blood pressure|cholesterol|blood pressure tablets",
        r"心梗|心肌梗|支架|搭桥|冠心病|糖尿病|高血压|吸烟|抽烟",
    ),
    "heart_attack_named": (r"(?:having|have|having had|get\w*|is it|be) (?:a |my )?heart attack|heart attack[\w\s,]{0,16}(?:right )?now", r"心脏病发作|心梗发作|是不是心梗|心肌梗死"),
    "no_pulse": (
        r"no pulse|not breathing|stopped breathing|isn't breathing|is not breathing|heart (?:has )?stopped|cardiac arrest",
        r"没有?呼吸(?!困难|急促|不|道)|停止呼吸|没有?脉搏|心跳停|不呼吸",
    ),
    "tearing_pain": (
        r"(?:tearing|ripping|ripped|torn|knife.?like|stabbing)[\w\s,]{0,25}(?:chest|back|shoulder blades)|(?:chest|back|shoulder blades)[\w\s,]{0,25}(?:tearing|ripping|being torn|ripped)",
        r"撕裂(?:样|般)?.{0,6}(?:痛|疼)|(?:胸|背).{0,6}撕裂",
    ),
    "sudden": (
        r"sudden\w*|all at once|out of nowhere|out of the blue|instant\w*|within (?:a )?(?:seconds?|minutes?)|came on (?:in|within) (?:seconds|a second|a minute)|abrupt\w*|like a (?:thunder\w*|bolt|switch)",
        r"突然|一下子|忽然|瞬间|几秒|猛地",
    ),
    "palpitations_bad": (
        r"(?:heart|pulse)[\w\s]{0,20}(?:racing|pounding|beating (?:so |very |really |too )?(?:fast|hard)|going crazy|1[5-9]\d|2\d\d)|(?:heart|pulse)[\w\s]{0,16}beat\w*[\w\s]{0,10}(?:weird|funny|strange|irregular\w*|out of control)",
        r"心跳.{0,4}(?:很快|特别快|加速|厉害)|心慌得厉害",
    ),
    # brain
    "face_droop": (
        r"(?:face|mouth|smile|cheek|lip)[\w\s'’]{0,25}\b(?:droop\w*|drop\w*|sag\w*|lopsided|crooked|slipped|uneven|wonky|twisted|to one side|numb on one side)|droop\w*[\w\s]{0,18}(?:face|mouth|lip|smile)|lopsided (?:face|smile)|facial droop|face (?:has )?gone numb",
        r"嘴(?:角)?(?:有点)?歪|口角歪|脸歪|面瘫|口眼歪斜|嘴角(?:下垂|歪)|半边脸|一边脸|脸(?:的)?一侧",
    ),
    "one_side_weak": (
        r"(?:one|left|right) (?:side|arm|leg|hand)\b[\w\s,'’]{0,32}\b(?:weak\w*|numb\w*|paraly\w+|dead|limp|won't move|will not move|not moving|heavy|gone|useless|drops?|floppy|not working|stopped working)"
        r"|(?:weak\w*|numb\w*|paraly\w+|tingl\w+|no strength|no feeling|cannot move|can't move|can not move|can't lift|cannot lift|can't raise|can't feel|cannot feel|lost (?:all )?(?:feeling|strength|use))[\w\s,'’]{0,30}\b(?:one|left|right) (?:side|arm|leg|hand|half)|hemipar\w+"
        r"|(?:arm|leg|hand) (?:suddenly )?(?:has )?(?:gone |went |feels )(?:weak|dead|numb|limp|heavy)|can't (?:lift|raise|move) (?:his|her|my) (?:\w+ )?(?:arm|leg)|half (?:of )?(?:my|his|her) body",
        r"(?:半边|一侧|半身|左侧|右侧|左边|右边|一边|左手|右手|左腿|右腿|左半|右半).{0,8}(?:无力|没力|没有力|麻|动不了|抬不起|不能动|瘫|没知觉)|半身不遂|偏瘫|(?:手|胳膊|腿).{0,3}(?:抬不起来|动不了)",
    ),
    "speech": (
        r"slur\w*|(?:can ?not|can't|cant|cannot|unable to|trouble|difficulty|struggling to|suddenly couldn't|could not|couldn't) (?:speak\w*|talk\w*|find\w* (?:my |the |his |her )?words|get (?:my |the |his |her )?words)|(?:words|speech|sentences)[\w\s]{0,22}(?:jumbled|garbled|wrong|slurr\w+|nonsense|mixed up|gibberish|funny|strange|not making sense)|talking (?:gibberish|nonsense)|speaking (?:gibberish|nonsense|funny)",
        r"说话(?:突然)?(?:不清|含糊|不利索|困难)|口齿不清|说不出话|言语不清|话都说不清|吐字不清|大舌头|讲话不清",
    ),
    "stroke_named": (r"(?:having|having had|had|have|be|mini.?) ?(?:a |another )?stroke\b|\btia\b", r"中风了|中风发作|是不是中风|脑梗|脑出血|卒中"),
    "dental_numb": (r"dentist|dental|anesthe\w+|anaesthe\w+|filling|bell'?s palsy", r"牙医|麻醉|补牙|贝尔"),
    "headache": (r"headache|head ?ache|head (?:is |really |badly )?(?:hurts?|pounding|killing|exploding|splitting)|pain in (?:my|his|her|the) head|head pain", r"头痛|头疼|脑袋.{0,3}(?:痛|疼)"),
    "thunderclap": (
        r"worst headache|never (?:had|felt|experienced) (?:such a|a headache)[\w\s]{0,14}(?:headache|like this)|thunderclap|worst (?:pain|head)[\w\s]{0,14}(?:head|life)|(?:hit|struck)[\w\s]{0,30}(?:back of (?:my|the|his|her) head|head with|in the head by)|headache[\w\s,]{0,50}(?:peaked|maximum|exploded|full force)[\w\s]{0,20}(?:second|minute|instant)?|like (?:being |i was |i'd been )?(?:hit|kicked|struck)[\w\s]{0,20}(?:on|in|over) the head|sudden\w*[\w\s,]{0,20}(?:severe|blinding|terrible|massive|excruciating|explosive|unbearable|splitting|awful|horrendous)[\w\s]{0,12}headache|headache (?:that )?came on (?:sudden\w*|instantly|in seconds|like)",
        r"最(?:剧烈|严重|厉害)的?头[痛疼]|雷击样|突然.{0,8}(?:剧烈|爆炸|炸裂).{0,4}头[痛疼]|头[痛疼](?:得)?.{0,6}(?:炸|爆)|突然头[痛疼]欲裂|从来没有?这么.{0,3}头?[痛疼]",
    ),
    "stiff_neck": (
        r"stiff neck|neck (?:is |feels |so |really |very |has gone |gone )*stiff|(?:can ?not|can't|cannot|cant) (?:bend|move|touch)[\w\s]{0,14}(?:neck|chin)|neck stiffness|hurts to (?:bend|move) (?:my|his|her|the) neck",
        r"脖子.{0,4}(?:硬|僵)|颈项?强直|颈部僵硬|低不下头",
    ),
    "non_blanching": (
        r"(?:rash|spots?|dots|marks)[\w\s,'’]{0,45}(?:not|n't|doesn't|don't|won't|never|no)[\w\s]{0,10}(?:fade|fading|blanch|disappear|go away)[\w\s]{0,30}|non.?blanching|(?:purple|pinprick|petechia\w*|dark red)[\w\s]{0,14}(?:rash|spots?|dots|blotches|marks)|glass test",
        r"压不褪色|按压不褪|紫(?:色|红色)?(?:的)?(?:斑|点|疹)|瘀[点斑]|出血点|按下去不褪",
    ),
    "light_hurts": (r"lights?[\w\s]{0,12}(?:killing|hurts?|bother\w*|sensitiv\w*|painful)|(?:sensitive|hates?|cannot stand|can't stand|can't bear)[\w\s]{0,10}(?:light|lights)|photophob\w+", r"怕光|畏光|光.{0,4}刺眼"),
    "fever": (r"fever\w*|febrile|high temp\w*|running a temp\w*|temp(?:erature)? (?:of |is |was )?(?:38|39|40|41|10[1-6])|burning up|rigors|shak(?:ing|es) (?:chills|with cold)|\b(?:38\.[5-9]|39|40|41)(?:\.\d)? ?(?:c|°|degrees)", r"发烧|发热|高烧|体温(?:3[89]|4\d)|烧到|烧得|寒战"),
    "confused": (
        r"confus\w+|disorient\w+|delirious|not making (?:any )?sense|(?:doesn't|does not|didn't|not) (?:know|recogni\w+)[\w\s]{0,20}(?:where|who|me|day)|not (?:himself|herself|acting (?:right|normal))|talking nonsense|muddled|out of it|incoherent|rambling",
        r"意识模糊|神志不清|糊涂|胡言乱语|说胡话|认不得人|不认识人|神智不清",
    ),
    "drowsy": (
        r"(?:very|so|unusually|extremely|abnormally) sleepy|(?:very |so |really |unusually |extremely )?(?:drowsy|floppy|limp|listless|lethargic)|(?:hard|difficult|impossible|can't|cannot|can not|struggling|won't|will not|not) (?:to )?(?:be )?(?:wak\w+|wake|rous\w+)|(?:keeps|keep) (?:falling asleep|passing out|drifting off)|won't (?:stay awake|wake)|barely (?:awake|responsive|responding|conscious)|sleepy and hard to wake|too sleepy to",
        r"嗜睡|叫不醒|昏昏沉沉|很难叫醒|精神(?:很|特别|非常)?(?:差|萎靡)|反应迟钝|软绵绵|没反应|昏昏欲睡",
    ),
    "unresponsive": (
        r"can(?:not|'t) get (?:him|her|them|my \w+) (?:to )?(?:wake|waken|respond)\w*|unconscious|unresponsive|not respond\w*|won't (?:respond|wake up)|will not wake|can(?:no|')?t (?:be )?(?:wake|woken|rouse)\w*|can not wake|isn't waking|isn't responding|doesn't respond|not waking up|passed out and (?:won't|hasn't|isn't|not)|found (?:him|her|them) on the floor and",
        r"不省人事|叫不醒|昏迷|失去意识|没有?反应|没有?意识|意识丧失|昏过去了?没醒",
    ),
    "seizure": (r"seizures?|\bfit\b|\bfits\b|fitting|convuls\w+|shaking (?:all over|uncontrollably|and (?:unresponsive|not responding))|jerking (?:all over|uncontrollably)|epilep\w+ attack", r"抽搐|癫痫|惊厥|抽风|羊癫疯|抽起来"),
    "seizure_long": (
        r"(?:seiz\w+|fit\w*|convuls\w+|shaking|jerking)[\w\s,'’]{0,50}(?:(?:more than|over|for|lasted|about|nearly|at least|been) (?:(?:5|five|6|six|7|seven|8|eight|9|nine|1\d|ten|[2-9]\d|twenty|thirty) ?(?:min\w*)|half an hour|an hour)|(?:won't|will not|doesn't|not|hasn't|isn't|didn't) (?:stop\w*|end\w*)|still (?:going|seizing|shaking|fitting|convulsing)|one after (?:another|the other)|back to back|again and again|non.?stop|keeps? (?:coming|happening|having))"
        r"|still (?:seizing|fitting|convulsing|having a (?:seizure|fit))|(?:two|three|four|several|many|second|another|multiple|\d) (?:seizures?|fits?|convulsions?)[\w\s]{0,40}(?:without|today|in a row|hour|one after|not woken|back to back)|(?:hasn't|not|didn't|never|has not) (?:come round|woken|woke up|wake up|regain\w*)[\w\s,]{0,30}(?:seizure|fit)?|(?:won't|doesn't|not) stop (?:seizing|fitting|shaking|convulsing)",
        r"(?:抽搐|癫痫|惊厥|抽风|抽).{0,12}(?:不停|停不下来|没停|[5-9五六七八九十]\s*分钟|\d\d\s*分钟|半小时|一直|接连|反复|好几次|还在)|一直(?:在)?抽|还在抽",
    ),
    "first_seizure": (r"first (?:ever )?(?:seizure|fit|convulsion)|never had (?:a |one |any )?(?:seizure|fit|before)|(?:is |just |now )(?:having|had) a (?:seizure|fit)|having a (?:seizure|fit|convulsion)|(?:is|started|keeps) (?:seizing|fitting|convulsing)", r"第一次(?:抽搐|癫痫|惊厥)|正在抽|突然抽搐|在抽搐|抽起来|抽搐(?:了)?"),
    "vision_loss": (
        r"(?:lost|loss of|losing|no|gone|went|lose)[\w\s]{0,22}(?:vision|sight|eyesight)|(?:went|gone|going|suddenly) blind|blind in (?:one|my|his|her|the)|(?:vision|sight|eye)[\w\s,]{0,26}(?:gone|went black|black|went dark|gone dark|disappeared|went grey|gone grey)|curtain[\w\s]{0,20}(?:eye|vision|sight|came|coming|down|across)|(?:can ?not|can't|cannot|cant|couldn't) see (?:anything |at all |nothing )?(?:out of|from|in|with) (?:my |his |her |one |the )?[\w\s]{0,8}eye|can't see anything|shadow (?:over|across|in)[\w\s]{0,12}(?:vision|eye)",
        r"突然看不见|失明|眼前一片黑|看不见了|视力丧失|一只眼.{0,4}看不见|幕布|黑影遮|突然看不到|眼睛瞎|(?:左|右|一只|一边|双|单)眼.{0,4}(?:看不见|看不到|失明|发黑)",
    ),
    "eye_emergency": (
        r"(?:eye|eyes)[\w\s,'’]{0,40}(?:severe|excruciating|terrible|unbearable|agony|really bad|rock hard|awful|intense|extremely painful)[\w\s,]{0,30}|(?:severe|excruciating|terrible|unbearable|agonising|intense|awful|sudden)[\w\s]{0,12}eye pain|halos?[\w\s]{0,12}(?:around|round)?[\w\s]{0,10}(?:lights?)?|(?:chemical|bleach|acid|cleaner|cement|lime|detergent|drain)[\w\s,'’]{0,30}(?:eye|eyes)|(?:something|metal|glass|nail|stick)[\w\s]{0,18}(?:stuck in|pierced|went into|in)[\w\s]{0,6}(?:my|his|her) eye|flash\w*[\w\s,]{0,30}floaters|floaters[\w\s,]{0,40}(?:flash\w*|shower|lots|suddenly|curtain)|shower of floaters",
        r"眼(?:睛)?.{0,6}(?:剧痛|剧烈.{0,3}痛|胀痛.{0,6}(?:呕吐|恶心|看不清))|虹视|光晕|(?:酸|碱|化学|洗洁|清洁剂|漂白).{0,8}眼|闪光.{0,8}飞蚊|眼.{0,5}扎",
    ),
    "head_injury": (r"(?:hit|banged|knocked|bumped|struck|smashed|cracked|hurt|injur\w+|fell (?:and|on|onto)[\w\s]{0,16})[\w\s,]{0,25}\bhead\b|head (?:injury|trauma)|fell (?:down|off|from|over)[\w\s]{0,40}head|landed on (?:my|his|her) head|concuss\w+|blow to the head", r"头部?.{0,2}(?:撞|磕|碰|摔|砸)|(?:撞|摔|碰|磕|打|砸)(?:到|伤|了|破)*.{0,6}头|头部?(?:外伤|受伤|撞|被撞|被打|着地)|脑震荡"),
    "anticoagulant": (r"blood thin\w+|warfarin|apixaban|rivaroxaban|xarelto|eliquis|dabigatran|edoxaban|coumadin|heparin|anticoag\w+|clopidogrel|thinners", r"华法林|抗凝|利伐沙班|阿哌沙班|抗凝药|血液稀释|达比加群|氯吡格雷"),
    "head_injury_sign": (
        r"vomit\w*|throw\w* up|threw up|been sick|being sick|knocked out|lost consciousness|passed out|blacked out|unconscious|confus\w+|drows\w+|sleepy|won't wake|clear fluid|blood (?:from|in|coming out of) (?:the |his |her |my )?(?:ears?|nose)|seizure|\bfit\b|worsening headache|headache (?:is )?getting worse|slurr\w*|double vision|memory loss|can't remember|doesn't remember|unequal pupils|pupil\w*",
        r"呕吐|吐了|一直吐|吐个|昏迷|昏过去|意识|糊涂|嗜睡|流液|流清水|耳朵.{0,3}(?:流|出)血|抽搐|记不得|越来越[痛疼]|想睡",
    ),
    "back_legs": (r"back (?:pain|ache|hurts|injury|is killing)|backache|sciatica|slipped disc|pain in (?:my|his|her|the) (?:lower )?back|(?:lower |bad )back", r"腰痛|腰疼|背痛|坐骨神经|腰椎间盘|腰突"),
    "saddle": (
        r"(?:numb\w*|tingl\w*|no feeling|lost (?:all )?feeling|can't feel|cannot feel|loss of (?:feeling|sensation)|pins and needles|odd feeling|strange feeling)[\w\s,'’]{0,40}(?:groin|genital\w*|between (?:my|his|her|the) legs|saddle|bottom|buttocks?|crotch|private\w*|anus|back passage|inner thighs?|down there|when (?:i )?wip\w+|toilet paper)|saddle (?:an\w+|numb\w*)|(?:groin|genitals|bottom|buttocks|crotch|saddle area|inner thighs|private parts|privates)[\w\s]{0,18}(?:numb|no feeling|tingl\w+|dead)",
        r"会阴.{0,5}麻|马鞍区|(?:屁股|肛门|下身|大腿内侧|会阴|私处|裆部).{0,6}(?:麻|没有?感觉|没有?知觉)",
    ),
    "bladder_loss": (
        r"(?:can ?not|can't|cannot|cant|unable to|couldn't|not able to) (?:\w+ ){0,2}(?:(?:control|hold)[\w\s]{0,8}(?:bladder|bowels?|pee|urine)|pee|urinate|wee|pass (?:urine|water)|empty (?:my|his|her) bladder|feel when)|(?:lost|losing|loss of|no) (?:\w+ )?(?:control|bladder control|bowel control)[\w\s]{0,20}(?:bladder|bowels?|pee)?|(?:wet|wetting|soil\w*|pee\w*|messed|mess) (?:myself|himself|herself|my pants|his pants|the bed)|incontinen\w+|trouble (?:peeing|urinating|starting to pee)|leaking (?:urine|pee)",
        r"尿不出|小便(?:解)?不出|大小便失禁|尿失禁|憋不住(?:尿|小便|大便)|排不出尿|小便失禁|大便失禁",
    ),
    "both_legs_weak": (r"(?:both|my) legs[\w\s,]{0,24}(?:weak\w*|numb\w*|give way|giving way|won't|buckl\w+|can't move|paraly\w+)|(?:weak\w*|numb\w*)[\w\s,]{0,20}(?:both|in (?:my|his|her)) legs|can't (?:move|feel) (?:my|his|her) legs|legs (?:are )?(?:going|gone|getting) (?:weak|numb)|foot drop", r"双腿.{0,5}(?:无力|麻|没力|动不了)|两条?腿.{0,5}(?:无力|麻|没力|动不了)"),
    # allergy, airway, breathing
    "swelling_airway": (
        r"(?:throat|tongue|lips?|face|mouth|eyes?)[\w\s,'’]{0,28}\b(?:swell\w*|swollen|puff\w*|closing|close up|closed up|tight\w*|thick|blew up|blown up|ballooned|bigger|constrict\w*)|(?:swell\w*|swollen|puff\w*|closing|tightness|tightening|lump)[\w\s,]{0,20}(?:throat|tongue|lips?|face|mouth|windpipe)|angioedema|airway (?:is )?clos\w+",
        r"(?:嘴唇|舌头|喉咙|脸|嘴|喉头|面部|嗓子|眼睛|眼皮).{0,6}(?:肿|发紧|水肿|堵)",
    ),
    "hives": (r"hives|urticaria|rash all over|itch\w* all over|welts|wheals|covered in (?:a )?rash|broke out in|break\w* out in|blotch\w*|rash everywhere|itchy rash", r"荨麻疹|风团|全身(?:起|出|痒|红)|浑身(?:起|痒|红)|疹子"),
    "allergen": (
        r"sting|stung|\bbees?\b|wasps?|hornet|peanuts?|\bnuts?\b|shellfish|shrimps?|prawns?|crab|eggs?|milk|sesame|penicillin|amoxicillin|antibiotic\w*|new (?:medicine|medication|drug|tablet|pill)|ibuprofen|allerg\w+|injection|vaccine|contrast|ate|eaten|eating|latex|kiwi|bite|bitten|took",
        r"蜂|花生|坚果|虾|蟹|海鲜|鸡蛋|牛奶|青霉素|阿莫西林|过敏|打针|疫苗|吃了|药",
    ),
    "anaphylaxis_named": (r"anaphyla\w+|epi.?pen|adrenaline (?:pen|auto)|severe allergic reaction", r"过敏性休克|严重过敏"),
    "stridor": (
        r"stridor|(?:noisy|noise|whistl\w+|crowing|squeak\w*|high.?pitched|harsh|barking|rasping)[\w\s]{0,24}(?:breath\w* in|breathing in|breathes in|breathing|breath|inhal\w+|cough)|barking cough|croup|seal.?like cough|cough like a seal",
        r"喉鸣|吸气.{0,6}(?:声|响)|犬吠样|呼吸有(?:怪|响)声|像狗叫",
    ),
    "drooling": (r"drool\w*|dribbl\w*|(?:can ?not|can't|cannot|unable to|won't|too sore to|refus\w+ to) swallow[\w\s]{0,16}(?:saliva|spit|anything|water|liquids?|own)?|muffled voice|hot potato voice|leaning forward to breathe", r"流口水|口水咽不下|咽不下|吞不下|不能吞咽"),
    "choking": (r"chok(?:ing|ed)|something stuck in (?:his|her|my|the) (?:throat|windpipe)|swallowed (?:a |the |an )?(?:button battery|battery|magnet|coin|toy|bead|marble)|inhaled (?:a |the )?(?:peanut|toy|bead|coin|food)|food stuck[\w\s]{0,14}(?:can't|cannot|throat)", r"噎住|呛住|异物卡|卡在喉|吞了(?:电池|纽扣|硬币|磁铁)|气管异物|卡住了喉"),
    "blue": (r"(?:lips?|face|fingers?|skin|tongue|mouth|he|she|baby|child)[\w\s'’]{0,18}\b(?:blue|bluish|purple|grey|gray|mottled)|(?:blue|bluish|grey|gray|mottled)[\w\s]{0,12}(?:lips?|face|skin|fingers|tongue|around)|turn\w* blue|cyano\w+", r"(?:嘴唇|脸|口唇|面色|指甲|舌头|皮肤).{0,4}(?:发紫|发青|青紫|紫|灰|发绀)"),
    "asthma": (r"asthma\w*|inhaler|puffer|salbutamol|albuterol|ventolin|wheez\w*|copd", r"哮喘|喘息|吸入器|沙丁胺醇|慢阻肺"),
    "inhaler_failing": (r"(?:inhaler|puffer|nebuli\w+|ventolin|salbutamol|albuterol|reliever)[\w\s,'’]{0,40}(?:not|n't|isn't|doesn't|no longer|won't|stopped|barely|hardly|didn't|without)[\w\s]{0,16}(?:help\w*|work\w*|relief|touch\w*|doing|effect)?|(?:not|isn't|no|n't)[\w\s]{0,14}(?:responding to|relief from|helped by)[\w\s]{0,10}(?:inhaler|puffer|nebuli\w+)|(?:10|ten|12|15|20|twenty|lots of) puffs", r"(?:吸入器|喷雾|喷剂|药).{0,8}(?:没用|不管用|无效|没效果|不起作用)|喷了.{0,6}(?:没用|不管用)"),
    # clots
    "leg_swollen": (r"(?:one|left|right|my) ?(?:leg|calf|thigh)[\w\s,]{0,32}(?:swollen|swell\w*|painful|hurts?|red|hot|sore|tender|pain)|(?:swollen|painful|red|hot|sore|tender|pain in (?:my|one|his|her|the))[\w\s,]{0,14}(?:left |right |one )?(?:calf|leg\b)|blood clot|\bdvt\b|deep vein", r"(?:小腿|一条腿|单侧腿|左腿|右腿|一侧腿|腿).{0,5}(?:肿|痛|疼)|血栓"),
    "clot_risk": (r"flight|flew|plane|surgery|operation|hip replacement|knee replacement|cast|bed ?rest|immobil\w+|pregnan\w+|postpartum|gave birth|contracepti\w+|birth control|the pill|hormone|hrt|cancer|chemo\w*|clot\w*|long drive|dvt", r"飞机|手术后?|术后|卧床|石膏|怀孕|产后|避孕药|癌|化疗|血栓|长途"),
    "cough_blood": (r"cough\w*[\w\s]{0,16}blood|blood[\w\s]{0,14}(?:sputum|phlegm|when i cough|cough)|hemoptysis|haemoptysis", r"咳血|咯血|痰中带血|痰里有血|咳出血"),
    "pleuritic": (r"(?:hurts?|pain\w*|stabbing|sharp)[\w\s,]{0,24}(?:when|to|on|with|every time)[\w\s]{0,14}(?:breath\w*|inhal\w*|deep breath)|pleurit\w+", r"(?:呼吸|吸气)(?:时|的时候)?.{0,5}(?:胸)?(?:痛|疼)"),
    # infection
    "infection": (r"infect\w+|wound|cellulitis|pneumonia|\buti\b|abscess|after (?:surgery|an operation|giving birth)|catheter|septic\w*|sepsis|kidney infection", r"感染|伤口|肺炎|化脓|脓肿|败血|术后|尿路感染"),
    "sepsis_sign": (
        r"mottled|(?:very |really )?(?:fast|rapid) (?:breathing|heart\w*|pulse)|breathing (?:very |really )?fast|never felt (?:so|this) (?:ill|sick|unwell|bad)|feel(?:s)? like (?:i'm |i am |he's |she's )?(?:dying|going to die)|going to die|(?:hasn't|not|haven't|no) (?:peed|passed urine|urinated|weed|urine)|cold (?:hands and feet|clammy)|clammy|blotchy|shaking (?:uncontrollably|chills|violently)|rigors|blood pressure (?:is )?(?:very )?low|red (?:line|streak)|spreading (?:fast|quickly|up)",
        r"皮肤花斑|呼吸很快|心跳很快|没有?小便|没尿|血压低|手脚冰凉|快要?死|从没这么难受|浑身发抖|红线|寒战",
    ),
    "sepsis_named": (r"sepsis|septic", r"败血症|脓毒症"),
    "immunosuppressed": (r"chemo\w*|neutropeni\w+|immunosuppress\w*|transplant|leuk(?:a)?emia|no spleen|splenectomy|biologics?|methotrexate", r"化疗|白血病|移植|免疫抑制|粒细胞缺乏|脾切除"),
    "severe_limb_pain_infection": (r"necroti[sz]ing|flesh.?eating|(?:skin|wound|leg|arm|redness)[\w\s,]{0,40}(?:turning|turned|going|gone) (?:black|purple|dusky)|pain[\w\s]{0,18}(?:out of proportion|far worse than it looks)|gangren\w+", r"坏死性|皮肤.{0,5}(?:变黑|发黑)|坏疽"),
    # metabolic
    "diabetes": (r"diabet\w+|insulin|type (?:1|2|one|two)|blood sugar|glucose|ketones?", r"糖尿病|胰岛素|血糖|酮体"),
    "dka_sign": (
        r"(?:fruity|pear drop|acetone|nail polish)[\w\s]{0,16}(?:breath|smell\w*)|breath smells?[\w\s]{0,14}(?:fruity|sweet|acetone|nail polish|pear)|ketones?|deep (?:and )?(?:fast |rapid )?breathing|sugar[\w\s]{0,12}(?:very )?high|(?:high|hi\b)[\w\s]{0,6}(?:sugar|reading)|(?:sugar|glucose)[\w\s]{0,14}(?:[2-9]\d(?:\.\d)?|[3-9]\d\d)\b|meter (?:says|reads|shows) hi",
        r"(?:烂苹果|水果|丙酮).{0,4}味|酮体|呼吸深|血糖.{0,6}(?:很高|太高|[2-9]\d)|高血糖",
    ),
    "vomiting": (r"vomit\w*|throw\w* up|threw up|being sick|been sick|can't keep (?:anything|food|fluids|water) down|cannot keep|puk\w+", r"呕吐|吐个不停|一直吐|吐了"),
    "thirst_polyuria": (r"(?:so |very |really |always |extremely |constantly )?thirst\w*|peeing (?:a lot|all the time|constantly|loads|more)|drinking (?:loads|a lot|lots|constantly)|polyuria", r"口渴|多尿|尿多|多饮|喝水多"),
    "unwell_general": (r"stomach pain|tummy pain|abdominal pain|belly pain|exhausted|lost weight|losing weight|weak\b", r"肚子痛|腹痛|消瘦|乏力|瘦了"),
    "hypo": (
        r"(?:low|dropping|crash\w*|hypo\w*)[\w\s]{0,12}(?:blood )?sugar|sugar[\w\s]{0,12}(?:low|[12]\.\d|3\.[0-4]|[23]\d mg)\b|\bhypo\b|hypoglyc\w+|(?:too much|extra|double)[\w\s]{0,8}insulin",
        r"低血糖|血糖.{0,4}(?:低|[12]\.\d)|胰岛素.{0,4}(?:过量|打多)",
    ),
    # belly
    "belly_pain": (r"(?:stomach|tummy|belly|abdom\w+|gut)[\w\s,'’]{0,25}(?:pain|ache|hurts?|agony|killing|cramps?|sore)|(?:pain|ache|agony|cramps?)[\w\s,]{0,20}(?:stomach|tummy|belly|abdom\w+|gut|lower right|right lower)|stomach ?ache|pelvic pain|pain (?:low )?down (?:low|on one side)|pain on one side|(?:sharp|stabbing|bad|severe|strong) pain (?:in|on|down) (?:my |the )?(?:left|right|one|lower) side", r"(?:肚子|腹部?|小腹|下腹|胃|小肚子|右下腹).{0,6}(?:痛|疼)|剧烈腹痛"),
    "severe": (
        r"severe\w*|excruciating|unbearable|worst|agony|agoni[sz]ing|doubled? (?:up|over)|can't (?:stand|move|walk)|(?:10|ten|9|nine)(?: out of |/)(?:10|ten)|intense|terrible|horrific|screaming|writhing|rigid|hard as (?:a )?(?:board|rock)|board.?like|curled up|extreme|horrible",
        r"剧烈|剧痛|非常痛|受不了|难以忍受|直不起腰|硬得像|打滚|板状|绞痛",
    ),
    "rigid_belly": (r"(?:stomach|tummy|belly|abdom\w+)[\w\s,'’]{0,25}(?:rigid|hard as|board|rock hard|very hard|stiff)|rigid (?:stomach|belly|abdomen|tummy)|pain (?:when|every time)[\w\s]{0,14}(?:i move|car|bump|jolt|cough)|rebound", r"板状腹|肚子.{0,4}(?:硬得|像木板|很硬)|反跳痛"),
    "right_lower": (r"(?:lower right|right lower|right side of (?:my|his|her)|bottom right|right hand side|rlq|right iliac)|moved to the (?:lower )?right|belly button[\w\s,]{0,40}right", r"右下腹|转移到右下|右边小腹"),
    "belly_danger": (r"no (?:gas|wind|bowel)|(?:haven't|hasn't|not)[\w\s]{0,14}(?:passed (?:gas|wind)|pooed|poo|stool|bowel movement)|green (?:vomit|bile)|vomit\w* (?:green|bile|feces|poo)|swollen and hard|pulsat\w+|throbbing lump|fever|fainted|aneurysm", r"不排气|没放屁|停止排便|吐绿|胆汁|搏动|动脉瘤|发烧|晕"),
    "vomit_blood": (
        r"(?:vomit\w*|throw\w* up|threw up|puk\w+|being sick|been sick|sick|bring\w* up|cough\w* up from (?:my )?stomach)[\w\s,]{0,14}(?:blood|coffee grounds?|red stuff|black stuff)|blood (?:in|when)[\w\s]{0,10}(?:vomit|sick|throw)|coffee.?ground|hematemesis|haematemesis",
        r"吐血|呕血|咖啡(?:色|渣|样).{0,5}|呕吐.{0,4}血",
    ),
    "black_stool": (
        r"(?:black|tarry|tar.?like)[\w\s,]{0,12}(?:stools?|poos?|poop|motions?|bowel|faeces|feces|diarrh\w+)|(?:stools?|poos?|poop|motions|bowel movements?)[\w\s,'’]{0,18}(?:black|tarry|like tar)|melena|melaena",
        r"黑便|柏油|大便.{0,4}(?:黑|发黑)|黑色大便",
    ),
    "rectal_bleed_heavy": (
        r"(?:lots of|loads? of|a load of|a lot of|heavy|heavily|pouring|large amounts? of|clots? of|toilet (?:bowl )?(?:was |is )?full of|passing (?:clots|large)|bright red)[\w\s]{0,18}(?:blood|bleeding)[\w\s]{0,24}(?:stool|poo|rectum|bottom|bowel|toilet|back passage|anus)|(?:rectal|bottom|back passage|rectum|anus)[\w\s]{0,16}bleeding[\w\s]{0,14}(?:heav\w+|won't stop|lots|a lot|clots)|bleed\w*[\w\s]{0,10}(?:from|out of) (?:my |his |her )?(?:bottom|rectum|back passage)[\w\s,]{0,20}(?:heav\w+|lots|a lot|won't stop|clots|stop)|(?:toilet|bowl)[\w\s]{0,14}full of blood|blood[\w\s,]{0,50}(?:filling|filled|all over)[\w\s]{0,10}(?:bowl|toilet)",
        r"大量便血|便血.{0,5}(?:很多|不止|大量)|拉.{0,3}(?:很多|大量)血|马桶.{0,5}血",
    ),
    "heavy_bleed": (
        r"bleeding (?:a lot|heavily|badly|profusely)|(?:bleed\w*|blood)[\w\s,'’]{0,28}(?:won't stop|not stopping|will not stop|doesn't stop|isn't stopping|spurting|gushing|pouring|pumping|everywhere|soaking|soaked|can't stop|cannot stop|wouldn't stop)|(?:spurting|gushing|pouring|squirting)[\w\s]{0,10}blood|can't stop the bleeding|(?:deep|severed|cut off|amputat\w+|stabbed|gunshot|shot in|knife wound|stab wound|been shot)[\w\s]{0,18}(?:wound|finger|arm|leg|hand|artery|chest|stomach|cut)?[\w\s]{0,6}(?:bleed\w*)?|haemorrhag\w+|hemorrhag\w+",
        r"血流不止|止不住血|喷血|大出血|血止不住|流血不止|大量出血|刀伤|被捅|枪伤|断指",
    ),
    # pregnancy
    "pregnant": (
        r"pregnan\w+|\d+ weeks? (?:along|gone|gestation)|expecting a baby|(?:^|\bi'm |\bi am |\bam |\bat )(?:[6-9]|[1-3]\d|4[0-2]) (?:weeks?|wks?)\b(?! old| ago| post)|trimester|missed (?:my |a )?period|late period|period is late|positive (?:pregnancy )?test|ectopic|\bivf\b|miscarr\w+",
        r"怀孕|孕(?:\d|期|妇|早|晚|中)|停经|月经(?:推迟|没来|迟)|宫外孕|验孕|胎",
    ),
    "late_pregnancy_sign": (
        r"(?:severe|bad|terrible|constant|pounding|splitting|won't go away|worst)?[\w\s]{0,6}headache|(?:blurr\w*|flashing|spots|stars|sparkl\w+|flickering|zigzag)[\w\s]{0,16}(?:vision|lights?|eyes|in front)?|swollen (?:face|hands)|face (?:and hands )?(?:is |are )?(?:very |really |suddenly )?(?:swollen|puffy)|(?:hands|face)[\w\s,]{0,24}(?:swell\w*|swollen|puffy)|pain (?:under|below) (?:my |the )?ribs|right upper|upper (?:right )?(?:belly|abdominal|tummy|stomach) pain|high blood pressure|protein in|pre.?eclampsia|eclampsia|baby (?:isn't|is not|has stopped|stopped|not|hasn't)[\w\s]{0,10}mov\w+|(?:no|reduced|less|fewer|not felt|haven't felt|hasn't felt|can't feel|not feeling)[\w\s]{0,14}(?:movement\w*|kick\w*|mov(?:e|ing)\b)|waters? (?:has |have )?(?:broke|broken|break)|leaking fluid|cord",
        r"头痛|头疼|眼花|视物模糊|看东西模糊|眼前有?(?:闪光|星星)|脸肿|手肿|浮肿|血压高|高血压|子痫|上腹|肋下.{0,3}(?:痛|疼)|胎动(?:减少|消失|没有|少)|没有?胎动|破水|羊水",
    ),
    "vaginal_bleed": (r"vaginal bleed\w*|bleeding (?:from )?(?:down there|vagina\w*|below)|(?:bleed\w*|spotting|blood)\b|passing clots", r"阴道.{0,3}(?:出血|流血)|下面.{0,3}(?:出血|流血)|下身.{0,3}(?:出血|流血)|见红|出血|流血"),
    "shoulder_tip": (r"shoulder.?tip|tip of (?:my|the) shoulder|shoulder pain|pain in (?:my )?shoulder", r"肩(?:膀|头|尖).{0,3}(?:痛|疼)"),
    "postpartum": (r"postpartum|post.?natal|gave birth|had (?:a|my|the) baby|after (?:giving )?birth|since the birth|c.?section|after (?:the )?delivery", r"产后|生完孩子|剖腹产|分娩后|刚生"),
    "soaking": (r"soak\w*[\w\s]{0,18}(?:pads?|towels?|sheets)|(?:pad|pads|towel)[\w\s]{0,12}(?:every|an|per|in under an|each) (?:half )?hour|(?:large|big|golf ball)[\w\s]{0,12}clots|flooding", r"一小时.{0,6}(?:卫生巾|护垫)|血块.{0,4}大|湿透"),
    "in_labour": (r"contractions|in labou?r|water broke|waters broke|baby is coming|head is (?:out|showing|crowning)|crowning", r"宫缩|临产|要生了|破水"),
    # male
    "testicle": (
        r"(?:testic\w+|testis|testes|balls?|nuts?|scrotum|ballsack|nutsack)\b[\w\s,'’]{0,36}(?:pain\w*|hurts?|ache\w*|agony|swollen|swelling|killing|sore|twisted|tender|red|high\w*)|(?:pain\w*|hurts?|agony|ache|swollen|sore)[\w\s,]{0,24}(?:testic\w+|testis|\bballs?\b|scrotum|\bnuts?\b)|testicular (?:pain|torsion)",
        r"(?:睾丸|蛋蛋|阴囊|蛋).{0,6}(?:痛|疼|肿|扭)|睾丸扭转",
    ),
    "priapism": (r"erection[\w\s,]{0,30}(?:won't go|hours|not going|painful)|priapism", r"勃起.{0,8}(?:不消|小时|消不下)"),
    # limbs
    "limb_cold": (
        r"(?:leg|foot|arm|hand|toes?|fingers?|limb)[\w\s,'’]{0,34}(?:cold|ice.?cold|pale|white|blue|no pulse|pulseless|grey|gray|numb|mottled)[\w\s,]{0,30}|(?:cold|ice.?cold|pale|white|no pulse in)[\w\s,]{0,18}(?:leg|foot|arm|hand|limb)",
        r"(?:腿|脚|胳膊|手臂|手|下肢).{0,8}(?:冰凉|发白|苍白|没有?脉搏|发冷|冷|发紫)",
    ),
    "limb_pain_sudden": (r"out of nowhere|hurts so (?:bad|badly|much)|in agony|sudden\w*[\w\s,]{0,26}(?:pain\w*|hurt\w*|agony|cold|numb|white)[\w\s,]{0,30}|(?:severe|excruciating|terrible|intense|unbearable)[\w\s]{0,14}pain|(?:very|extremely|really|so) painful|hurts (?:like hell|badly|so much|a lot|terribly)", r"突然.{0,10}(?:痛|疼|凉|麻|白)|剧痛|剧烈.{0,3}(?:痛|疼)"),
    "limb_hurts": (r"\bpain\w*|hurt\w*|numb\w*|agony", r"痛|疼|麻"),
    "compartment": (r"(?:cast|plaster|fracture|broken (?:leg|arm|wrist|ankle|bone)|crush\w*)[\w\s,'’]{0,60}(?:pain (?:is )?(?:getting )?(?:much )?(?:worse|unbearable)|can't (?:feel|move)|numb|blue|cold|too tight|white|tingling)|bone (?:is )?(?:sticking out|poking|through the skin|showing)|open fracture", r"(?:石膏|骨折).{0,12}(?:越来越痛|麻|发紫|冰凉|没有?知觉)|骨头.{0,4}(?:露出|戳出)"),
    # burns, heat, cold, poison, gas
    "burn_bad": (
        r"(?:face|neck|hands?|genitals|eyes?|mouth)[\w\s'’]{0,12}(?:burn(?:t|ed)|scalded)|(?:burn\w*|burnt|scald\w*)[\w\s,'’]{0,50}(?:face|neck|airway|hands?|genitals?|large|bigger than|whole|most of|all over|white|charred|black|leathery|third.?degree|deep|electr\w+|chemical|acid|inhaled smoke|smoke|baby|toddler|child|blister\w*[\w\s]{0,10}(?:big|large))|(?:third.?degree|severe|serious|electrical|chemical|acid|deep)[\w\s]{0,10}burns?|electrocut\w+|electric shock|struck by lightning|caught fire|on fire|boiling (?:water|oil)[\w\s,'’]{0,30}(?:spilled|poured|over|all|fell|on|down)|(?:spilled|poured|pulled)[\w\s]{0,18}(?:boiling|hot) (?:water|oil|tea|coffee|soup)|smoke inhalation|inhaled (?:a lot of )?smoke|acid (?:on|in) (?:my|his|her)",
        r"(?:大面积|严重|深度|三度|电|化学).{0,3}(?:烧伤|烫伤|灼伤)|触电|(?:脸|面部|全身|大片|孩子|宝宝|手).{0,8}(?:烧伤|烫伤)|(?:开水|热油|热汤).{0,8}(?:烫|浇|泼)|被雷击|着火|吸入.{0,3}烟",
    ),
    "heat": (r"heat ?stroke|(?:hot|heat|sun|marathon|sauna|hot car|running|hiking|working outside|heatwave)\b", r"中暑|热射病|高温|太阳下|暴晒|烈日|车里"),
    "heat_sign": (r"heat ?stroke|(?:confus\w+|collaps\w+|unconscious|not sweating|stopped sweating|seizure|delirious|passed out|hot,? (?:and )?dry skin|not making sense|fainted|temperature (?:of )?4[01]|staggering|left in (?:a |the )?(?:hot )?car)", r"热射病|昏迷|意识|抽搐|不出汗|晕倒|胡言|4[01]度|神志"),
    "hypothermia": (r"hypotherm\w+|(?:fell|been|found|lost|stuck)[\w\s,]{0,30}(?:icy|freezing|snow|cold water|ice)[\w\s,]{0,50}(?:shiver\w*|confus\w*|drows\w*|slurr\w*|stopped shivering|sleepy|stiff)|stopped shivering|(?:temperature|temp) (?:of |is )?(?:3[0-4]|2\d)\b", r"失温|低体温|冻僵|掉进冰"),
    "carbon_monoxide": (
        r"carbon monoxide|\bco (?:alarm|detector|poisoning)|(?:charcoal|generator|gas (?:heater|boiler|fire|stove|leak)|car (?:exhaust|running)|bbq|barbecue|grill|coal stove|wood stove|boiler)[\w\s,'’]{0,60}(?:headache|dizzy|nause\w*|sick|faint|confus\w*|sleepy|drows\w*|indoors|inside|garage|poisoning)|(?:everyone|all of us|whole family|my wife too|both of us|the dog)[\w\s,'’]{0,40}(?:headache|dizzy|sick)[\w\s,'’]{0,40}(?:heater|boiler|gas|stove|house|indoors)|(?:headache|dizzy|sick|nause\w+)[\w\s,'’]{0,60}(?:charcoal|generator|gas heater|boiler|garage|coal stove|bbq indoors|heater)",
        r"一氧化碳|煤气中毒|煤气|(?:烧炭|炭火|煤炉|热水器|燃气|炭盆).{0,12}(?:头晕|头痛|恶心|晕|呕吐)|(?:头晕|头痛|恶心).{0,12}(?:烧炭|炭火|煤炉|热水器|燃气)",
    ),
    "poison": (
        r"(?:swallow\w*|drank|drunk|ate|eaten|took|taken|ingest\w*|got into|inhaled|drinking)[\w\s,'’]{0,34}(?:bleach|antifreeze|detergent|pods?|cleaner|pesticide|weed ?killer|rat poison|poison\w*|mushrooms?|berries|paint thinner|petrol|gasoline|button batter\w+|batter(?:y|ies)|paraquat|methanol|drain|nail polish remover|his pills|her pills|my pills|grandma's (?:pills|tablets|medicine)|someone else's (?:pills|tablets))|poison(?:ed|ing)\b|weed ?killer|paraquat|(?:kid|toddler|child|baby|son|daughter|year.old)[\w\s,'’]{0,20}(?:ate|eaten|swallowed|took|got into)[\w\s'’]{0,18}(?:grand\w+|nan|mum|mom|dad|someone|my|the|some|her sister|his brother)(?:'s|’s)?[\w\s]{0,16}(?:pills?|tablets?|medicine|medication|gummies)",
        r"(?:喝|吃|误服|误食|吞|服)(?:了|下)?.{0,8}(?:农药|漂白|消毒|洁厕|老鼠药|毒|百草枯|清洁剂|蘑菇|汽油|防冻液|洗衣凝珠|甲醇|纽扣电池)|中毒|农药",
    ),
    "overdose": (
        r"over ?dos\w*|\bod'?d?\b|(?:took|taken|swallow\w*|swallowed|had|has taken|have taken|downed)[\w\s,'’]{0,24}(?:too many|a (?:whole )?(?:bottle|packet|pack|box|handful) of|all (?:of )?(?:my|his|her|the|their)|(?:[2-9]\d|1[2-9]\d?|twenty|thirty|forty|fifty|dozens of|lots of|loads of|a lot of|double|whole (?:bottle|packet|box|pack)))[\w\s]{0,18}(?:pills?|tablets?|paracetamol|tylenol|acetaminophen|ibuprofen|aspirin|medicine|medication|meds|sleeping|antidepressants?|insulin|capsules|panadol|opioids?|oxy\w*|xanax|valium)|too (?:many|much) (?:pills|tablets|paracetamol|tylenol|medicine|medication|insulin|heroin|fentanyl|opioids?|alcohol)|(?:heroin|fentanyl|opioid|oxy\w*|methadone)[\w\s,'’]{0,40}(?:not breathing|blue|won't wake|unconscious|unresponsive|barely)",
        r"(?:吃|服|吞|喝)(?:了|下)?.{0,8}(?:整瓶|一瓶|半瓶|很多|大量|过量|几十|[2-9]\d|一把).{0,5}(?:药|片|安眠|对乙酰|扑热息痛|布洛芬)|服药过量|药物过量|吃多了药|过量服",
    ),
    "alcohol_bad": (r"(?:drunk|drinking|drank|alcohol|vodka|whisky|whiskey)[\w\s,'’]{0,60}(?:won't wake|can't wake|cannot wake|unconscious|unresponsive|not responding|barely breathing|blue|choking on (?:his|her) vomit)|alcohol poisoning", r"(?:喝酒|醉酒|喝醉|酒).{0,12}(?:叫不醒|昏迷|不省人事|没反应)|酒精中毒"),
    # children
    "newborn": (r"newborn|new.?born|neonate|(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven)[\s-]*(?:day|week|wk)s?[\s-]*old|(?:1|2|one|two|one and a half)[\s-]*months?[\s-]*old|(?:baby|infant) (?:is )?(?:under|less than) (?:3|three) months", r"新生儿|(?:满月|没满月|未满月)|(?:宝宝|婴儿|孩子|女儿|儿子|娃).{0,3}(?:\d{1,2}|[一二三四五六七八九十]+)天|(?:\d+|[一二三四五六七八九十]+)天大|(?:\d+|[一二三四五六七八九十]+)周大|出生(?:\d+|[一二三四五六七八九十]+)天|(?:1|2|一|两|二)个月(?:大|的)"),
    "infant": (r"\bbaby\b|\bbabies\b|infant|newborn|toddler|(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven)[\s-]*(?:month|mo|week|day)s?[\s-]*old|little one|\b(?:1|one|2|two)[\s-]*years?[\s-]*old|my (?:son|daughter|child|kid)|bub\b", r"宝宝|婴儿|新生儿|个月大|个月的|孩子|小孩|儿子|女儿|娃"),
    "dehydrated": (
        r"(?:no|fewer|not (?:had|having)|hasn't had|without|dry)[\w\s,]{0,16}(?:wet )?(?:nappies|nappy|diapers?)|(?:hasn't|not|has not|hardly|barely|no)[\w\s]{0,10}(?:peed|weed|wet|urinat\w+|pee\b|passed urine|urine)|no tears|sunken[\w\s]{0,12}(?:eyes?|fontanell?e|soft spot)|(?:eyes|soft spot|fontanell?e)[\w\s]{0,14}sunken|dry (?:mouth|lips|tongue)|dehydrat\w+|won't (?:feed|nurse|drink|take (?:any )?fluids)|not drinking|refus\w+ (?:to drink|feeds|all fluids|fluids|the bottle|bottles)|not (?:feeding|taking (?:any )?(?:feeds|milk|fluids))",
        r"尿布.{0,5}(?:干|没湿)|(?:没有?|很少)(?:小便|尿)|哭.{0,4}没有?眼泪|囟门.{0,3}凹|眼窝.{0,3}凹|脱水|不(?:喝|吃)(?:水|奶)|拒奶",
    ),
    "gut_loss": (r"diarrh\w+|vomit\w*|throw\w* up|runny poo|loose stools?|sick\b|gastro\w*|runs\b|watery", r"腹泻|拉肚子|呕吐|拉稀|吐|水样便"),
    "child_danger": (r"grunting|ribs (?:are )?(?:showing|sucking|pulling)|sucking in (?:at|under|between)[\w\s]{0,8}(?:ribs|neck|chest)|nostrils? flar\w+|head bobbing|pauses in breathing|stops? breathing|floppy|limp|high.?pitched cry|bulging (?:fontanell?e|soft spot)|(?:fontanell?e|soft spot)[\w\s]{0,10}bulg\w+|won't stop (?:crying|screaming)|weak cry|mottled|green vomit|bile", r"呻吟|三凹|鼻翼扇动|呼吸暂停|囟门.{0,3}(?:鼓|凸|隆)|尖叫样哭|软绵绵|皮肤花|吐绿"),
    # mind and violence
    "suicide_passive": (
        r"(?:wish|wished)[\w\s'’]{0,16}(?:dead|never (?:been )?born|not (?:wake|alive)|wouldn't wake|didn't (?:have to )?(?:exist|wake|live))|(?:don't|do not|dont|no longer|didn't) (?:want to|wanna) (?:be here|live|exist|be alive|wake up|go on|carry on|continue)(?: any ?more)?|better off (?:dead|without me)|(?:no|isn't any|not any|what's the) (?:reason|point)[\w\s]{0,8}(?:to |in )?(?:liv\w+|going on|go on|being alive|to life|carrying on)|life (?:is|isn't|feels)[\w\s]{0,6}(?:not |n't )?(?:worth living|pointless)|not worth living|tired of (?:living|being alive|life)|can't go on(?: like this)?(?: any ?more)?|want (?:it|everything) (?:all )?to (?:end|stop|be over)|want to disappear|nothing (?:left )?to live for|nothing to look forward to any ?more|(?:can't|cannot) do this any ?more|sleep (?:and|forever)[\w\s]{0,10}(?:never|not|forever)[\w\s]{0,8}wak\w*|go to sleep and not wake|ready to die|rather be dead|hate being alive|done with (?:life|living)|burden to (?:everyone|my family|them)",
        r"不想活|活着没(?:有)?意思|活着没(?:有)?意义|不如死|想死|活不下去|没有?活下去|生无可恋|不想醒来|一了百了|希望自己(?:死|消失)|想消失|厌世|活腻|死了算了",
    ),
    "suicide_active": (
        r"suicid\w*|kill(?:ing)? (?:myself|himself|herself|themselves|themself)|end(?:ing)? (?:my|his|her|their) (?:own )?life|end(?:ing)? it all|(?:want to|wanna|going to|gonna) end (?:it|things|everything)\b|take my (?:own )?life|taking my (?:own )?life|want(?:s)? to die|wanna die|going to die by|unalive|kms\b|(?:thinking|think|thoughts?) (?:of|about) (?:dying|death|ending|hurting myself|not being here|jumping)|hurt(?:ing)? myself|harm(?:ing)? (?:myself|himself|herself)|self.?harm\w*|cut(?:ting)? (?:myself|my (?:wrists?|arms?))|hang(?:ing)? myself|jump(?:ing)? (?:off|in front)|drown myself|shoot myself|slit my|overdose on purpose",
        r"自杀|轻生|结束(?:自己的?)?生命|了结(?:自己|生命)|想死|寻死|自残|割腕|伤害自己|跳楼|上吊|自尽|弄死自己|跳河|跳下去",
    ),
    "suicide_plan": (
        r"(?:have|got|made|making|my) (?:a |the |my )?(?:plan|note|goodbye|will)[\w\s]{0,30}|(?:have|got|bought|saved|stockpil\w+|collected|stash\w*)[\w\s,'’]{0,22}(?:pills|tablets|rope|gun|knife|blades?|razor|noose|insulin)|(?:pills|tablets|rope|gun|knife|blade|razor|noose)[\w\s,'’]{0,22}(?:ready|in (?:my|front|hand)|next to me|with me|here)|tonight|right now|today|goodbye|standing on|on the (?:bridge|roof|ledge|tracks)|written (?:a |my )?(?:note|letters?)|i(?:'ve| have) (?:already )?(?:taken|cut|swallowed)|just (?:took|cut|swallowed)|going to (?:do it|kill|end|jump|hang|shoot|overdose|take)|tried (?:to )?(?:kill|hang|overdose|end)|attempt\w*|this is (?:my )?(?:last|goodbye)",
        r"计划好|写好遗书|遗书|准备好(?:了)?(?:药|绳|刀)|(?:药|绳子?|刀).{0,5}准备好|买了(?:药|绳|刀)|今晚|现在就|站在(?:楼顶|桥|天台|窗)|已经(?:吃了|割|吞)|攒了.{0,4}药|刚(?:吃|割|吞)|告别|手里(?:有|拿着)",
    ),
    "harm_others": (r"(?:want|going|plan\w*|thinking (?:of|about)|urge|thoughts? (?:of|about)|might|will|gonna|afraid i(?:'ll| will| might)|scared i(?:'ll| will| might)) (?:to )?(?:kill(?:ing)?|hurt(?:ing)?|stab(?:bing)?|shoot(?:ing)?|harm(?:ing)?|murder(?:ing)?|strangl\w+) (?:him|her|them|someone|somebody|people|my|the|everyone|him)|voices (?:are )?(?:tell\w*|order\w*|command\w*|say\w*)[\w\s]{0,20}(?:kill|hurt|harm|jump|do it|cut|die)", r"想(?:杀|打死|捅|伤害)(?:了)?(?:他|她|人|别人|孩子)|要杀(?:了)?|杀人|声音(?:让|叫|命令)我"),
    "violence": (
        r"(?:he|she|husband|wife|partner|boyfriend|girlfriend|ex|dad|father|mum|mother|stepdad|stepfather|brother|uncle|boss|they|someone|somebody|my \w+)\b[\w\s,'’]{0,22}\b(?:hits? (?:me|her|him|us|the (?:kids|children)|my)\b|beats? (?:me|her|him|us|the (?:kids|children)|my)\b(?! (?:at|in|to)\b)|beating me|punch\w*|kick(?:s|ed) me|chok(?:ed|es) me|strangl\w*|slap\w* me|threaten\w* (?:to (?:kill|hurt)|me)|rap(?:ed|es)|molest\w*|sexually|abus(?:es|ed|ing) me|forc(?:ed|es) me (?:to have|into) sex|burn(?:s|ed) me|hurts me|assault\w*|touch(?:es|ed) me (?:where|down|inappropriately)|locks? me|attacked me|pushed me down)|(?:been|was|got|being|am|is being|were) (?:\w+ )?(?:raped|sexually assaulted|assaulted|beaten|strangled|molested|sexually abused|abused|attacked|stabbed|threatened)|domestic (?:violence|abuse)|afraid (?:of my|he'll|she'll|he will|she will|to go home|for my life)|not safe at home|scared (?:of my (?:husband|partner|boyfriend|wife|dad|father)|he'll|he will|to go home)|unsafe at home",
        r"家暴|被.{0,3}(?:打|强奸|性侵|强暴|虐待|掐|威胁)|(?:丈夫|老公|男友|爸爸|他|老婆|男朋友|继父).{0,4}(?:打我|掐我|踢我|威胁|强迫我|虐待我|扇我|摸我)|性侵|强奸|虐待|不敢回家",
    ),
    "eating_danger": (r"(?:haven't|not|hasn't) eaten (?:anything )?(?:for|in) (?:\d+|several|many|a week|days|over a) ?(?:days|week)?[\w\s,]{0,50}(?:faint\w*|weak|collaps\w*|dizzy|chest)|starving myself[\w\s,]{0,40}(?:faint\w*|collaps\w*|chest)", r"几天没吃.{0,10}(?:晕|无力)|绝食"),
    "psychosis_danger": (r"(?:hearing|hears?) voices[\w\s,]{0,50}(?:kill|hurt|die|harm|tell\w*|jump|order\w*|command\w*)|(?:after|since)[\w\s]{0,12}(?:birth|baby)[\w\s,]{0,50}(?:voices|seeing things|baby is (?:evil|possessed|the devil)|harm (?:the |my )?baby|hurt (?:the |my )?baby)|thoughts? of (?:harming|hurting|killing) (?:my|the) baby", r"(?:幻听|声音).{0,8}(?:杀|死|伤害|命令)|伤害(?:我的)?(?:宝宝|孩子)"),
    # blood pressure, trauma, bites
    "hypertension_symptom": (r"headache|chest|blurr\w*|vision|confus\w*|short(?:ness)? of breath|breathless|nosebleed|numb\w*|vomit\w*|seizure|weak\w*", r"头痛|头疼|胸痛|视物|看不清|意识|气短|呕吐|麻|鼻血|头晕"),
    "major_trauma": (
        r"(?:car|motorbike|motorcycle|bike|traffic|road)[\w\s]{0,10}(?:crash|accident|collision)|hit by (?:a |an )?(?:car|bus|truck|lorry|train|van)|(?:fell|fall|fallen|jumped)[\w\s]{0,18}(?:ladder|roof|stairs|second floor|storey|balcony|tree|horse|height|window|scaffold\w*|\d+ ?(?:m|meters?|metres|feet|ft))|neck (?:injury|broken)|broke (?:my|his|her) (?:neck|back)|can't move (?:my|his|her) (?:legs|arms|neck) after|impaled|crushed|stabbed|been shot|gunshot|drown\w*|nearly drowned",
        r"车祸|被(?:车|卡车|公交)?撞(?:了|飞)|(?:从|自).{0,6}(?:摔下|坠落|掉下)|坠楼|被捅|枪伤|溺水|差点淹死",
    ),
    "snake": (r"snake ?bite|bitten by (?:a |an )?(?:\w+ )?(?:snake|viper|adder|cobra|rattlesnake|copperhead|krait|mamba)|snake bit|(?:rabid|stray|wild)[\w\s]{0,8}(?:dog|bat|animal|raccoon|fox)[\w\s]{0,16}(?:bit|bitten|bite)|(?:bit|bitten|bite|scratched)[\w\s]{0,18}(?:by )?(?:a |an )?(?:bat\b|stray dog|rabid|monkey|raccoon)|\b(?:bat|stray dog|raccoon|monkey|snake|scorpion) (?:bit|scratched|stung)|scorpion|black widow|box jellyfish", r"被蛇咬|蛇咬|毒蛇|狂犬|被.{0,3}(?:野狗|流浪狗|蝙蝠)咬|蝎子"),
    "adrenal": (r"(?:addison\w*|adrenal (?:insufficiency|crisis)|steroid (?:dependent|tablets)|hydrocortisone|prednisolone)[\w\s,'’]{0,60}(?:vomit\w*|collaps\w*|confus\w*|faint\w*|drows\w*|very ill|stopped taking|can't keep)|adrenal crisis|addisonian crisis", r"肾上腺.{0,4}(?:危象|功能不全)|艾迪生.{0,10}(?:呕吐|晕)"),
    "limb_paralysis_rising": (r"(?:weakness|numbness|tingling)[\w\s,'’]{0,30}(?:spreading|moving|creeping|rising|climbing|going) up[\w\s]{0,20}(?:legs|body|arms)?|guillain", r"(?:无力|麻).{0,6}(?:往上|向上|上行)"),
}  # fmt: skip

TERM_SIGNS: dict[str, tuple[str, ...]] = {
    "chest_pain": ("Chest pain",),
    "breathless": ("Dyspnea",),
    "fever": ("Fever",),
    "seizure": ("Seizure",),
    "headache": ("Headache",),
    "stiff_neck": ("Stiff neck",),
    "confused": ("Confusion",),
    "blue": ("Cyanosis",),
    "one_side_weak": ("Hemiparesis",),
    "face_droop": ("Facial palsy",),
    "stridor": ("Stridor",),
    "vomit_blood": ("Hematemesis",),
    "black_stool": ("Melena",),
    "hives": ("Urticaria",),
    "suicide_active": ("Suicidal ideation",),
    "vomiting": ("Vomiting",),
    "sweaty": ("Hyperhidrosis",),
    "cough_blood": ("Hemoptysis",),
    "asthma": ("Asthma",),
}

RULES: tuple[Rule, ...] = (
    Rule(
        id="cardiac_arrest",
        title=gettext_noop("Not breathing or no pulse"),
        advice=gettext_noop("Start chest compressions at once and use a defibrillator if one is near; the call-taker will guide you."),
        alternatives=("no_pulse",),
        source="Basic life support: unresponsive and not breathing normally",
    ),
    Rule(
        id="acute_coronary",
        title=gettext_noop("Possible heart attack"),
        advice=gettext_noop("Sit down and rest. Don't drive yourself. Tell the call-taker about any blood thinners and allergies."),
        alternatives=(
            "chest_pain + sweaty/radiating/breathless/nausea/faint/blue/palpitations_bad/cardiac_risk/over_40",
            "chest_pain + severe/sudden",
            "plain_chest_pain",
            "radiating + sweaty + indigestion_like/nausea/breathless/over_40/cardiac_risk",
            "indigestion_like + sweaty + over_40/cardiac_risk/radiating",
            "heart_attack_named",
        ),
        source="Acute coronary syndrome: chest discomfort, radiation, sweating, nausea, breathlessness",
    ),
    Rule(
        id="aortic_dissection",
        title=gettext_noop("Possible tear of the main artery"),
        advice=gettext_noop("Lie still and stay with someone until help arrives."),
        alternatives=("tearing_pain", "belly_pain + severe/sudden + back_legs + faint/over_60"),
        source="Aortic dissection and aneurysm: abrupt tearing chest, back or belly pain",
    ),
    Rule(
        id="pulmonary_embolism",
        title=gettext_noop("Possible blood clot in the lung"),
        advice=gettext_noop("Sit down, don't walk around, and don't drive yourself."),
        alternatives=(
            "breathless + leg_swollen",
            "breathless + sudden + clot_risk",
            "pleuritic + breathless/clot_risk/leg_swollen/cough_blood",
            "cough_blood + breathless/chest_pain/leg_swollen",
        ),
        source="Pulmonary embolism: sudden breathlessness, pleuritic pain, leg clot, risk factors",
    ),
    Rule(
        id="stroke",
        title=gettext_noop("Possible stroke"),
        advice=gettext_noop("Note the time when it began. Give nothing to eat or drink. Call even if the signs went away."),
        alternatives=(
            "stroke_face",
            "one_side_weak",
            "speech + face_droop/one_side_weak/sudden/confused/headache/over_60/faint",
            "speech",
            "stroke_named",
        ),
        source="FAST: face, arm, speech, time; transient attacks included",
    ),
    Rule(
        id="thunderclap_headache",
        title=gettext_noop("Sudden, severest headache"),
        advice=gettext_noop("This can be bleeding in the head. Lie down and don't stay alone."),
        alternatives=("thunderclap", "headache + sudden + severe", "headache + sudden + faint/confused/vision_loss"),
        source="Subarachnoid haemorrhage: peak within seconds to a minute",
    ),
    Rule(
        id="meningitis",
        title=gettext_noop("Possible meningitis or blood infection"),
        advice=gettext_noop("Don't wait for a rash. Press a glass on any spots: those that don't fade are an emergency."),
        alternatives=(
            "fever + stiff_neck",
            "stiff_neck + light_hurts/confused/drowsy/non_blanching",
            "headache + fever + light_hurts/confused/drowsy/non_blanching",
            "fever + non_blanching",
            "non_blanching + drowsy/confused/vomiting/headache/infant",
        ),
        source="Bacterial meningitis and meningococcal disease",
    ),
    Rule(
        id="sepsis",
        title=gettext_noop("Possible sepsis"),
        advice=gettext_noop("Say the words \"could this be sepsis?\" when you call."),
        alternatives=(
            "fever + confused/drowsy/blue",
            "fever + sepsis_sign + infection/confused/breathless/immunosuppressed",
            "infection + confused/drowsy",
            "infection + sepsis_sign",
            "sepsis_named + fever/infection/confused/sepsis_sign",
            "fever + immunosuppressed",
            "fever + breathless + confused/sepsis_sign/low_pressure",
            "fever + low_pressure",
            "severe_limb_pain_infection",
        ),
        source="Sepsis: infection with confusion, fast breathing, mottled skin, no urine",
    ),
    Rule(
        id="anaphylaxis",
        title=gettext_noop("Possible severe allergic reaction"),
        advice=gettext_noop("Use an adrenaline auto-injector if you have one, then lie down with raised legs (sit up if breathing is hard)."),
        alternatives=(
            "anaphylaxis_named + allergen/hives/swelling_airway/breathless/faint",
            "swelling_airway + allergen/breathless/hives/faint/vomiting",
            "hives + breathless/faint/vomiting",
            "allergen_known + breathless + hives/swelling_airway/faint",
            "airway_closing",
        ),
        source="Anaphylaxis: airway, breathing or circulation problems, often with skin changes",
    ),
    Rule(
        id="airway",
        title=gettext_noop("Blocked or narrowed airway"),
        advice=gettext_noop("Keep the person upright and calm; don't look into the throat. If choking and unable to cough: back blows and abdominal thrusts."),
        alternatives=(
            "choking",
            "stridor + breathless/blue/drooling/drowsy/infant_young/child_danger",
            "drooling + breathless/fever/severe_throat/swelling_airway",
            "stridor_rest",
        ),
        source="Upper airway obstruction, croup at rest, epiglottitis, foreign body",
    ),
    Rule(
        id="severe_breathlessness",
        title=gettext_noop("Severe breathing difficulty"),
        advice=gettext_noop("Sit upright. Use your reliever inhaler if you have one while help is on the way."),
        alternatives=("severe_breathless", "breathless + blue/confused/drowsy/low_oxygen", "low_oxygen", "asthma + inhaler_failing", "asthma + blue/confused"),
        source="Life-threatening asthma or respiratory failure",
    ),
    Rule(
        id="status_epilepticus",
        title=gettext_noop("Seizure that is going on, long, repeated or new"),
        advice=gettext_noop("Protect the head, don't hold the person down, put nothing in the mouth; turn them on their side afterwards."),
        alternatives=("seizure_long", "first_seizure", "seizure + pregnant/head_injury/fever/diabetes/breathless/blue"),
        source="Status epilepticus and first seizures",
    ),
    Rule(
        id="unconscious",
        title=gettext_noop("Unresponsive person"),
        advice=gettext_noop("Check breathing. If breathing: recovery position. If not: start chest compressions."),
        alternatives=("unresponsive", "alcohol_bad"),
        source="Reduced consciousness of any cause",
    ),
    Rule(
        id="head_injury",
        title=gettext_noop("Head injury with danger signs"),
        advice=gettext_noop("Don't drive. Someone should stay with the person and watch whether they can be woken."),
        alternatives=("head_injury + anticoagulant/head_injury_sign/over_65/infant_baby",),
        source="Head injury with vomiting, drowsiness, blood thinners, age",
    ),
    Rule(
        id="cauda_equina",
        title=gettext_noop("Possible pressure on the nerves of the lower spine"),
        advice=gettext_noop("Go to an emergency department now; surgery within hours can save bladder and legs."),
        alternatives=("saddle", "back_legs + bladder_loss", "back_legs + both_legs_weak", "both_legs_weak + bladder_loss", "limb_paralysis_rising"),
        source="Cauda equina syndrome and spinal cord compression",
    ),
    Rule(
        id="vision",
        title=gettext_noop("Sudden loss of sight or eye emergency"),
        advice=gettext_noop("Rinse chemicals out with running water for at least 20 minutes. Don't rub or press the eye."),
        alternatives=("vision_loss", "eye_emergency"),
        source="Retinal artery occlusion, detachment, acute glaucoma, chemical injury",
    ),
    Rule(
        id="diabetic_ketoacidosis",
        title=gettext_noop("Possible diabetic emergency (high sugar)"),
        advice=gettext_noop("Measure blood sugar and ketones if you can. Don't stop insulin on your own."),
        alternatives=(
            "diabetes + vomiting/confused/drowsy/breathless + dka_sign",
            "diabetes + vomiting + drowsy/confused/breathless/thirst_polyuria/unwell_general",
            "dka_sign + vomiting/confused/drowsy/breathless/thirst_polyuria",
            "thirst_polyuria + vomiting + drowsy/confused/breathless/unwell_general",
            "very_high_sugar",
        ),
        source="Diabetic ketoacidosis and hyperosmolar state",
    ),
    Rule(
        id="hypoglycaemia",
        title=gettext_noop("Dangerously low blood sugar"),
        advice=gettext_noop("If awake and able to swallow: fast sugar now. If not: nothing by mouth."),
        alternatives=("hypo + confused/drowsy/unresponsive/seizure/faint", "very_low_sugar + confused/drowsy/faint/sweaty/seizure"),
        source="Severe hypoglycaemia",
    ),
    Rule(
        id="gi_bleed",
        title=gettext_noop("Bleeding in the stomach or bowel"),
        advice=gettext_noop("Don't eat or drink. Lie down if you feel faint."),
        alternatives=("vomit_blood", "black_stool", "rectal_bleed_heavy"),
        source="Upper and lower gastrointestinal bleeding",
    ),
    Rule(
        id="heavy_bleeding",
        title=gettext_noop("Heavy bleeding or severe injury"),
        advice=gettext_noop("Press hard on the wound with a clean cloth and keep pressing. Don't move someone whose neck or back may be hurt."),
        alternatives=("heavy_bleed", "major_trauma_hurt", "compartment"),
        source="Major haemorrhage and trauma",
    ),
    Rule(
        id="acute_abdomen",
        title=gettext_noop("Severe belly pain"),
        advice=gettext_noop("Don't eat or drink until a doctor has seen you."),
        alternatives=(
            "rigid_belly",
            "belly_pain + severe",
            "belly_pain + right_lower + fever/vomiting/nausea/severe",
            "right_lower_moved",
            "belly_pain + sudden + faint/vomiting",
            "belly_pain + obstruction + vomiting",
        ),
        source="Appendicitis, perforation, obstruction, ruptured aneurysm",
    ),
    Rule(
        id="ectopic",
        title=gettext_noop("Possible pregnancy outside the womb or bleeding in pregnancy"),
        advice=gettext_noop("Don't drive yourself. Lie down if you feel faint."),
        alternatives=(
            "pregnant + belly_pain + vaginal_bleed/faint/shoulder_tip/severe",
            "pregnant + vaginal_bleed",
            "pregnant + belly_pain",
            "pregnant + shoulder_tip",
        ),
        source="Ectopic pregnancy, miscarriage, placental bleeding",
    ),
    Rule(
        id="pre_eclampsia",
        title=gettext_noop("Warning sign of late pregnancy or after birth"),
        advice=gettext_noop("Call your maternity unit or the emergency number now, whichever answers first."),
        alternatives=(
            "pregnant + late_pregnancy_sign",
            "postpartum + late_pregnancy_sign_strict/seizure/breathless/chest_pain",
            "pregnant + high_pressure",
            "postpartum + soaking/fever_foul/confused/faint",
            "pregnant + seizure",
            "in_labour + pregnant",
        ),
        source="Pre-eclampsia, reduced movements, postpartum haemorrhage",
    ),
    Rule(
        id="testicular_torsion",
        title=gettext_noop("Possible twisted testicle"),
        advice=gettext_noop("Go to an emergency department now: the testicle can be saved only within about six hours. Don't eat or drink."),
        alternatives=("testicle", "priapism"),
        source="Testicular torsion",
    ),
    Rule(
        id="limb_ischaemia",
        title=gettext_noop("Limb without blood supply"),
        advice=gettext_noop("Don't warm or raise the limb; keep it still."),
        alternatives=("limb_cold + limb_pain_sudden", "limb_cold + sudden + limb_hurts",),
        source="Acute limb ischaemia: pain, pallor, pulseless, cold, numb",
    ),
    Rule(
        id="severe_hypertension",
        title=gettext_noop("Very high blood pressure"),
        advice=gettext_noop("Sit quietly. Don't take extra tablets on your own."),
        alternatives=("crisis_pressure + hypertension_symptom/chest_pain/breathless/confused", "extreme_pressure"),
        source="Hypertensive emergency: 180/120 or more with symptoms",
    ),
    Rule(
        id="burns",
        title=gettext_noop("Serious burn, electric shock or smoke"),
        advice=gettext_noop("Cool a burn under cool running water for 20 minutes, no ice. For electricity: switch it off before touching the person."),
        alternatives=("burn_bad",),
        source="Burns of face, hands, large area, children, electricity, inhalation",
    ),
    Rule(
        id="heat_stroke",
        title=gettext_noop("Possible heat stroke or freezing"),
        advice=gettext_noop("Move to shade, take off clothes, wet and fan the skin. In cold: shelter, dry clothes, gentle warming."),
        alternatives=("heat + heat_sign", "hypothermia", "heat + very_high_temperature"),
        source="Heat stroke and hypothermia",
    ),
    Rule(
        id="carbon_monoxide",
        title=gettext_noop("Possible carbon monoxide or gas poisoning"),
        advice=gettext_noop("Get everyone out into fresh air first, then call."),
        alternatives=("carbon_monoxide",),
        source="Carbon monoxide poisoning",
    ),
    Rule(
        id="poisoning",
        title=gettext_noop("Poisoning or overdose"),
        advice=gettext_noop("Don't make the person vomit. Keep the packaging and say what was taken, how much and when."),
        alternatives=("poison", "overdose"),
        source="Poisoning and overdose, also without symptoms yet",
    ),
    Rule(
        id="infant_fever",
        title=gettext_noop("Fever or danger sign in a young baby"),
        advice=gettext_noop("A baby under three months with a fever must be seen by a doctor now, even if it seems well."),
        alternatives=(
            "newborn + fever",
            "under_3_months + fever",
            "newborn + dehydrated/drowsy/child_danger/blue/vomiting",
            "infant + child_danger + fever/breathless/drowsy/dehydrated/blue",
            "infant + drowsy + fever/vomiting/dehydrated/non_blanching",
            "infant + blue",
            "infant + very_high_temperature",
        ),
        source="Fever under three months; traffic-light danger signs in children",
    ),
    Rule(
        id="infant_dehydration",
        title=gettext_noop("A child losing too much water"),
        advice=gettext_noop("Offer small sips often on the way to help."),
        alternatives=("infant + gut_loss + dehydrated", "infant + dehydrated + drowsy/fever", "infant + dry_long"),
        source="Dehydration in infants and toddlers",
    ),
    Rule(
        id="adrenal_crisis",
        title=gettext_noop("Possible adrenal crisis"),
        advice=gettext_noop("Give the emergency hydrocortisone injection if one is at hand and you were taught how."),
        alternatives=("adrenal",),
        source="Adrenal insufficiency with vomiting or collapse",
    ),
    Rule(
        id="venom_rabies",
        title=gettext_noop("Venomous bite or possible rabies contact"),
        advice=gettext_noop("Keep the limb still, don't cut or suck. Wash animal bites with soap and water for 15 minutes. Get to a hospital."),
        alternatives=("snake",),
        source="Envenoming; rabies exposure",
    ),
    Rule(
        id="blackout",
        title=gettext_noop("Fainting with danger signs"),
        advice=gettext_noop("Lie down and don't drive."),
        alternatives=("faint_real + chest_pain/palpitations_bad/breathless/exertion/vomit_blood/black_stool/pregnant", "palpitations_bad + faint/chest_pain/breathless"),
        source="Syncope with cardiac or bleeding features",
    ),
    Rule(
        id="suicide_plan",
        title=gettext_noop("Immediate danger to life"),
        advice=gettext_noop("Please don't stay alone: go to another person now and put distance between you and anything you could use."),
        alternatives=("suicide_active + suicide_plan", "suicide_passive + suicide_plan", "suicide_active + overdose", "suicide_method"),
        source="Suicidal intent with plan, means or attempt",
        crisis=True,
    ),
    Rule(
        id="suicide_active",
        title=gettext_noop("Thoughts of ending your life"),
        advice=gettext_noop("I'm glad you said it. You deserve help from a person now: talk to someone you trust and a crisis line today."),
        alternatives=("suicide_active",),
        source="Active suicidal thoughts or self-harm",
        grade=Grade.TODAY,
        crisis=True,
    ),
    Rule(
        id="suicide_passive",
        title=gettext_noop("Not wanting to live"),
        advice=gettext_noop("Thank you for saying it. Please tell a person you trust how bad it is, and talk to a crisis line; you don't have to be sure."),
        alternatives=("suicide_passive",),
        source="Passive death wishes",
        grade=Grade.SUPPORT,
        crisis=True,
    ),
    Rule(
        id="harm_to_others",
        title=gettext_noop("Danger to someone else"),
        advice=gettext_noop("Step away from the other person and from anything that could be a weapon, and call before anything happens."),
        alternatives=("harm_others", "psychosis_danger"),
        source="Thoughts of harming others, command hallucinations",
        crisis=True,
    ),
    Rule(
        id="violence",
        title=gettext_noop("Violence or abuse"),
        advice=gettext_noop("What is happening is not your fault. If you're in danger now, leave if you safely can and call. Injuries to the neck and head need a doctor even if they look small."),
        alternatives=("violence",),
        source="Domestic and sexual violence, child abuse",
        crisis=True,
    ),
)  # fmt: skip

_COMPILED = {
    name: (re.compile(english), re.compile(chinese))
    for name, (english, chinese) in PATTERNS.items()
}
_CONTRACTED = re.compile(
    r"\b(ca|wo|do|does|did|is|are|was|were|has|have|had|could|would|should)nt\b"
)
# Patterns whose own words contain a denial ("cannot breathe", "rash doesn't fade").
_SELF_DENYING = {
    "no_pulse", "severe_breathless", "breathless", "non_blanching", "unresponsive", "drowsy", "bladder_loss",
    "seizure_long", "first_seizure", "dehydrated", "suicide_passive", "inhaler_failing", "saddle", "speech",
    "confused", "one_side_weak", "vision_loss", "sepsis_sign", "belly_danger", "heavy_bleed", "drooling",
    "late_pregnancy_sign", "both_legs_weak", "limb_cold", "priapism", "eating_danger", "suicide_active",
    "head_injury_sign", "alcohol_bad", "stiff_neck", "light_hurts", "heat_sign", "vomiting", "violence",
}  # fmt: skip
# What stays true although it was long ago.
_LASTING = {"cardiac_risk", "anticoagulant", "clot_risk", "diabetes", "asthma", "immunosuppressed", "pregnant", "newborn", "infant", "allergen"}  # fmt: skip
_DENIED_BEFORE = re.compile(
    r"\b(?:no|not|never|without|denies|denied|deny|don't|doesn't|didn't|isn't|haven't|hasn't|wasn't)\b(?:\W+\w+){0,4}\W+$"
)


def said_signs(text: str) -> set[str]:
    """Names of the signs that the words of one message give."""
    plain = _CONTRACTED.sub(r"\1n't", text.replace("\u2019", "'").lower())
    tokens = tokenize(plain)
    found = {
        name
        for name, patterns in _COMPILED.items()
        if any(
            _counts(name, plain, tokens, match)
            for pattern in patterns
            for match in pattern.finditer(plain)
        )
    }
    return found | _derived(plain, found)


def _counts(name: str, plain: str, tokens: list[Token], match: re.Match[str]) -> bool:
    if match.end() == match.start():
        return False
    status = status_of(plain, tokens, match.start(), match.end())
    if status is Status.EXCLUDED and not (name in _OWN_ACTS and _feared(plain, match)):
        return False
    if status is Status.ABSENT:
        # "I can't deny it hurts": only a denial in front of the whole pattern takes it back.
        before = plain[sentence_bounds(plain, match.start(), match.end())[0] : match.start()]
        if name not in _SELF_DENYING or _DENIED_BEFORE.search(before):
            return False
    return name in _LASTING or not is_past(plain, match.start(), match.end())


_OWN_ACTS = {"suicide_active", "suicide_passive", "harm_others", "psychosis_danger"}
_FEARED = re.compile(
    r"\b(?:afraid|scared|fear|worried|terrified|what if|in case|if) (?:\w+ ){0,2}(?:i|he|she|they|we|my \w+|of|about|that)\b|害怕|担心|如果"
)


def _feared(plain: str, match: re.Match[str]) -> bool:
    """Fear of what oneself or a dear one might do counts; an essay about it does not."""
    begin, _ = sentence_bounds(plain, match.start(), match.end())
    return bool(_FEARED.search(plain[begin : match.end()]))


def _derived(plain: str, found: set[str]) -> set[str]:
    """Signs that are a combination within one message."""
    derived = set()
    if "chest_pain" in found and "chest_benign" not in found:
        derived.add("plain_chest_pain")
    if "face_droop" in found and "dental_numb" not in found:
        derived.add("stroke_face")
    if (
        re.search(
            r"(?:throat|airway|windpipe)[\w\s,'’]{0,20}clos\w+|喉咙.{0,3}(?:堵|肿)|喉头水肿", plain
        )
        and "swelling_airway" in found
    ):
        derived.add("airway_closing")
    if "allergen" in found and re.search(r"allerg|stung|sting|蜂|过敏", plain):
        derived.add("allergen_known")
    if "stridor" in found and re.search(
        r"\bat rest\b|even when (?:calm|asleep|resting)|stridor|安静时", plain
    ):
        derived.add("stridor_rest")
    if re.search(r"\bthroat\b|喉|嗓", plain):
        derived.add("severe_throat")
    if re.search(
        r"\btoddler|\bbaby|infant|\bchild|\bson\b|\bdaughter|year[\s-]old|宝宝|孩子|岁", plain
    ):
        derived.add("infant_young")
    if re.search(r"\bbaby\b|infant|newborn|months?[\s-]old|宝宝|个月大|婴儿", plain):
        derived.add("infant_baby")
    if (
        re.search(r"(?:collaps\w+|faint\w*|pass\w* out|black\w* ?out|晕倒|昏倒|晕厥)", plain)
        and "faint" in found
    ):
        derived.add("faint_real")
    if re.search(
        r"(?:while|during|when|after) (?:\w+ ){0,2}(?:running|exercis\w+|playing|sport|football|swimming|training|exertion)|运动时|跑步时",
        plain,
    ):
        derived.add("exertion")
    if (
        "right_lower" in found
        and re.search(r"moved|started (?:around|near|at)|belly button|转移", plain)
        and "belly_pain" in found
    ):
        derived.add("right_lower_moved")
    if re.search(
        r"no (?:gas|wind)|passed (?:gas|wind)|swollen|bloated and hard|hasn't pooed|not pooed|排气|排便|腹胀",
        plain,
    ):
        derived.add("obstruction")
    if re.search(r"foul|smell|fever|发烧|恶露", plain) and "fever" in found:
        derived.add("fever_foul")
    if (
        re.search(r"headache|vision|blurr|flashing|头痛|头疼|视物|眼花|血压", plain)
        and "late_pregnancy_sign" in found
    ):
        derived.add("late_pregnancy_sign_strict")
    if "major_trauma" in found and re.search(
        r"hurt|pain|bleed|neck|back|head|unconscious|move|blood|breath|chest|drown|shot|stab|impaled|crush|broken|dizzy|痛|疼|血|头|昏|溺|动不了|呼吸|捅|枪",
        plain,
    ):
        derived.add("major_trauma_hurt")
    if (
        re.search(r"(?:1[0-9]|2[0-4]|ten|twelve|eight|8|9|nine) hours", plain)
        and "dehydrated" in found
    ):
        derived.add("dry_long")
    if (
        re.search(
            r"(?:going to|gonna|about to|ready to|plan(?:ning)? to|trying to|tried to|want to|will) (?:kill myself|hang myself|jump (?:off|in front)|shoot myself|slit|drown myself|end (?:it|my life) (?:tonight|now|today))",
            plain,
        )
        and "suicide_active" in found
        and re.search(r"going to|gonna|about to|tonight|now|today|tried|plan|ready|will\b", plain)
    ):
        derived.add("suicide_method")
    return derived  # fmt: skip


def understood_signs(reading: Reading, age_years: float | None) -> set[str]:
    """Signs from HPO terms, vital signs and age."""
    ontology = load_ontology()[0]
    by_name = {name: sign for sign, names in TERM_SIGNS.items() for name in names}
    signs = set()
    for finding in reading.findings:
        if finding.status is Status.ABSENT or finding.confidence <= 0.6:
            continue
        position = ontology.position(finding.term)
        if position is None:
            continue
        for ancestor in ontology.ancestors[position]:
            if sign := by_name.get(ontology.names[ancestor]):
                signs.add(sign)
    vitals = reading.vitals
    checks = {
        "very_high_temperature": (vitals.temperature_c or 0) >= 40.0,
        "low_oxygen": vitals.oxygen_percent is not None and vitals.oxygen_percent < 92,
        "low_pressure": vitals.systolic is not None and vitals.systolic < 90,
        "high_pressure": (vitals.systolic or 0) >= 140 or (vitals.diastolic or 0) >= 90,
        "crisis_pressure": (vitals.systolic or 0) >= 180 or (vitals.diastolic or 0) >= 120,
        "extreme_pressure": (vitals.systolic or 0) >= 200 or (vitals.diastolic or 0) >= 130,
        "very_high_sugar": (vitals.glucose_mmol or 0) >= 25.0,
        "very_low_sugar": vitals.glucose_mmol is not None and vitals.glucose_mmol < 3.0,
        "palpitations_bad": (vitals.heart_rate or 0) >= 150,
    }
    signs |= {name for name, holds in checks.items() if holds}
    if age_years is not None:
        ages = {
            "under_3_months": age_years < 0.25,
            "infant": age_years < 3,
            "over_40": age_years >= 40,
            "over_60": age_years >= 60,
            "over_65": age_years >= 65,
        }
        signs |= {name for name, holds in ages.items() if holds}
    return signs


_AGE_SIGNS = {"under_3_months", "infant", "over_40", "over_60", "over_65"}


def signs_of(text: str, reading: Reading, age_years: float | None) -> set[str]:
    return said_signs(text) | understood_signs(reading, age_years)


def evaluate(new: set[str], earlier: Iterable[str]) -> list[Fired]:
    """Rules that the new signs satisfy, alone or with earlier ones; the most urgent first.

    Age alone is no news: an alternative needs a new sign of another kind.
    """
    known = new | set(earlier)
    news = new - _AGE_SIGNS
    fired: list[Fired] = []
    for rule in RULES:
        best: tuple[str, ...] = ()
        for alternative in rule.alternatives:
            used = _satisfied(alternative, known)
            if used and news & set(used):
                best = used
                break
        if best:
            fired.append(Fired(rule=rule, signs=best))
    fired.sort(key=lambda f: (-f.rule.grade, -len(f.signs)))
    return _without_weaker_crises(fired)


def _satisfied(alternative: str, known: set[str]) -> tuple[str, ...]:
    used: list[str] = []
    for group in alternative.split("+"):
        names = [name.strip() for name in group.split("/")]
        present = [name for name in names if name in known]
        if not present:
            return ()
        used += present
    return tuple(dict.fromkeys(used))


def _without_weaker_crises(fired: list[Fired]) -> list[Fired]:
    """Of the graded suicide rules only the most specific is shown."""
    order = ["suicide_plan", "suicide_active", "suicide_passive"]
    present = [f.rule.id for f in fired if f.rule.id in order]
    if len(present) < 2:
        return fired
    strongest = min(present, key=order.index)
    return [f for f in fired if f.rule.id not in order or f.rule.id == strongest]


def known_signs() -> frozenset[str]:
    """Every name a rule may use; a test holds the rules to it."""
    derived = {
        "plain_chest_pain", "stroke_face", "airway_closing", "allergen_known", "stridor_rest", "severe_throat",
        "infant_young", "infant_baby", "faint_real", "exertion", "right_lower_moved", "obstruction", "fever_foul",
        "late_pregnancy_sign_strict", "major_trauma_hurt", "dry_long", "suicide_method",
    }  # fmt: skip
    vitals = {
        "very_high_temperature", "low_oxygen", "low_pressure", "high_pressure", "crisis_pressure",
        "extreme_pressure", "very_high_sugar", "very_low_sugar",
    }  # fmt: skip
    return frozenset(PATTERNS) | derived | vitals | _AGE_SIGNS


BY_ID: Mapping[str, Rule] = {rule.id: rule for rule in RULES}
