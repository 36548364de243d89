"""The refusals and notes of the readers as sentences for a person: what happened, what to do."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_noop

from praxis.sentences import Sentence

_SENTENCES = {
    "unknown_format": gettext_noop(
        "Files of the kind “%(suffix)s” can't be read. Upload one of: %(known)s."
    ),
    "old_office": gettext_noop(
        "Office files of the kind “%(suffix)s” are not taken, because they may hold macros or are "
        "in the old binary format. Save the file as %(newer)s and upload that."
    ),
    "encrypted_or_old_office": gettext_noop(
        "The file is encrypted or in an old Office format. Open it, remove the password, save it as "
        "%(suffix)s and upload that."
    ),
    "empty_file": gettext_noop("The file is empty. Choose a file with content."),
    "too_large": gettext_noop(
        "The file has %(megabytes)s MB; at most %(limit)s MB are taken. Split it and upload the parts."
    ),
    "other_content": gettext_noop(
        "The name ends in “%(suffix)s”, but the content is not of that kind (it looks like "
        "%(found)s). Rename the file or export it again in the right format."
    ),
    "binary": gettext_noop(
        "The file holds binary data instead of text. Export it as text and upload that."
    ),
    "no_text": gettext_noop("The file holds no text. Choose a file with content."),
    "no_text_layer": gettext_noop(
        "The PDF has no text layer, and no writing could be recognised in the pictures of its pages. "
        "Scan it again more sharply, or upload a PDF with selectable text."
    ),
    "pdf_encrypted": gettext_noop(
        "The PDF is encrypted and opens only with a password. Remove the password and upload it again."
    ),
    "pdf_broken": gettext_noop(
        "The PDF is damaged and can't be read. Open it in a PDF program, save it anew and upload that."
    ),
    "office_broken": gettext_noop(
        "The Office file is damaged and can't be read. Open it, save it anew and upload that."
    ),
    "csv_broken": gettext_noop(
        "The table can't be read (%(problem)s). Export it again as CSV with a header row."
    ),
    "jsonl_broken": gettext_noop(
        "Line %(line)s is no JSON object. Write one object a line, then upload the file again."
    ),
    "zip_bomb": gettext_noop(
        "The file unpacks to far more than its size (%(entries)s parts, %(megabytes)s MB), which is "
        "not allowed. Save the document anew without embedded files and upload that."
    ),
    "zip_paths": gettext_noop(
        "The Office file holds parts with forbidden names or links. Save it anew and upload that."
    ),
    "macros": gettext_noop(
        "The Office file holds macros, which are not taken. Save it without macros and upload that."
    ),
    "external": gettext_noop(
        "The Office file loads parts from elsewhere (%(kind)s), which is not allowed. Embed or remove "
        "them and upload it again."
    ),
    "doctype": gettext_noop(
        "The file declares XML entities (a DTD), which is not allowed. Save the document anew and upload that."
    ),
    "too_many_pages": gettext_noop(
        "The document has %(pages)s pages; at most %(limit)s are taken. Split it and upload the parts."
    ),
    "too_much_text": gettext_noop(
        "The document holds more text than can be taken (%(limit)s characters). Split it and upload the parts."
    ),
    "timeout": gettext_noop(
        "Reading took longer than %(seconds)s seconds and was stopped. Split the document or save it "
        "in a simpler form."
    ),
    "memory": gettext_noop(
        "Reading needed more memory than allowed and was stopped. Split the document or save it in a "
        "simpler form."
    ),
    "crashed": gettext_noop(
        "The file made its reader stop unexpectedly. Save the document anew or in another format and "
        "upload that."
    ),
    # Notes: the document is read, but the reader should know.
    "hidden_text": gettext_noop(
        "Text that is hidden from the eye was left out (%(characters)s characters)."
    ),
    "invisible_characters": gettext_noop(
        "Invisible characters were removed (%(characters)s of them)."
    ),
    "encoding": gettext_noop("The text was read as %(encoding)s."),
    "recognised_pages": gettext_noop(
        "The text of these pages was recognised in pictures and may hold errors: %(pages)s."
    ),
    "hidden_sheets": gettext_noop("Hidden sheets were left out: %(names)s."),
    "hidden_slides": gettext_noop("Hidden slides were left out: %(pages)s."),
    "attachments": gettext_noop(
        "Attachments are not read: %(names)s. Upload them as documents of their own."
    ),
    "unreadable_pages": gettext_noop("Pages without readable text: %(pages)s."),
}


def sentence(code: str, values: Mapping[str, Any]) -> Sentence:
    """Raises `KeyError` for an unknown code."""
    return Sentence(_SENTENCES[code], values)
