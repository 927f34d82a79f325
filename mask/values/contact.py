"""Phone numbers, dates of birth, and (where the policy asks for them) IP addresses.

A phone number counts written internationally (`+`, a country code that is given out, 7 to 15 digits in all), with
its area in brackets, or near a word that says so; a date counts near a word that says birth. Sources: ITU-T E.164
and its list of assigned country codes; ISO 8601 and CLDR for forms of dates; RFC 791, RFC 4291.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from mask.kinds import Detector, Family, Finding, Kind, compiled
from mask.normal import View
from mask.values.near import VALUE, windows

# --- phone numbers ----------------------------------------------------------------

_GIVEN_OUT = """
    1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84
    86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237
    238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267
    268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 379 380 381
    382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599
    670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 855 856 870
    878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993 994 995
    996 998
"""
_CODES = frozenset(_GIVEN_OUT.split())
_LINK = rb"(?:\(0\)|[-./() ]){0,3}+"
_EXTENSION = rb"(?:[ ,;]{0,2}+(?:x|#|[Ee]xt\.?)[ ]?[0-9]{1,6}+)?+"
_NUMBER = rb"[0-9](?:" + _LINK + rb"[0-9]){%d,14}+"
_INTERNATIONAL = re.compile(
    rb"\+(?<![0-9A-Za-z\x80\x82+].)" + _LINK + rb"(" + _NUMBER % 6 + rb")(?![0-9])" + _EXTENSION, re.DOTALL
)
_BRACKETS = re.compile(
    rb"\((?<![0-9A-Za-z\x80\x82].)[2-9][0-9]{2}\)[ ]?[2-9][0-9]{2}[-. ][0-9]{4}(?![0-9])" + _EXTENSION, re.DOTALL
)
_LOCAL = re.compile(rb"(?<![0-9A-Za-z\x80\x82.])(?<![0-9]:)(?:\+|00)?\(?" + _NUMBER % 5 + rb"(?![0-9])" + _EXTENSION)
_DATE = re.compile(rb"(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]")
_SAYS_PHONE = (
    rb"(?i)(?:phone|telefono?n?|telephon|mobile|mobil|movil|cell|fax|handy|whatsapp|sms|celular|portable|"
    rb"\btel\b|\bcall (?:me|us|back)\b|\bcall(?:ing|ed)? (?:at|on)\b|\bring me\b|\btext me\b|hotline|number is|"
    rb"\b(?:can|please|to|or) (?:call|dial|ring)\b|\banswer(?:s|ed|ing)? (?:at|on)\b)"
)
_PHONE_WORDS = compiled(_SAYS_PHONE)
_BEHIND_PHONE = rb"(?i)[0-9] ?[-(]? ?(?:office|fax|mobile|cell|home|direct|phone|work)\b *(?:[\t\r\n,;)<|\\\"']|$)"
_LABELS = compiled(_BEHIND_PHONE)
_LONGEST_PHONE = 48


def _code_given_out(digits: bytes) -> bool:
    text = digits.decode()
    return text[:1] in _CODES or text[:2] in _CODES or text[:3] in _CODES


def find_phone(view: View) -> Iterator[Finding]:
    data = view.data
    for match in _INTERNATIONAL.finditer(data):
        digits = match[1].translate(None, _NO_DIGITS)
        if len(digits) <= 15 and _code_given_out(digits):
            yield Finding(*match.span(), Kind.PHONE, match[0].decode("latin-1"))
    for match in _BRACKETS.finditer(data):
        yield Finding(*match.span(), Kind.PHONE, match[0].decode("latin-1"))


def find_named_phone(view: View) -> Iterator[Finding]:
    for start, end in windows(view.data, _PHONE_WORDS, 0, 40, VALUE):
        for match in _LOCAL.finditer(view.data, start, min(end + 24, len(view.data))):
            if match.start() < end and not _DATE.match(match[0]):
                yield Finding(*match.span(), Kind.PHONE, match[0].decode("latin-1"))
    for label in _LABELS.finditer(view.data):  # as in a signature: `030 901820 office`
        last = label.start() + 1
        for match in _LOCAL.finditer(view.data, max(0, last - _LONGEST_PHONE), last):
            if match.end() == last and not _DATE.match(match[0]):
                yield Finding(*match.span(), Kind.PHONE, match[0].decode("latin-1"))


_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))

# --- dates of birth -----------------------------------------------------------------

_MONTH = rb"(?i:jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[A-Za-z\x80]{0,7}+\.?"
_ANY_DATE = re.compile(
    rb"(?<![0-9A-Za-z])(?:[0-9]{1,4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,4}"
    rb"|[0-9]{1,2}(?:st|nd|rd|th|\.)?[- ]" + _MONTH + rb"[-, ]{1,2}[0-9]{2,4}"
    rb"|" + _MONTH + rb"[- ][0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}|(?:19|20)[0-9]{6})(?![0-9A-Za-z])"
)
_SAYS_BIRTH = (
    rb"(?i)\bdob\b|\bd\.o\.b|birth|\bborn\b|geboren|geburt|\bnee? le\b|naissance|nacimiento|\bnacid[oa]\b|nascita|"
    rb"\bnato\b|nascimento|geboorte|fodelse|fodt|urodzeni|syntyma"
)
_BIRTH_WORDS = compiled(_SAYS_BIRTH)


def find_birth_date(view: View) -> Iterator[Finding]:
    for start, end in windows(view.data, _BIRTH_WORDS, 0, 40, VALUE):
        for match in _ANY_DATE.finditer(view.data, start, end):
            yield Finding(*match.span(), Kind.BIRTH_DATE, match[0].decode("latin-1"))


# --- IP addresses --------------------------------------------------------------------

_IPV4 = re.compile(rb"[0-9](?<![0-9A-Za-z.].)[0-9]{0,2}+(?:\.[0-9]{1,3}+){3}(?![0-9A-Za-z]|\.[0-9])", re.DOTALL)
_IPV6 = re.compile(rb"[0-9A-Fa-f:](?<![0-9A-Za-z:.].)[0-9A-Fa-f:.]{2,44}+(?![0-9A-Za-z])", re.DOTALL)


def find_ip(view: View) -> Iterator[Finding]:
    for form in (_IPV4, _IPV6):
        for match in form.finditer(view.data):
            text = match[0].decode().rstrip(".")
            try:
                ipaddress.ip_address(text)
            except ValueError:
                continue
            yield Finding(match.start(), match.start() + len(text), Kind.IP, text)


DETECTORS = (
    Detector(
        "phone",
        (rb"\+(?:[-./() ]{0,3}[0-9]){7}", rb"\([2-9][0-9]{2}\)[ ]?[2-9][0-9]{2}[-. ][0-9]{4}"),
        find_phone,
        "ITU-T E.164; NANP numbering plan for an area code in brackets",
        (
            "call «+49 30 901820»",
            "«+1-218-640-1107x12»",
            "«+442079460958».",
            "(«+33 (0)1 23 45 67 89»)",
            "«(218) 640-1107»",
        ),
        ("+0530", "x+12345678", "+1 2", "+999 12345678", "(555) 12", "2024-05-01 10:22:33+00:00", "1+1234567890"),
        family=Family.DIGITS,
    ),
    Detector(
        "phone_named",
        (_SAYS_PHONE, _BEHIND_PHONE),
        find_named_phone,
        "ITU-T E.164: 6 to 15 digits",
        (
            "phone: «0171 2345678»",
            '{"phone": "«218-640-1107»"}',
            "Tel. «030/901820»",
            "call me at «555.123.4567 ext. 9»",
            "please call «030/901820»",
            "«030 901820» office, Bonn",
            "«(0117) 4960997»-Fax, Leeds",
        ),
        (
            "phone 12345",
            "mobile since 2024-05-01",
            "headphones 2 x 199",
            '{"note": "a cell.", "at": "10:31:21.941160"}',
            "cell B7",
            "phone: none",
            "1234567 mobile users",
            "2024-05-01 office",
            "to call 12 of 40 functions",
        ),
        family=Family.WORDS,
    ),
    Detector(
        "birth_date",
        (_SAYS_BIRTH,),
        find_birth_date,
        "ISO 8601, CLDR short and long dates, near a word of birth",
        ("DOB: «1980-02-03»", "born on «3 March 1980»", "geboren am «03.02.1980»", "date of birth «February 3, 1980»"),
        ("created 1980-02-03", '{"note": "born.", "at": "1980-02-03"}', "born ready", "birthplace Rome 12"),
        family=Family.WORDS,
    ),
)
IP_ADDRESS = Detector(
    "ip_address",
    (rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", rb"(?:[0-9A-Fa-f]{1,4}:){2}|::[0-9A-Fa-f]"),
    find_ip,
    "RFC 791, RFC 4291; off unless the policy asks for it",
    ("from «192.168.0.1»:5432", "«2001:db8::1»", "[«::1»]:80", "«fe80::1ff:fe23:4567:890a»%eth0"),
    ("1.2.3", "v1.2.3.4.5", "256.1.1.1", "12:34:56", "a::b::c"),
    family=Family.DIGITS,
)
