"""The words of a search, as they come in a query parameter."""

from shared.errors import InvalidInputError
from shared.search.terms import SearchTerms, asked


def asked_for(query: str) -> SearchTerms:
    """Return what is looked for. Raises: InvalidInputError naming `q` where there is nothing."""
    found = asked(query)
    if not found.all:
        raise InvalidInputError("There is no word, number or sign in it to look for.", field="q")
    return found
