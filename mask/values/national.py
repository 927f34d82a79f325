"""Numbers that a state gives a person, each by its own form and check digits.

`IDS` is the table. Where form and check digits say enough (`alone`: about one in a thousand other values that
look so passes, or fewer) a number counts wherever it stands; else only within reach of a word that says what it
is, its own (`pesel`) or a general one (`national id`). US numbers are in `personal`, bank's in `card`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mask.kinds import Detector, Family, Finding, Kind, compiled
from mask.normal import View
from mask.values import national_checks as checks
from mask.values.near import VALUE, windows


class Id(NamedTuple):
    """`form`: what it looks like. `words`: patterns of what says it, lower case, ASCII as a view has it. `wrong`: what
    looks like one and is none, nor another country's."""

    name: str
    form: bytes
    check: Callable[[str], bool]
    words: bytes
    example: str
    wrong: str
    alone: bool = False


_S = rb"[- ./]?"
_TEN = rb"[0-9]{10}"
_ELEVEN = rb"[0-9]{11}"

IDS = (
    Id("es_nie", rb"[XYZ]-?[0-9]{7}-?[A-Z]", checks.dni, b"nie", "X1234567L", "X1234567G", alone=True),
    Id("es_dni", rb"[0-9]{8}[- ]?[A-Z]", checks.dni, b"dni|nif", "54362315K", "54362315G"),
    Id("it_codice_fiscale", rb"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", checks.codice_fiscale,
       b"codice fiscale", "RCCMNL83S18D969H", "RCCMNL83S18D969G", alone=True),
    Id("fr_nir_spaced", rb"[12] [0-9]{2} [0-9]{2} (?:[0-9]{2}|2[AB]) [0-9]{3} [0-9]{3} [0-9]{2}", checks.nir, b"",
       "2 95 10 99 126 111 93", "2 95 10 99 126 111 90", alone=True),
    Id("fr_nir", rb"[12][0-9]{4}(?:[0-9]{2}|2[AB])[0-9]{8}", checks.nir, b"nir|insee|securite sociale",
       "295109912611193", "295109912611190"),
    Id("gb_nino", rb"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", checks.nino,
       b"national insurance|nino", "JG 10 37 59 A", "JG 10 37 59", alone=True),
    Id("gb_nino_named", rb"[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Z]", checks.by_form, b"national insurance|nino",
       "ZZ 10 37 59 T", "ZZ 10 37 59"),
    Id("gb_nhs", rb"[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{4}", checks.nhs, b"nhs", "943 476 5870", "943 476 5871"),
    Id("de_idnr", rb"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", checks.idnr,
       b"steuer|idnr|tin", "36 574 261 809", "36 574 261 803"),
    Id("pl_pesel", _ELEVEN, checks.pesel, b"pesel", "44051401359", "44051401351"),
    Id("nl_bsn", rb"[0-9]{9}|[0-9]{4}\.[0-9]{2}\.[0-9]{3}", checks.bsn,
       b"bsn|burgerservice|sofi", "111222333", "111222330"),
    Id("be_written", rb"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", checks.rijksregister, b"",
       "85.07.30-033.28", "85.07.30-033.20", alone=True),
    Id("be_rijksregister", rb"[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{2}", checks.rijksregister,
       b"rijksregister|registre national|insz|niss", "85073003328", "85073003320"),
    Id("se_written", rb"(?:19|20)?[0-9]{6}[-+][0-9]{4}", checks.personnummer, b"",
       "880320-0016", "880320-0011", alone=True),
    Id("se_personnummer", rb"(?:19|20)?[0-9]{10}", checks.personnummer, b"personnummer", "8803200016", "8803200012"),
    Id("fi_hetu", rb"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", checks.hetu, b"hetu|henkilotunnus",
       "131052-308T", "131052-308G", alone=True),
    Id("dk_cpr", rb"[0-9]{6}-?[0-9]{4}", checks.cpr, b"cpr|personnummer", "211062-5629", "211362-5629"),
    Id("no_fodselsnummer", rb"[0-9]{6} ?[0-9]{5}", checks.fodselsnummer, b"f.dselsnummer|fnr|personnummer",
       "151086 95088", "151086 95080"),
    Id("br_cpf_written", rb"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checks.cpf,
       b"", "390.533.447-05", "390.533.447-00", alone=True),
    Id("br_cpf", _ELEVEN, checks.cpf, b"cpf", "39053344705", "39053344700"),
    Id("cn_resident_id", rb"[1-9][0-9]{5}(?:18|19|20)[0-9]{9}[0-9Xx]", checks.resident_id, b"resident id",
       "360426199101010071", "360426199101010070", alone=True),
    Id("in_aadhaar", rb"[2-9][0-9]{3}[- ]?[0-9]{4}[- ]?[0-9]{4}", checks.verhoeff, b"aadhaar|aadhar|uidai",
       "2341 2341 2346", "2341 2341 2340"),
    Id("in_pan", rb"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", checks.by_form,
       b"pan|permanent account", "ACUPA7085R", "ACUNA7085R"),
    Id("kr_rrn", rb"[0-9]{6}-[1-8][0-9]{6}", checks.rrn,
       b"rrn|resident registration", "971013-1234561", "971013-0234561"),
    Id("jp_my_number", rb"[0-9]{4}[- ]?[0-9]{4}[- ]?[0-9]{4}", checks.my_number,
       b"my ?number|kojin", "6214 9832 0257", "6214 9832 0250"),
    Id("tr_kimlik", rb"[1-9][0-9]{10}", checks.kimlik, b"kimlik|tckn|tc no", "17291716060", "17291716061"),
    Id("za_id", rb"[0-9]{13}", checks.south_african,
       b"south african? id|sa id|rsa id", "7503305044089", "7503305044080"),
    Id("sg_nric", rb"[STFGM][0-9]{7}[A-Z]", checks.nric, b"nric|fin", "S2665242A", "S2665242G", alone=True),
    Id("hk_id", rb"[A-Z]{1,2}[0-9]{6}(?:\([0-9A]\)|[0-9A])", checks.hkid,
       b"hkid|hong kong id", "C123456(9)", "C123456(0)"),
    Id("mx_curp", rb"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", checks.curp, b"curp",
       "BOXW310820HNERXN09", "BOXW310820HNERXN00", alone=True),
    Id("cl_rut_written", rb"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", checks.rut,
       b"", "12.531.909-2", "12.531.909-0", alone=True),
    Id("cl_rut", rb"[0-9]{7,8}-?[0-9Kk]", checks.rut, b"rut|run", "12531909-2", "12531909-0"),
    Id("au_tfn", rb"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", checks.tfn, b"tfn|tax file", "123 456 782", "123 456 780"),
    Id("au_medicare", rb"[2-6][0-9]{3} ?[0-9]{5} ?[0-9]", checks.medicare, b"medicare", "2123 45670 1", "2123 45671 1"),
    Id("ca_sin", rb"[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{3}", checks.luhn_of,
       b"sin|social insurance", "123-456-782", "123-456-780"),
    Id("ch_ahv", rb"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", checks.ean13,
       b"ahv|avs", "756.9217.0769.85", "756.9217.0769.80", alone=True),
    Id("cz_rodne_cislo", rb"[0-9]{6}/[0-9]{4}", checks.rodne_cislo,
       b"rodne cislo", "710319/2745", "710319/2740", alone=True),
    Id("ro_cnp", rb"[1-9][0-9]{12}", checks.cnp, b"cnp", "1630615123457", "1630615123450"),
    Id("bg_egn", _TEN, checks.egn, b"egn", "7523169263", "7523169261"),
    Id("ee_isikukood", rb"[1-8][0-9]{10}", checks.isikukood, b"isikukood|asmens kodas", "36805280109", "36805280100"),
    Id("hr_oib", _ELEVEN, checks.mod_11_10, b"oib", "33392005961", "33392005960"),
    Id("pt_nif", rb"[1-9][0-9]{2} ?[0-9]{3} ?[0-9]{3}", checks.nif, b"nif|contribuinte", "501964843", "501964841"),
    Id("il_teudat_zehut", rb"[0-9]{9}", checks.luhn_of, b"teudat|mispar zehut|israeli id", "123456782", "123456780"),
    Id("at_svnr", rb"[1-9][0-9]{3} ?[0-9]{6}", checks.svnr, b"svnr|sozialversicherung", "1237 010180", "1237 010181"),
    Id("is_kennitala", rb"[0-9]{6}-?[0-9]{4}", checks.kennitala, b"kennitala", "450401-3150", "450401-3151"),
    Id("ie_pps", rb"[0-9]{7}[A-W][A-IT-X]?", checks.pps, b"ppsn?|public service", "6433435F", "6433435G"),
)  # fmt: skip

