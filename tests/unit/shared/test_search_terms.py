"""What a text is found by, and what is marked in it."""

import pytest

from shared.search.documents import owner_term, week_of, worded
from shared.search.finding import NEWEST
from shared.search.highlights import highlight, snippet
from shared.search.terms import TERMS_MAX, asked, counted, fold

FILE = "Viewer crashes on invoice_2024.pdf, copied to /srv/share/Reports/invoice_2024.pdf"
HOST = "db-3.prod.example.org (10.0.12.7) does not answer on :5432"
LOOP = "Login/logout loop on https://portal.example.org/account/login?next=%2Fhome"
CODE = "Patch KB5034441 fails with 0x80070643, ORA-12514 and java.lang.OutOfMemoryError"
WIDE = "ＶＰＮ无法连接，错误８０９"
JAM = "打印机卡纸"


def is_found(text: str, query: str) -> bool:
    """Whether all that is asked for is among what the text is found by."""
    wanted = asked(query).all
    return bool(wanted) and set(wanted) <= set(counted(fold(text)))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        *((FILE, query) for query in ("viewer", "invoice", "invoices", "pdf", "2024", "reports")),
        *((FILE, query) for query in ("invoice_2024", "2024.pdf", "/srv/share", "share reports")),
        *((HOST, query) for query in ("db", "db-3", "db3", "prod", "example.org", "EXAMPLE")),
        *((HOST, query) for query in ("10.0.12.7", "10.0.12", "5432", ":5432", "prod.example")),
        *((LOOP, query) for query in ("login", "logout", "portal")),
        *((LOOP, query) for query in ("account/login", "https://portal.example.org", "next")),
        *((CODE, query) for query in ("KB5034441", "kb5034441", "5034441", "0x80070643")),
        *((CODE, query) for query in ("80070643", "ora-12514", "12514", "outofmemoryerror")),
        *((CODE, query) for query in ("OutOfMemoryError", "memory error", "java.lang", "lang")),
        *(
            (WIDE, query)
            for query in ("VPN", "vpn", "809", "连接", "无法连接", "错", "ＶＰＮ ８０９")
        ),
        *((JAM, query) for query in ("打印机", "卡纸", "卡", "机", "打印机 卡纸", "打印机卡纸")),
        ("front.desk@example.org cannot sign in", "front.desk"),
        ("front.desk@example.org cannot sign in", "desk@example.org"),
        ("Disk filled by /var/log/syslog", "log"),
        ("Mail is down again", "is down"),
        ("Mail is down again", "is"),
        ("Wi-Fi and e-mail are gone", "wifi email"),
        ("wifi and email are gone", "Wi-Fi e-mail"),
        ("Version v2.3.1 fails", "2.3.1"),
        ("Version v2.3.1 fails", "v2.3"),
        ("The printers' trays", "printer tray"),
        ("the user's password doesn't work", "users doesnt"),
        ("Ångström café naïve Łódź", "angstrom cafe naive lodz"),
        ("cafe\u0301", "café"),
        ("Straße gesperrt", "STRASSE"),
        ("ﬁle not found", "file"),
        ("C++ and C# builds, .NET", "c++"),
        ("C++ and C# builds, .NET", "net c#"),
        ("it burns 🔥", "🔥"),
        ("ｶﾞｲﾄﾞ が必要", "ガイド"),
        ("ネットワーク", "ネット"),
        ("네트워크 오류", "네트"),
        ("हिन्दी में", "हिन्दी"),
        ("รหัสผ่านหมดอายุ", "รหัสผ่าน"),
        ("номер ٣٤", "34"),
        ("远程桌面(RDP)登录失败", "RDP登录"),
    ],
)
def test_everything_that_stands_in_a_text_finds_it(text: str, query: str) -> None:
    assert is_found(text, query), (asked(query), sorted(counted(fold(text))))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        (JAM, "纸卡"),
        (JAM, "印表机"),
        (HOST, "10.0.7.12"),
        (HOST, "db-4"),
        (CODE, "KB5034442"),
        ("print server", "printserver"),
        (FILE, "invoice 2025"),
    ],
)
def test_what_does_not_stand_there_does_not_find_it(text: str, query: str) -> None:
    assert not is_found(text, query)


@pytest.mark.parametrize("query", ["???", "  ", "…", "-", "\u200b"])
def test_a_query_without_a_word_asks_for_nothing(query: str) -> None:
    assert asked(query).all == ()


def test_common_words_count_only_where_there_are_no_others() -> None:
    assert asked("how do I reset my password").all == ("reset", "password")
    assert asked("who is it").all == ("who", "is", "it")


def test_a_query_has_an_end() -> None:
    found = asked(" ".join(f"word{number}" for number in range(200)))
    assert {len(found.all), len(found.any), len(found.literal)} <= {0, TERMS_MAX}


def test_a_text_of_nothing_but_long_words_is_cut_to_what_the_database_takes() -> None:
    body = " ".join(f"{number:06d}{'漢' * 50}{number}-{'y' * 100}" for number in range(600))
    assert len(worded("Title", body).words.encode()) < 1_000_000
    huge = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(65_536))
    assert len(worded("Title", huge).words.encode()) < 1_000_000


def test_the_form_of_terms_is_that_of_their_fold_version() -> None:
    """Whoever changes this changes what is written: raise the folds of intake and knowledge."""
    assert worded("DB-3 prints", "prints 卡纸 v2.1, prints, prints").words == (
        "~3:1A ~db:1A ~db3:1A ~print:1A ~prints:1A ~卡:1 ~卡纸:1 ~纸:1 ~v2:1 ~v:1 ~2:1 ~1:1 ~2.1:1"
    )
    assert owner_term("o'neil\\x") == "'~@o''neil\\\\x'"
    assert week_of(NEWEST[0]) > 400_000


def test_marks_are_places_in_the_text_as_it_was_written() -> None:
    found = highlight(
        "title", "Straße: ＶＰＮ (print_server) ﬁle 打印机", asked("server vpn file 印机")
    )
    assert found is not None
    assert [found.text[first:after] for first, after in found.marks] == [
        "ＶＰＮ",
        "server",
        "ﬁle",
        "印机",
    ]
    assert highlight("title", "nothing here", asked("printer")) is None


def test_a_long_text_is_shown_where_the_words_are() -> None:
    text = "x " * 200 + "renew the certificates " + "y " * 200
    assert "certificates" in snippet(text, asked("Certificate"))
    assert "打印机" in snippet("前" * 300 + "打印机卡纸", asked("打印机"))
    found = highlight("text", text, asked("certificate"))
    assert found is not None
    assert [found.text[first:after] for first, after in found.marks] == ["certificates"]
    assert len(found.text) == 160
