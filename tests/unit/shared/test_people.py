"""Who is who: mail addresses in any case, everything else exactly."""

import pytest

from shared.people import person


@pytest.mark.parametrize("name", ["Pat@Example.org", "pat@example.org", "PAT@EXAMPLE.ORG"])
def test_a_mail_address_is_the_same_person_in_any_case(name: str) -> None:
    assert person(name) == "pat@example.org"


def test_no_other_letter_becomes_that_of_an_address() -> None:
    """A Kelvin sign is no k, and what is not ASCII is exact."""
    for name in ("\u212aim@x.org", "\u0130@x.org", "Ä@x.org"):
        assert person(name) == name


@pytest.mark.parametrize("name", ["Ann", "ANN", "A@b@c", "Ann @home", "@Ann", "S-1-5-21-Ab"])
def test_an_opaque_id_is_exact(name: str) -> None:
    assert person(name) == name
