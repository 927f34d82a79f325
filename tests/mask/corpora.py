"""Texts with values planted in them, and texts with none: made from seeds, never by hand.

`planted` puts values of Faker's ten locales, and secrets in the forms that providers publish, into sentences and rows
that say nothing of how the mask works; `presidio_templates` are the 209 of presidio-evaluator (MIT), where it is
installed. `national_examples` and `phone_examples` come out of python-stdnum (LGPL, its doctests) and phonenumbers,
where these are installed: neither is part of the product. `clean` is text as it goes through gateways, with no value.
"""

from __future__ import annotations

import base64
import csv
import importlib
import importlib.util
import io
import json
import random
import re
import string
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faker import Faker

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE")
TUNED, HELD_OUT = 20_260_801, 977_531
"""The seed that was looked at while rules were written, and one that was not."""

Truth = tuple[int, int, str]
"""Characters `start` to `end` are a value of this type."""


class Planted(NamedTuple):
    text: str
    truth: tuple[Truth, ...]


# --- values -----------------------------------------------------------------------

_LETTERS = string.ascii_letters + string.digits


def _some(chance: random.Random, alphabet: str, length: int) -> str:
    return "".join(chance.choices(alphabet, k=length))


def _segment(chance: random.Random, size: int) -> str:
    return base64.urlsafe_b64encode(chance.randbytes(size)).decode().rstrip("=")


def _jwt(chance: random.Random) -> str:
    parts = ({"alg": chance.choice(("HS256", "RS256", "none")), "typ": "JWT"}, {"sub": _some(chance, _LETTERS, 9)})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.{_segment(chance, 32)}"


def _pem(chance: random.Random) -> str:
    kind = chance.choice(("RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "))
    body = base64.encodebytes(chance.randbytes(chance.randint(48, 600))).decode()
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}-----END {kind}PRIVATE KEY-----"


