"""Who is who: mail addresses in any case, everything else exactly."""

import pytest

from shared.people import person


@pytest.mark.parametrize("name", ["Pat@Example.org", "pat@example.org", "PAT@EXAMPLE.ORG"])
def test_a_mail_address_is_the_same_person_in_any_case(name: str) -> None:
    assert person(name) == "pat@example.org"


@pytest.mark.parametrize("name", ["Ann", "ANN", "A@b@c", "Ann @home", "@Ann", "S-1-5-21-Ab"])
def test_an_opaque_id_is_exact(name: str) -> None:
    assert person(name) == name