_GENERAL = rb"(?:national|citizen|personal|identity|identification|id|tax)[ _-]?(?:id|code|number|no|card|document)\b"
_BEFORE, _AFTER = 24, 40  # characters around a word
_FREE = rb"(?:[^0-9A-Za-z\x80]|^)"
_NOT_WRITTEN = re.compile(r"[^0-9A-Z]")


def _form(each: Id, case: int = 0) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![0-9A-Za-z\x80\x82])(?:" + each.form + rb")(?![0-9A-Za-z\x80\x82])", case)


def passes(each: Id, written: str) -> bool:
    """Whether the check digits of what has its form are right."""
    return each.check(_NOT_WRITTEN.sub("", written.upper()))


def _search(each: Id, form: re.Pattern[bytes], data: bytes, start: int, end: int) -> Iterator[Finding]:
    for match in form.finditer(data, start, end):
        written = match[0].decode("latin-1")
        if passes(each, written):
            yield Finding(*match.span(), Kind.NATIONAL_ID, written)


def _alone(each: Id) -> Detector:
    form = _form(each)

    def find(view: View) -> Iterator[Finding]:
        return _search(each, form, view.data, 0, len(view.data))

    family = Family.DIGITS if each.example[0].isdigit() else Family.FORMS
    filters = (_FREE + rb"(?:" + each.form + rb")",)
    hits, misses = (f"id «{each.example}»;",), (each.wrong, f"a{each.example}")
    return Detector(each.name, filters, find, source(each), hits, misses, family)


