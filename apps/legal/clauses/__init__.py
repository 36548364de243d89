"""The clause library of the mutual non-disclosure agreement, written for this project.

Each clause is numbered when the agreement is assembled. `{name}` is a value of the interview, and
`{ref:id}` the number of another clause, so that a reference can't point to the wrong one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Clause:
    id: str
    title: str
    paragraphs: tuple[str, ...]
    note: str
    """Why the clause is there, for the person who reviews the draft."""


MUTUAL_NDA: tuple[Clause, ...] = (
    Clause(
        id="definitions",
        title="Definitions",
        paragraphs=(
            "“Affiliate” means a company that controls, is controlled by, or is under common "
            "control with a Party.",
            "“Confidential Information” means all information, in any form, that a Party or its "
            "Affiliate (the “Discloser”) makes available to the other Party (the “Recipient”) for "
            "the Purpose, and that is marked as confidential or that a reasonable person would "
            "understand to be confidential. It includes the fact that the Parties are in "
            "discussions.",
            "“Purpose” means {purpose}.",
            "“Representatives” means the employees, officers, professional advisers and "
            "Affiliates of the Recipient who need to know the Confidential Information for the "
            "Purpose.",
            "“Term” means the period of {term_years} beginning on the Effective Date.",
        ),
        note="Every capitalised term that the agreement uses is defined once, here or where the "
        "parties are named.",
    ),
    Clause(
        id="duty",
        title="Duty of confidence",
        paragraphs=(
            "The Recipient shall keep the Confidential Information secret, shall use it only for "
            "the Purpose, and shall protect it with at least the care that it takes of its own "
            "information of the same kind, and never less than reasonable care.",
            "The Recipient may disclose Confidential Information to its Representatives, provided "
            "that they are bound to confidence no less strictly than the Recipient. The Recipient "
            "answers for what its Representatives do as for its own acts.",
        ),
        note="The core of the agreement. It binds both parties alike, as each is a recipient.",
    ),
    Clause(
        id="exceptions",
        title="Exceptions",
        paragraphs=(
            "Clause {ref:duty} does not apply to information that the Recipient can show: (a) is or "
            "becomes public other than through a breach of this Agreement; (b) was lawfully in its "
            "possession before the disclosure; (c) was lawfully received from a third party who "
            "was free to disclose it; or (d) was developed independently without use of the "
            "Confidential Information.",
            "The Recipient may disclose Confidential Information where a law, a court or an "
            "authority requires it. Where it lawfully can, it shall tell the Discloser beforehand "
            "and disclose no more than is required.",
        ),
        note="The usual four exceptions and compelled disclosure. Some laws add whistle-blower "
        "protection that no contract can limit; check the governing law.",
    ),
    Clause(
        id="term",
        title="Term and survival",
        paragraphs=(
            "This Agreement applies to Confidential Information that is made available during the "
            "Term. Either Party may end it earlier by thirty days' written notice.",
            "The duties under clause {ref:duty} last for {survival_years} after the end of the "
            "Term, and for a trade secret as long as it remains one.",
        ),
        note="Separates how long information may flow from how long it stays protected.",
    ),
    Clause(
        id="return",
        title="Return and destruction",
        paragraphs=(
            "At the Discloser's written request the Recipient shall return or destroy the "
            "Confidential Information within thirty days and confirm in writing that it has done "
            "so. Copies that a law requires to be kept, and routine backups, may be kept as long "
            "as clause {ref:duty} is observed.",
        ),
        note="Backups are excepted because few organisations can delete single items from them.",
    ),
    Clause(
        id="rights",
        title="No licence, no obligation",
        paragraphs=(
            "The Confidential Information remains the Discloser's. Nothing in this Agreement grants "
            "a licence or obliges a Party to disclose anything or to enter into a further "
            "agreement.",
            "Confidential Information is provided as it is; the Discloser gives no warranty of its "
            "accuracy or completeness.",
        ),
        note="Keeps the agreement from being read as a promise of a later deal.",
    ),
    Clause(
        id="remedies",
        title="Remedies",
        paragraphs=(
            "The Parties acknowledge that damages alone may not be a sufficient remedy for a breach "
            "of clause {ref:duty}. The Discloser may apply for an injunction or a similar order "
            "besides any other remedy.",
        ),
        note="Whether a court grants an injunction is for the governing law; the clause supports "
        "the application.",
    ),
    Clause(
        id="general",
        title="General",
        paragraphs=(
            "This Agreement is the Parties' whole agreement on its subject. A change is valid only "
            "in writing and signed by both Parties. Neither Party may assign it without the other's "
            "written consent.",
            "If a provision is invalid, the others remain in force. A delay in exercising a right "
            "is not a waiver of it.",
        ),
        note="Standard closing provisions.",
    ),
    Clause(
        id="law",
        title="Governing law and jurisdiction",
        paragraphs=(
            "This Agreement, and any dispute arising out of or in connection with it, is governed "
            "by {law}. {courts} have exclusive jurisdiction.",
        ),
        note="The law and the courts belong together; a lawyer of that jurisdiction should confirm "
        "both.",
    ),
)

PREAMBLE = (
    "This mutual non-disclosure agreement (the “Agreement”) is made on {effective_date} (the “Effective Date”) between:",
    "{party_a}, of {party_a_address}; and",
    "{party_b}, of {party_b_address}",
    "(each a “Party” and together the “Parties”).",
    "The Parties intend to exchange confidential information and agree as follows.",
)
TITLE = "Mutual Non-Disclosure Agreement"
