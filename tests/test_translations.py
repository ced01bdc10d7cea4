"""Each text of the package has its German and Turkish words, and those fit it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation
from django.utils.translation.template import templatize

import bronto_orders

PACKAGE = Path(bronto_orders.__file__).parent
LANGUAGES = ["de", "tr"]
#: What each function's leading arguments are.
PARTS = {
    "gettext": ["text"],
    "gettext_lazy": ["text"],
    "gettext_noop": ["text"],
    "ngettext": ["text", "plural"],
    "ngettext_lazy": ["text", "plural"],
    "npgettext": ["context", "text", "plural"],
    "npgettext_lazy": ["context", "text", "plural"],
    "pgettext": ["context", "text"],
    "pgettext_lazy": ["context", "text"],
}
#: Called with what is marked by ``gettext_noop`` elsewhere.
INDIRECT = {"delivery/policy.py": 1}

Message = tuple[str, str, str]  # context, text, plural


def sources(pattern: str) -> list[Path]:
    """Return the package's files that speak to people. The sandbox speaks English, as the service does."""
    return [path for path in sorted(PACKAGE.rglob(pattern)) if "sandbox" not in path.relative_to(PACKAGE).parts]


def message(function: str, arguments: list[str]) -> Message:
    found = dict(zip(PARTS[function], arguments, strict=False))
    return found.get("context", ""), found["text"], found.get("plural", "")


def in_python(path: Path) -> Iterator[Message | None]:
    """Yield what a module translates; None for what is not written where it is translated."""
    tree = ast.parse(path.read_text())
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        function = names.get(called, called)
        if function in PARTS:
            arguments = node.args[: len(PARTS[function])]
            texts = [one.value for one in arguments if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            yield message(function, texts) if len(texts) == len(PARTS[function]) else None


QUOTED = r"""u?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
CALL = re.compile(rf"(?<!\w)(_|gettext|ngettext|pgettext|npgettext)\(({QUOTED}(?:,\s*{QUOTED})*)", re.DOTALL)


def in_template(path: Path) -> Iterator[Message]:
    for name, quoted in CALL.findall(templatize(path.read_text(), origin=str(path))):
        yield message("gettext" if name == "_" else name, list(ast.literal_eval(f"[{quoted}]")))


def in_sources() -> set[Message]:
    found: set[Message] = set()
    for path in sources("*.py"):
        found.update(one for one in in_python(path) if one)
    for path in sources("*.html"):
        found.update(in_template(path))
    return found


def catalogue(language: str, suffix: str = "po") -> polib.POFile | polib.MOFile:
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / f"django.{suffix}"
    return polib.pofile(str(path)) if suffix == "po" else polib.mofile(str(path))


def words(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[a-z]|%%|\{\w*\}|</?\w+>", text))


def test_the_sources_are_read():
    found = in_sources()
    assert len(found) > 600
    assert found >= {
        ("", "rejected", ""),  # a choice of a model
        ("", "Being sent to Bronto right now. Nothing to do.", ""),
        ("", "%(count)s minute", "%(count)s minutes"),
        ("", "What answers at API_URL does not speak Bronto's Orders API (%(words)s); the account waits.", ""),
        ("", "Resync these differences", ""),  # of a template
        ("", "Send %(total)s order", "Send %(total)s orders"),
        ("", "new:", ""),  # in a line with others
        ("the account", "sending", ""),
    }


def test_texts_are_written_where_they_are_translated():
    indirect = {
        str(path.relative_to(PACKAGE)): count
        for path in sources("*.py")
        if (count := sum(found is None for found in in_python(path)))
    }
    assert indirect == INDIRECT


@pytest.mark.parametrize("language", LANGUAGES)
class TestCatalogue:
    def test_has_the_texts_of_the_sources_and_no_others(self, language):
        entries = [entry for entry in catalogue(language) if not entry.obsolete]
        known = {(entry.msgctxt or "", entry.msgid, entry.msgid_plural or "") for entry in entries}
        texts = in_sources()
        assert texts - known == set(), "run: make messages"
        assert known - texts == set(), "run: make messages"
        assert catalogue(language).obsolete_entries() == []

    def test_is_complete(self, language):
        lacking = [entry.msgid for entry in catalogue(language) if not all(words(entry)) or entry.fuzzy]
        assert lacking == []

    def test_each_text_has_all_plural_forms(self, language):
        forms = int(re.search(r"nplurals=(\d+)", catalogue(language).metadata["Plural-Forms"])[1])
        plurals = [entry for entry in catalogue(language) if entry.msgid_plural]
        assert plurals
        assert [entry.msgid for entry in plurals if sorted(entry.msgstr_plural) != list(range(forms))] == []

    def test_keeps_placeholders_and_tags(self, language):
        wrong = [
            (entry.msgid, text)
            for entry in catalogue(language)
            for text in words(entry)
            if placeholders(text) != placeholders(entry.msgid)
        ]
        assert wrong == []

    def test_keeps_the_ends_of_sentences(self, language):
        def ends(text: str) -> tuple[str, bool, bool]:
            return text[-1] if text[-1] in ".:?" else "", text[0].isspace(), text[-1].isspace()

        abbreviations = {"%(quantity)s pcs."}
        wrong = [
            (entry.msgid, text)
            for entry in catalogue(language)
            for text in words(entry)
            if ends(text) != ends(entry.msgid) and entry.msgid not in abbreviations
        ]
        assert wrong == []

    def test_is_compiled(self, language):
        def all_words(suffix: str) -> dict[tuple[str, str], list[str]]:
            return {(entry.msgctxt or "", entry.msgid): words(entry) for entry in catalogue(language, suffix)}

        assert all_words("mo") == all_words("po"), "run: make messages"
        assert catalogue(language, "mo").metadata["Plural-Forms"] == catalogue(language).metadata["Plural-Forms"]

    def test_is_what_django_speaks(self, language):
        assert settings.USE_I18N
        entry = catalogue(language).find("Being sent to Bronto right now. Nothing to do.")
        with translation.override(language):
            assert translation.gettext(entry.msgid) == entry.msgstr != entry.msgid
