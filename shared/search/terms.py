"""What a text is found by: the same cut for what is written and for what is asked.

Widths, accents and case are folded. Words are what stands between separators; what separators
join, such as a host, a path or a version, is found by each part and by parts that follow one
another. Words of letters and digits, or of several humps, are found by these as well. English
words are stemmed. Runs of scripts without spaces are found by each character and by each pair.
Source: n-gram indexing, as search engines do for CJK text; Unicode NFKC and case folding.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import zip_longest
from typing import Final, NamedTuple, cast

from snowballstemmer.english_stemmer import EnglishStemmer

TERMS_MAX: Final = 32
"""Of a query; what comes after is not looked for."""
COMMON: Final = frozenset(
    """
    a an and are as at be been but by do does for from had has have how i if in into is it its me
    my of on or our so than that the their them then there these they this those to us was we were
    what when where which who why will with you your
    """.split()  # noqa: SIM905 to be read
)
_TERM_LENGTH_MAX: Final = 64
_ATOMS_MAX: Final = 4
_STEM_LENGTH_MIN: Final = 3
_ACCENTS: Final = frozenset(map(chr, (*range(0x300, 0x370), 0x3099, 0x309A)))
"""Of Latin, Greek and Cyrillic letters, and of kana, whose narrow forms have them apart."""
_ALIKE: Final = str.maketrans(
    {"ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ð": "d", "Ð": "D", "þ": "th"}
    | {"Þ": "Th", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ı": "i"}
)
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_SIGNS: Final = "\u2190-\u2bff\U0001f000-\U0001faff"
_MARKED: Final = "\u0900-\u0dff"  # Indic: a vowel sign is part of the word
_WORD: Final = rf"[A-Za-z](?:\+\+|#)|(?:[^\W_{_UNSPACED}{_SIGNS}]|[{_MARKED}])+"
_PIECE: Final = re.compile(rf"(?P<run>[{_UNSPACED}]+)|(?P<sign>[{_SIGNS}])|(?P<word>{_WORD})")
_JOINT: Final = re.compile(r"[._\-/\\@:'’+&=~#%?]{1,3}")
_ATOM: Final = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\dA-Za-z+#]+")
_STEM: Final = cast("Callable[[str], str]", EnglishStemmer().stemWord)  # pyright: ignore[reportUnknownMemberType] it has no types


class Term(NamedTuple):
    """Something that a text is found by, and where in the folded text it stands."""

    text: str
    start: int
    end: int


class TextPiece(NamedTuple):
    """A word, a run of characters or a sign of a folded text; `joined` to the piece before it."""

    kind: str
    text: str
    start: int
    joined: bool


class _Folding(dict[int, str]):
    """What each character is folded to, found out once."""

    def __missing__(self, code: int) -> str:
        """Fold a character. Its accents go; marks of scripts that need them stay."""
        digit = unicodedata.decimal(chr(code), None)
        wide = chr(code) if digit is None else str(digit)
        plain = unicodedata.normalize("NFKC", wide).translate(_ALIKE)
        apart = unicodedata.normalize("NFD", plain)
        folded = unicodedata.normalize("NFC", "".join(c for c in apart if c not in _ACCENTS))
        self[code] = folded
        return folded


_FOLDING: Final = _Folding()


def fold(text: str) -> str:
    """Return text without differences of width, accent or form; case stays, to see humps by."""
    return text.translate(_FOLDING)


def pieces(folded: str) -> Iterator[TextPiece]:
    """Yield what a folded text is made of."""
    end = -1
    for found in _PIECE.finditer(folded):
        kind = found.lastgroup or ""
        start = found.start()
        joined = kind == "word" and end >= 0 and _JOINT.fullmatch(folded, end, start) is not None
        yield TextPiece(kind, found[0], start, joined)
        end = found.end() if kind == "word" else -1


def terms(folded: str, wanted: frozenset[str] | None = None) -> Iterator[Term]:
    """Yield all that a folded text is found by; of words that are joined, the pair as well.

    With `wanted`, only such terms, without a look at the others.
    """
    last: Term | None = None
    for piece in pieces(folded):
        parts = _taken_apart(piece.kind, piece.text)
        if wanted is None or not wanted.isdisjoint(parts.texts):
            for term in parts.terms:
                if wanted is None or term.text in wanted:
                    yield _moved(term, piece.start)
        if last is not None and piece.joined:
            for term in _with_stem(_pair(last, _moved(parts.atoms[0], piece.start))):
                if wanted is None or term.text in wanted:
                    yield term
        last = _moved(parts.atoms[-1], piece.start) if parts.atoms else None


def counted(folded: str) -> Counter[str]:
    """Return how often a folded text has each of its terms."""
    found: Counter[str] = Counter()
    last: Term | None = None
    for kind, text, _, joined in pieces(folded):
        parts = _taken_apart(kind, text)
        found.update(parts.texts)
        if last is not None and joined:
            found.update(term.text for term in _with_stem(_pair(last, parts.atoms[0])))
        last = parts.atoms[-1] if parts.atoms else None
    return found


class SearchTerms(NamedTuple):
    """What somebody looks for.

    `all` are the terms that must all be there, `any` those of which one may do, `literal` the words
    as they were written, where that is not their stem.
    """

    all: tuple[str, ...]
    any: tuple[str, ...]
    literal: tuple[str, ...]

    @property
    def marked(self) -> frozenset[str]:
        """What is marked in a text that was found."""
        return frozenset((*self.all, *self.any, *self.literal))


def asked(query: str) -> SearchTerms:
    """Return what a query looks for; nothing at all only if it has neither a word nor a sign.

    Words that stand in every text, such as `is`, count only where there are no others.
    """
    found: dict[str, bool] = {}
    parts: dict[str, None] = {}
    literal: dict[str, None] = {}
    last: Term | None = None
    read = [*pieces(fold(query))]
    for piece, following in zip_longest(read, read[1:]):
        apart = _taken_apart(piece.kind, piece.text)
        if piece.kind != "word":
            last = None
            found |= dict.fromkeys(_pairs_of(apart.terms), True)
            continue
        whole = apart.terms[0].text
        if piece.joined and last is not None:
            found[stem_of(_pair(last, apart.atoms[0]).text[:_TERM_LENGTH_MAX])] = True
        is_joined = piece.joined or (following is not None and following.joined)
        if len(apart.atoms) > 1 or not is_joined:
            found[stem_of(whole)] = is_joined or whole not in COMMON
        atoms = [atom.text for atom in apart.atoms if len(atom.text) > 1]
        parts |= dict.fromkeys(stem_of(atom) for atom in atoms if atom not in COMMON)
        literal[whole] = None
        last = apart.atoms[-1]
    rare = [term for term, is_rare in found.items() if is_rare] or list(found)
    some = dict.fromkeys([*rare, *(term for term in parts if term not in found)])
    own = [word for word in literal if word not in found and word not in COMMON]
    return SearchTerms(tuple(rare[:TERMS_MAX]), tuple(some)[:TERMS_MAX], tuple(own[:TERMS_MAX]))


def _pairs_of(characters: tuple[Term, ...]) -> list[str]:
    pairs = [term.text for term in characters if len(term.text) > 1]
    return pairs or [term.text for term in characters]


def _moved(term: Term, by: int) -> Term:
    return Term(term.text, term.start + by, term.end + by)


class _Parts(NamedTuple):
    """What a piece is found by, counted from its start; `atoms` are its smallest parts."""

    terms: tuple[Term, ...]
    atoms: list[Term]
    texts: tuple[str, ...]


@lru_cache(maxsize=65_536)
def _taken_apart(kind: str, text: str) -> _Parts:
    if kind != "word":
        characters = tuple(_characters(text.casefold()))
        return _Parts(characters, [], tuple(term.text for term in characters))
    whole = Term(text.casefold(), 0, len(text))
    atoms = [Term(atom[0].casefold(), *atom.span()) for atom in _ATOM.finditer(text)]
    if len(atoms) > _ATOMS_MAX:
        atoms = [whole]
    found = [whole, *(atoms if atoms != [whole] else ()), *map(_pair, atoms, atoms[1:])]
    stemmed = tuple(stem for term in found for stem in _with_stem(term))
    return _Parts(stemmed, atoms, tuple(dict.fromkeys(term.text for term in stemmed)))


def _characters(text: str) -> Iterator[Term]:
    for place in range(len(text)):
        yield Term(text[place], place, place + 1)
        if place + 1 < len(text):
            yield Term(text[place : place + 2], place, place + 2)


def _pair(first: Term, second: Term) -> Term:
    """Return two that stand together as one: `db-3` is `db3`; numbers are kept apart, as `10.0`."""
    apart = "." if first.text[-1].isdigit() and second.text[0].isdigit() else ""
    return Term(first.text + apart + second.text, first.start, second.end)


def _with_stem(term: Term) -> Iterator[Term]:
    short = term.text[:_TERM_LENGTH_MAX]
    yield Term(short, term.start, term.end)
    if (stem := stem_of(short)) != short:
        yield Term(stem, term.start, term.end)


@lru_cache(maxsize=65_536)
def stem_of(word: str) -> str:
    """Return the stem of an English word, and anything else as it is."""
    if len(word) < _STEM_LENGTH_MIN or not (word.isascii() and word.isalpha()):
        return word
    return _STEM(word)