def source(each: Id) -> str:
    """What its check says of itself."""
    return " ".join((each.check.__doc__ or "").split())


_NAMED = [(each, _form(each, re.IGNORECASE)) for each in IDS if each.words]
_SAYS = rb"(?i)\b(?:" + rb"|".join(each.words for each, _ in _NAMED) + rb")(?:[^a-z]|$)|\b" + _GENERAL
_SAYS_ID = compiled(_SAYS)
_FEWEST = re.compile(rb"[0-9](?:[^0-9]{0,2}+[0-9]){3}")
"""Digits in each form of the table, and what may stand between: most windows of prose have none."""


def find_named(view: View) -> Iterator[Finding]:
    for start, end in windows(view.data, _SAYS_ID, _BEFORE, _AFTER, VALUE):
        if not _FEWEST.search(view.data, start, end):
            continue
        for each, form in _NAMED:
            yield from _search(each, form, view.data, start, end)


def _said(each: Id) -> str:
    """A word that says it, as a person writes it."""
    return each.words.split(b"|")[0].replace(b".", b"o").replace(b"?", b"").decode()


DETECTORS = (
    *(_alone(each) for each in IDS if each.alone),
    Detector(
        "national_id_named",
        (_SAYS,),
        find_named,
        "the rows of the table below, near their words or a general one",
        ("national id: «44051401359»", *(f"{_said(each)} «{each.example}»" for each, _ in _NAMED)),
        ("id 44051401359", "national id: 44051401358", *(f"{_said(each)} {each.wrong}" for each, _ in _NAMED)),
        family=Family.WORDS,
    ),
)
