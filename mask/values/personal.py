"""Numbers and addresses of people: US social security numbers, e-mail addresses, IBANs.

An SSN counts when it is written as one (3-2-4, both separators alike), or as any nine digits near a word
that says so. Sources: SSA, "Social Security Number Randomization" (areas 000, 666 and 900-999, group 00
and serial 0000 are not given out) and IRS, ITIN groups; the IBAN registry of ISO 13616 (length by country,
remainder 1 of 97, ISO 7064); RFC 5321 for the bounds of addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mask.kinds import Detector, Family, Finding, Kind, compiled
from mask.normal import View
from mask.values.card import in_digest
from mask.values.near import windows

# --- social security numbers ----------------------------------------------------

_WRITTEN = re.compile(
    rb"([0-9](?<![0-9].)[0-9]{2})([^0-9A-Za-z,:;|\x80\x82]{1,3}+)([0-9]{2})\2([0-9]{4})(?![0-9])", re.DOTALL
)
_NEXT_NUMBER = re.compile(rb"\s{1,9}+[0-9]")
_NINE = re.compile(rb"[0-9](?<![0-9]{2})(?:[^%0-9A-Za-z\x80\x82]{0,3}+[0-9]){8}(?![0-9])")
_CLOCK = re.compile(rb"[0-2][0-9]:[0-5][0-9]:[0-5][0-9][.,]")
_SAYS = rb"(?i)ssn|ss#|social[^0-9a-z]{0,2}sec|tax[^0-9a-z]{0,2}(?:id|payer)|itin"
_SAYS_SSN = re.compile(
    rb"[SsTtIi](?:(?<=[Ss])(?:[Ss][Nn#]|[Oo][Cc][Ii][Aa][Ll][^0-9A-Za-z]{0,2}+[Ss][Ee][Cc])"
    rb"|(?<=[Tt])[Aa][Xx][^0-9A-Za-z]{0,2}+(?:[Ii][Dd]|[Pp][Aa][Yy][Ee][Rr])|(?<=[Ii])[Tt][Ii][Nn])"
)
_BEFORE, _AFTER = 32, 48  # characters around such a word
_ITIN_GROUPS = frozenset((*range(50, 66), *range(70, 89), 90, 91, 92, *range(94, 100)))

SSN_FILTER = rb"(?:^|[^0-9])[0-9]{3}[^0-9A-Za-z,:;|\x80\x82]{1,3}[0-9]{2}[^0-9A-Za-z,:;|\x80\x82]{1,3}[0-9]{4}"


def given_out(area: int, group: int, serial: int) -> bool:
    """Whether these may be the three parts of an SSN or an ITIN."""
    if area == 666 or not (area and group and serial):
        return False
    return area < 900 or group in _ITIN_GROUPS


def find_ssn(view: View) -> Iterator[Finding]:
    data = view.data
    for match in _WRITTEN.finditer(data):
        area, gap, group, serial = match.groups()
        start, end = match.span()
        if gap.isspace() and data[max(0, start - 9) : start].rstrip()[-1:].isdigit() and _NEXT_NUMBER.match(data, end):
            continue  # one of many numbers in a row
        if given_out(int(area), int(group), int(serial)):
            yield Finding(*match.span(), Kind.SSN, (area + group + serial).decode())


def find_named_ssn(view: View) -> Iterator[Finding]:
    data = view.data
    for start, end in windows(data, _SAYS_SSN, _BEFORE, _AFTER):
        for match in _NINE.finditer(data, start, end):
            if _CLOCK.match(match[0]):
                continue
            yield Finding(*match.span(), Kind.SSN, match[0].decode("latin-1"))


# --- e-mail addresses -------------------------------------------------------------

_LOCAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-'!#$*^~\x80"
_DOMAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-\x80"
_LONGEST_LOCAL, _LONGEST_DOMAIN = 320, 255

_MASKED = re.compile(rb"(?:withheld:[0-9]{1,9}|tok:[a-z_]{1,20}):\Z")
_LONGEST_MARK = 32
EMAIL_FILTERS = (rb"[A-Za-z0-9._+'!#$*^~\x80-]@[A-Za-z0-9\x80-]+\.[A-Za-z0-9\x80.-]*[A-Za-z\x80]",)


def find_email(view: View) -> Iterator[Finding]:
    data, at, done = view.data, view.data.find(b"@"), 0
    while at >= 0:
        left = data[max(done, at - _LONGEST_LOCAL) : at]
        right = data[at + 1 : at + 1 + _LONGEST_DOMAIN]
        local = left[len(left.rstrip(_LOCAL)) :].lstrip(b".+-'!#$*^~")
        domain = right[: len(right) - len(right.lstrip(_DOMAIN))].rstrip(b".-")
        if local and is_domain(domain):
            start, done = at - len(local), at + 1 + len(domain)
            if data[start - 1 : start] == b":" and _MASKED.search(data, max(0, start - _LONGEST_MARK), start):
                at = data.find(b"@", at + 1)  # what is left of `bob:secret@db.example.com`
                continue
            yield Finding(start, done, Kind.EMAIL, view.text[start:done])
        at = data.find(b"@", at + 1)


def is_domain(domain: bytes) -> bool:
    """A name of two labels or more, one of which, behind the first, begins with two letters."""
    labels = domain.split(b".")
    return bool(labels[0]) and any(len(each) > 1 and not _NOT_LETTERS.match(each) for each in labels[1:])


_NOT_LETTERS = re.compile(rb"[^A-Za-z\x80]|.[^A-Za-z\x80]", re.DOTALL)

# --- IBANs --------------------------------------------------------------------------

_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ XK LT LU MN",
        21: "HR LV LI CH", 22: "BH BG CR GE DE IE ME RS GB VA", 23: "TL GI IQ IL OM SO AE",
        24: "AD CZ MD PK RO SA SK ES SE TN VG", 25: "PT LY ST", 26: "IS TR", 27: "FR GR IT MR MC SM BI DJ",
        28: "AL AZ BY CY DO SV GT HU LB NI PL", 29: "BR EG PS QA UA", 30: "JO KW YE MU", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_GAP = rb"[^0-9A-Za-z\x80\x82\"':=,;<>]{0,3}"
_COUNTRIES = "|".join(sorted(_LENGTHS)).encode()
_IBAN_START = rb"(?i)(?:^|[^a-z0-9]|iban)(?:" + _COUNTRIES + rb")(?:" + _GAP + rb"[0-9]){2}"
_STARTS = compiled(_IBAN_START)
_CODE = re.compile(rb"[A-Za-z]{2}" + _GAP + rb"+[0-9]")
_WHOLE = {
    length: re.compile(rb"[A-Za-z]{2}(?:" + _GAP + rb"+[0-9A-Za-z]){%d}" % (length - 2)) for length in _LENGTHS.values()
}
_NOT_WRITTEN = bytes(set(range(256)) - set(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
_AS_NUMBERS = {ord("A") + n: str(10 + n) for n in range(26)}

IBAN_FILTERS = (_IBAN_START + rb"(?:" + _GAP + rb"[a-z0-9]){11}",)


def find_iban(view: View) -> Iterator[Finding]:
    data = view.data
    for match in _STARTS.finditer(data):
        code = _CODE.search(data, *match.span())
        whole = code and _WHOLE[_LENGTHS[code[0][:2].decode().upper()]].match(data, code.start())
        if whole:
            letters = whole[0].translate(None, _NOT_WRITTEN).decode().upper()
            if is_iban(letters) and not in_digest(data, *whole.span()):
                yield Finding(*whole.span(), Kind.IBAN, letters)


def is_iban(letters: str) -> bool:
    """Length by country and ISO 7064 MOD 97-10. Upper case, no separators."""
    if len(letters) < 15 or len(letters) != _LENGTHS.get(letters[:2]) or not letters.isalnum():
        return False
    return int((letters[4:] + letters[:4]).translate(_AS_NUMBERS)) % 97 == 1


DETECTORS = (
    Detector(
        "ssn",
        (SSN_FILTER,),
        find_ssn,
        'SSA, "Social Security Number Randomization"; IRS, ITIN groups',
        ("«536-90-4399»", "is «536 90 4399».", "(«536.90.4399»)", "«536\u201190\u20114399»", "«912-70-1234»"),
        ("536904399", "000-12-3456", "666-12-3456", "900-12-3456", "536-00-4399", "536-90-0000", "536-90.4399",
         "1536-90-4399", "2024-05-01", "17 536 90 4399 12"),
        family=Family.DIGITS,
    ),
    Detector(
        "ssn_named",
        (_SAYS,),
        find_named_ssn,
        "SSA; nine digits near a word that says so",
        ("ssn «536904399»", "SSN: «536-904399»", "social security no. is «536904399»", "tax id «536904399»"),
        ("session 536904399", "10:22:33.286 SSN on file", "ssn 53690439", "ssn 5369043991"),
        family=Family.WORDS,
    ),
    Detector(
        "email",
        EMAIL_FILTERS,
        find_email,
        "RFC 5321, section 4.5.3.1; RFC 6531 and 5890 for other scripts",
        ("«bob@example.com»", "<«bob.smith+x@mail.example.co.uk»>", "user=«bob%40example.com»&x=1",
         "«björn@exämple.se»", "«bob@xn--exmple-cua.se»", "«a@b.co»,«c@d.co»"),
        ("@bob", "bob@localhost", "a @ b.com", "1@2.3", "v1@1.2.3", "user@10.0.0.1"),
    ),
    Detector(
        "iban",
        IBAN_FILTERS,
        find_iban,
        "ISO 13616 registry (length by country), ISO 7064 MOD 97-10",
        ("«GB82 WEST 1234 5698 7654 32»", "«DE89370400440532013000»", "iban«NL91ABNA0417164300»"),
        ("GB83 WEST 1234 5698 7654 32", "XX82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698",
         '"order_no": 8214564987, 200651'),
    ),
)  # fmt: skip