SECRETS: dict[str, Callable[[random.Random], str]] = {
    "jwt": _jwt,
    "private_key": _pem,
    "aws_access_key": lambda c: c.choice(("AKIA", "ASIA")) + _some(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
    "aws_secret_key": lambda c: _some(c, _LETTERS + "+/", 40),
    "github_token": lambda c: c.choice(("ghp_", "gho_", "ghu_", "ghs_", "ghr_")) + _some(c, _LETTERS, 36),
    "gitlab_token": lambda c: c.choice(("glpat-", "gldt-", "glrt-", "glptt-")) + _some(c, _LETTERS + "_-", 20),
    "slack_token": lambda c: (
        f"xox{c.choice('bp')}-{c.randrange(10**11, 10**12)}-{c.randrange(10**12, 10**13)}-" + _some(c, _LETTERS, 24)
    ),
    "stripe_key": lambda c: c.choice(("sk_live_", "rk_live_", "sk_test_")) + _some(c, _LETTERS, c.choice((24, 99))),
    "google_key": lambda c: "AIza" + _some(c, _LETTERS + "_-", 35),
    "azure_key": lambda c: _some(c, _LETTERS + "+/", 76) + "+ASt" + _some(c, _LETTERS, 5) + c.choice("AQgw") + "==",
    "npm_token": lambda c: "npm_" + _some(c, _LETTERS, 36),
    "pypi_token": lambda c: "pypi-AgEIcHlwaS5vcmc" + _some(c, _LETTERS + "_-", c.randint(60, 150)),
}
"""As the providers publish them."""

_CONTEXT = {"aws_secret_key": "aws_secret_access_key = {}"}
_NATIONAL = {
    "en_GB": "National insurance no", "fr_FR": "n° INSEE", "es_ES": "DNI/NIE", "it_IT": "codice fiscale",
    "nl_NL": "BSN", "pl_PL": "PESEL", "pt_BR": "CPF", "sv_SE": "personnummer",
}  # fmt: skip


class _Source:
    """Values of one locale."""

    def __init__(self, locale: str, seed: int) -> None:
        self.locale = locale
        self.fake = Faker(locale)
        self.fake.seed_instance(seed)
        self.chance = random.Random(seed)

    def value(self, kind: str) -> str:
        fake, chance = self.fake, self.chance
        match kind:
            case "card":
                return _grouped(chance, fake.credit_card_number())
            case "ssn":
                return _american(self).ssn(chance.choice(("SSN", "SSN", "ITIN")))
            case "email":
                return fake.email()
            case "iban":
                return _in_fours(chance, fake.iban())
            case "phone":
                return fake.phone_number()
            case "birth_date":
                form = chance.choice(("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %B %Y", "%B %d, %Y"))
                return fake.date_of_birth().strftime(form)
            case "national_id":
                return _national(self)
            case "password":
                return fake.password(chance.randint(8, 20), special_chars=False)
            case _:
                return SECRETS[kind](chance)


def _american(source: _Source) -> Faker:
    if not hasattr(source, "_us"):
        us = Faker("en_US")
        us.seed_instance(source.chance.random())
        source._us = us  # type: ignore[attr-defined]
    return source._us  # type: ignore[attr-defined,no-any-return]


def _national(source: _Source) -> str:
    match source.locale:
        case "es_ES":
            return source.fake.nif() if source.chance.random() < 0.5 else source.fake.nie()
        case "pl_PL":
            return source.fake.pesel()
        case "pt_BR":
            return source.fake.cpf()
        case _:
            return source.fake.ssn()


def _grouped(chance: random.Random, number: str) -> str:
    separator = chance.choice(("", "", " ", "-", ".", "\u2011", "\u00a0"))
    cuts = (4, 10) if len(number) in (14, 15) else range(4, len(number), 4)
    parts = [number[a:b] for a, b in zip((0, *cuts), (*cuts, len(number)), strict=True)]
    return separator.join(parts)


def _in_fours(chance: random.Random, iban: str) -> str:
    return iban if chance.random() < 0.5 else " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))


# --- texts ------------------------------------------------------------------------

_SENTENCES = {
    "card": ("please charge {} today", "Karte {} gültig bis 12/29", "carte {} refusée", "{} was declined, order 48213"),
    "ssn": ("my social security number is {}", "SSN {} on file", "{} (ssn), born in Ohio"),
    "email": ("write to {} please", "<{}>", "user {} logged in", "correo: {}"),
    "iban": ("pay to {} by Friday", "IBAN: {}", "Überweisung an {}, Betrag 20,00"),
    "phone": (
        "call me at {}",
        "Telefon: {}",
        "mobile {} (after 5)",
        "tel. {}",
        "téléphone {}",
        "my phone number is {}",
    ),
    "birth_date": ("born on {}", "date of birth: {}", "geboren am {}", "né le {}", "DOB {}"),
    "national_id": ("{word} {}", "{word}: {}", "his {word} is {}"),
    "password": (
        "postgres://app:{}@db.example.com:5432/shop",
        "login with password={} now",
        "https://bot:{}@git.example.com/x",
    ),
}
_SECRET_SENTENCES = (
    "the key is {}",
    "export KEY={}",
    "curl -H 'X: {}' https://api.example.com",
    "leaked: {}\nrotate it",
)
KINDS = (*_SENTENCES, *SECRETS)


def planted(seed: int, count: int, kinds: tuple[str, ...] = KINDS) -> Iterator[Planted]:
    """`count` texts of each kind: sentences, JSON, CSV and log lines, values of other kinds and none beside them."""
    sources = [_Source(locale, seed + n) for n, locale in enumerate(LOCALES)]
    national = [source for source in sources if source.locale in _NATIONAL]
    for kind in kinds:
        for n in range(count):
            source = sources[n % len(sources)]
            if kind == "national_id":
                source = national[n % len(national)]
            yield _text(source, kind)


def _text(source: _Source, kind: str) -> Planted:
    value = source.value(kind)
    template = source.chance.choice(_SENTENCES.get(kind, _SECRET_SENTENCES))
    if kind in _CONTEXT:
        template = _CONTEXT[kind]
    template = template.replace("{word}", _NATIONAL.get(source.locale, "national id"))
    before, _, after = template.partition("{}")
    sentence = Planted(before + value + after, ((len(before), len(before) + len(value), kind),))
    match source.chance.randrange(4):
        case 0:
            return _prefixed(f"2026-08-01T10:22:33.{source.chance.randrange(1000):03}Z INFO shop[417] ", sentence)
        case 1:
            row = {"id": source.chance.randrange(10**6), "note": sentence.text, "ok": True}
            return _inside(json.dumps(row, ensure_ascii=source.chance.random() < 0.5), sentence)
        case 2:
            line = io.StringIO()
            csv.writer(line).writerow([source.chance.randrange(10**6), source.fake.word(), sentence.text, "19.99"])
            return _inside(line.getvalue(), sentence)
        case _:
            return sentence


def _prefixed(prefix: str, of: Planted) -> Planted:
    return Planted(
        prefix + of.text, tuple((start + len(prefix), end + len(prefix), kind) for start, end, kind in of.truth)
    )


def _inside(text: str, of: Planted) -> Planted:
    """Where the text quotes the value as it is; else the value alone (an escape of JSON has moved its characters)."""
    (start, end, kind), *_ = of.truth
    value = of.text[start:end]
    for written in (value, json.dumps(value)[1:-1], value.replace('"', '""')):
        if (at := text.find(written)) >= 0:
            return Planted(text, ((at, at + len(written), kind),))
    return of


_HOLES = re.compile(r"\{\{(\w+)\}\}")
_PRESIDIO = {"credit_card_number": "card", "ssn": "ssn", "email": "email", "iban": "iban", "phone_number": "phone",
             "date_of_birth": "birth_date"}  # fmt: skip
_FILLED = {"person": "name", "organization": "company", "age": "random_digit_not_null", "zipcode": "postcode",
           "nationality": "country", "date_time": "iso8601", }  # fmt: skip


def presidio_templates(seed: int, rounds: int) -> Iterator[Planted]:
    """Nothing where presidio-evaluator is not installed. Read as a file: importing it brings models along."""
    spec = importlib.util.find_spec("presidio_evaluator")
    if spec is None or spec.origin is None:
        return
    path = Path(spec.origin).parent / "data_generator" / "raw_data" / "templates.txt"
    templates = path.read_text(encoding="utf-8", errors="replace").splitlines()
    sources = [_Source(locale, seed + 1000 + n) for n, locale in enumerate(LOCALES)]
    for n in range(rounds):
        for at, template in enumerate(templates):
            yield _filled(template.replace("\\n", "\n"), sources[(n + at) % len(sources)])


def _filled(template: str, source: _Source) -> Planted:
    parts: list[str] = []
    truth: list[Truth] = []
    at = length = 0
    for hole in _HOLES.finditer(template):
        name = hole[1]
        kind = _PRESIDIO.get(name)
        filler = getattr(source.fake, _FILLED.get(name, name), source.fake.word)
        value = source.value(kind) if kind else str(filler())
        parts += (template[at : hole.start()], value)
        length += hole.start() - at
        if kind:
            truth.append((length, length + len(value), kind))
        length += len(value)
        at = hole.end()
    return Planted("".join((*parts, template[at:])), tuple(truth))


# --- examples of others' ----------------------------------------------------------

STDNUM = {
    "es_nie": "es.nie", "es_dni": "es.dni", "it_codice_fiscale": "it.codicefiscale", "fr_nir": "fr.nir",
    "gb_nhs": "gb.nhs", "de_idnr": "de.idnr", "pl_pesel": "pl.pesel", "nl_bsn": "nl.bsn",
    "be_rijksregister": "be.nn", "se_personnummer": "se.personnummer", "fi_hetu": "fi.hetu", "dk_cpr": "dk.cpr",
    "no_fodselsnummer": "no.fodselsnummer", "br_cpf": "br.cpf", "cn_resident_id": "cn.ric",
    "in_aadhaar": "in_.aadhaar", "in_pan": "in_.pan", "kr_rrn": "kr.rrn", "jp_my_number": "jp.in_",
    "tr_kimlik": "tr.tckimlik", "za_id": "za.idnr", "mx_curp": "mx.curp",
    "cl_rut": "cl.rut", "au_tfn": "au.tfn", "ca_sin": "ca.sin", "ch_ahv": "ch.ssn", "cz_rodne_cislo": "cz.rc",
    "ro_cnp": "ro.cnp", "bg_egn": "bg.egn", "ee_isikukood": "ee.ik", "hr_oib": "hr.oib", "pt_nif": "pt.nif",
    "il_teudat_zehut": "il.idnr", "at_svnr": "at.vnr", "is_kennitala": "is_.kennitala", "ie_pps": "ie.pps",
}  # fmt: skip
"""By our name of an id, python-stdnum's module of it."""
_DOCTEST = re.compile(r">>> validate\('([^']+)'\)[^\n]*\n(u?'|Traceback)")


def stdnum(name: str) -> object:
    """Its module. Raises ModuleNotFoundError where python-stdnum is not installed."""
    return importlib.import_module("stdnum." + STDNUM[name])


def national_examples() -> Iterator[tuple[str, str, bool]]:
    """(our name of the id, a number, whether python-stdnum's documentation says that it is valid)."""
    for name in STDNUM:
        for number, answer in _DOCTEST.findall(stdnum(name).__doc__ or ""):
            yield name, number, answer != "Traceback"


def neighbours(number: str) -> Iterator[str]:
    """The number, and all that differ from it in one digit."""
    yield number
    for at, char in enumerate(number):
        if char.isdigit():
            yield from (number[:at] + other + number[at + 1 :] for other in "0123456789" if other != char)


def phone_examples() -> Iterator[tuple[str, str, str]]:
    """(region, international form, national form) of a fixed line and a mobile number of every region that has them."""
    import phonenumbers as p

    for region in sorted(p.SUPPORTED_REGIONS):
        for kind in (p.PhoneNumberType.FIXED_LINE, p.PhoneNumberType.MOBILE):
            number = p.example_number_for_type(region, kind)
            if number is not None:
                forms = (p.PhoneNumberFormat.INTERNATIONAL, p.PhoneNumberFormat.NATIONAL)
                international, national = (p.format_number(number, form) for form in forms)
                yield region, international, national


# --- clean text -------------------------------------------------------------------

_PACKAGES = ("starlette", "httpx", "uvicorn", "typer", "rich", "jinja2", "structlog", "pydantic", "hypothesis",
             "aiokafka", "mypy", "pygments")  # fmt: skip
_CHUNK = 4000  # characters of a file at a time


def code(size: int) -> Iterator[str]:
    """Source of the installed packages, in order, as far as it goes."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(place).rglob("*.py")):
                text = path.read_text(encoding="utf-8", errors="replace")
                for at in range(0, len(text), _CHUNK):
                    yield text[at : at + _CHUNK]
                size -= len(text)
                if size < 0:
                    return


def _sized(make: Callable[[random.Random, int], str]) -> Callable[[int, int], Iterator[str]]:
    def texts(size: int, seed: int) -> Iterator[str]:
        chance, n = random.Random(seed), 0
        while size > 0:
            text = make(chance, n)
            yield text
            size -= len(text)
            n += 1

    return texts


_PATHS = ("/v1/orders", "/v1/orders/{}", "/healthz", "/static/app.{}.js", "/api/items?page={}&sort=-created")


def _hex(chance: random.Random, length: int) -> str:
    return f"{chance.getrandbits(4 * length):0{length}x}"


def _log(chance: random.Random, n: int) -> str:
    at = 1_767_225_600 + n * 3 + chance.random()
    days, second = divmod(int(at), 86_400)
    day, clock = days % 28 + 1, f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    pid, size = chance.randrange(10**5), chance.randrange(10**9)
    match chance.randrange(6):
        case 0:
            host = f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
            path = chance.choice(_PATHS).format(_hex(chance, 8))
            return f'{host} - - [{day:02}/Jan/2026:{clock} +0000] "GET {path} HTTP/1.1" 200 {pid} "-" "curl/8.5.0"'
        case 1:
            took = chance.random() * 90
            return f"2026-01-{day:02} {clock}.{chance.randrange(1000):03} UTC [{pid}] LOG:  duration: {took:.3f} ms"
        case 2:
            trace, span = _hex(chance, 32), _hex(chance, 16)
            return f"level=info ts={at:.6f} trace_id={trace} span_id={span} took={chance.random()}"
        case 3:
            columns = (chance.randrange(10 ** chance.randrange(1, 7)) for _ in range(17))
            return "vmstat " + " ".join(f"{each:>{chance.choice((2, 6, 7))}}" for each in columns)
        case 4:
            return f"Jan {day:2} {clock} web-{n % 9} kernel: [{at % 10**6:12.6f}] eth0: rx {size} tx {size // 3}"
        case _:
            return f"commit {_hex(chance, 40)} sha256:{_hex(chance, 64)} build {n}"


def _numbers(chance: random.Random, n: int) -> str:
    micros = 1_767_225_600_000_000 + n * 1_000_003 + chance.randrange(10**6)
    row = {
        "id": n + 1,
        "order_no": chance.randrange(10**9, 10**10),
        "snowflake": str(((micros // 1000 - 1_288_834_974_657) << 22) | chance.randrange(1 << 22)),
        "at": [micros // 10**6, micros // 1000, micros, micros * 1000],
        "uuid": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "etag": _hex(chance, 32),
        "price": chance.randrange(10**6) / 100,
        "rate": chance.random(),
        "place": [chance.uniform(-90, 90), chance.uniform(-180, 180)],
        "vector": [round(chance.gauss(0, 1), 8) for _ in range(8)],
        "counts": [chance.randrange(10**5) for _ in range(8)],
    }
    return json.dumps(row)


_THINGS = ("Widget", "Gadget", "Bracket", "Bolt M6", "Cable 3m", "Lamp E27", "Sensor v2")


def _dump(chance: random.Random, n: int) -> str:
    """Some rows of a table, as pg_dump writes them."""
    rows = [
        "COPY public.order_items (id, order_id, sku, title, quantity, unit_price, weight_kg, created_at) FROM stdin;",
        *("\t".join(_item(chance, n * 20 + k)) for k in range(20)),
        "\\.",
        f"SELECT pg_catalog.setval('public.order_items_id_seq', {n * 20}, true);",
        f"CREATE INDEX ix_{_hex(chance, 8)} ON public.order_items USING btree (order_id);",
    ]
    return "\n".join(rows)


def _item(chance: random.Random, n: int) -> tuple[str, ...]:
    day = f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
    clock = f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
    title, sku = chance.choice(_THINGS), f"WID-{chance.randrange(10**6):06}"
    price, weight = f"{chance.randrange(10**5) / 100:.2f}", f"{chance.random() * 20:.3f}"
    at = f"{day} {clock}.{chance.randrange(10**6):06}+00"
    return (str(n), str(chance.randrange(10**7)), sku, title, str(chance.randrange(1, 9)), price, weight, at)


CLEAN: dict[str, Callable[[int, int], Iterator[str]]] = {
    "code": lambda size, seed: code(size),
    "logs": _sized(_log),
    "numbers": _sized(_numbers),
    "dump": _sized(_dump),
}
"""(characters, seed) -> texts in which nothing is to be found."""
