"""What the name of a column, parameter or path says of its value: the user's rules, then the deny list.

A name is read as words (`userApiKey`, `user-api-key` and `USER_API_KEY` are one) and judged by its end, as
names are built: `db_password` is one, `password_changed_at` is none; what is only the form of a value
(`_hash`, `_2`, `_encrypted`) is passed over. A rule for `table.column` also counts where the table is not
known, unless it would keep. What has several names (an alias and the column behind it) is hidden if any of
them says so, and kept if all do.

`keep` is the user's word that a column holds nothing to hide, though numbers in it look like cards. It
never keeps a secret that has a form of its own (a key, a JWT): a client chooses the names of its results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from mask.kinds import Kind, compiled
from mask.normal import folded
from schemas.judging import FieldAction, FieldRule

Names: TypeAlias = tuple[str, ...]
"""All the names of one value, such as ("x", "people.ssn") of `SELECT ssn AS x FROM people`."""


UNNAMED = "?"
"""A column whose name nobody says: `people.?` may be any of that table, and is hidden by whatever rule of the user's
hides one, of that table or of any."""


class Ruling(NamedTuple):
    """What to do with a value, by its name."""

    action: FieldAction
    kind: Kind


def _words(text: str) -> list[str]:
    return text.split()


_WORDS: dict[Kind, str] = {
    Kind.SSN: "ssn ssns social_security social_security_number social_security_no ss_number itin tax_id "
    "taxpayer_id tax_payer_id",
    Kind.CARD: "card_number card_no card_num cardnumber credit_card creditcard debit_card cc cc_number cc_no cc_num "
    "ccn pan primary_account_number",
    Kind.CARD_CODE: "cvv cvv2 cvc cvc2 cvn csc card_code security_code card_verification card_pin pin pin_number",
    Kind.IBAN: "iban bank_account bank_account_number account_iban",
    Kind.BIRTH_DATE: "birth_date birthdate birthday date_of_birth dob birth_day",
    Kind.PHONE: "phone phones phone_number phone_no telephone telephone_number mobile_number mobile_phone cell_phone "
    "cell_number msisdn fax_number",
    Kind.PASSWORD: "password passwd passwords passwort pwd pass passphrase pass_phrase passcode",
    Kind.SECRET: "secret secrets token api_key apikey api_secret access_key access_key_secret auth_key "
    "encryption_key signing_key secret_key master_key session_key client_secret secret_id otp totp_secret mfa_secret "
    "credential credentials authorization proxy_authorization cookie set_cookie connection_string private_token "
    "license_key webhook_url dsn",
    Kind.PRIVATE_KEY: "private_key privkey priv_key ssh_key pem",
    Kind.AWS_KEY: "access_key_id aws_key",
    Kind.FIELD: "passport passport_number passport_no driver_license drivers_license driving_licence driver_licence "
    "license_number",
    Kind.NATIONAL_ID: "national_id national_identity_number national_insurance_number nin personal_id identity_number "
    "identity_card_number",
}
_KIND = {phrase.replace("_", ""): kind for kind, phrases in _WORDS.items() for phrase in phrases.split()}
_ANYWHERE = tuple(
    (stem, _KIND[stem])
    for stem in _words(
        "password passwd passphrase apikey privatekey secretkey accesskey clientsecret cardnumber creditcard "
        "socialsecurity socialsecuritynumber dateofbirth birthdate"
    )
)
"""These end a name also where no word begins: `pgpassword`."""
_TOKENS = ("accesstoken", "authtoken", "refreshtoken", "sessiontoken", "idtoken", "bearertoken")
_FORMS = frozenset(
    _words(
        "hash hashed value val text plain plaintext enc encrypted encoded b64 base64 raw old new current confirm "
        "confirmation number num no string str digits clear md5 sha1 sha256 bcrypt salt"
    )
)
_WITHHELD = frozenset((Kind.PASSWORD, Kind.CARD_CODE))
"""Too few of them, or too easily guessed, for equality to be shown."""
_CASES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARTS = re.compile(r"[A-Za-z]+|[0-9]+|[^\W_]+")
_LONGEST = 200
_REMEMBERED = 4096


class Fields:
    """The rules of one policy over the deny list. Remembers what it said of a name."""

    def __init__(self, rules: Iterable[FieldRule] = ()) -> None:
        self._rules = tuple((_lower(rule.pattern), rule.action) for rule in rules)
        self.keeps = any(action is FieldAction.KEEP for _, action in self._rules)
        self.hides = any(action is not FieldAction.KEEP for _, action in self._rules)
        """Whether the user has rules that do, so that even what nobody names may be hidden (UNNAMED)."""
        self._beyond = not all(pattern.isascii() for pattern, _ in self._rules)
        self._stems = compiled(b"(?i)" + b"|".join(sorted(self.stems())))
        self._known: dict[str | Names, Ruling | None] = {"": None, (): None}

    def judge(self, name: str | Names) -> Ruling | None:
        """None: the name says nothing, the value is searched."""
        try:
            return self._known[name]
        except KeyError:
            if isinstance(name, str):
                ruling, length = self._judge(name[-_LONGEST:]), len(name)
            else:
                ruling, length = _strictest([self.judge(each) for each in name]), sum(map(len, name))
            if len(self._known) < _REMEMBERED and length <= _LONGEST:
                self._known[name] = ruling
            return ruling

    def _judge(self, name: str) -> Ruling | None:
        plain = folded(name)
        kind = denied(plain)
        action = self._ruled(_lower(plain))
        if action is not None:
            return Ruling(action, kind or Kind.FIELD)
        if kind is None:
            return None
        return Ruling(FieldAction.WITHHOLD if kind in _WITHHELD else FieldAction.TOKEN, kind)

    def _ruled(self, name: str) -> FieldAction | None:
        """The most exact rule; of those alike, the strictest."""
        found = [(rank, action) for pattern, action in self._rules if (rank := _fits(pattern, action, name))]
        return max(found, key=lambda each: (each[0], _STRICT.index(each[1])))[1] if found else None

    def speaks_of(self, text: str) -> bool:
        """False only where no name that stands in this text, or is made of words in it, could be more than nothing:
        a quick look before names are worked out. Names may be written by escapes, and in other letters."""
        plain = text.isascii() and "\\" not in text and not self._beyond
        return not plain or self._stems.search(text.encode("ascii")) is not None

    def stems(self) -> Iterator[bytes]:
        """Patterns, for any case, of which one matches in every name that is judged here to be more than nothing. A
        match may begin with the character before the name."""
        for phrase in {phrase for phrases in _WORDS.values() for phrase in phrases.split()}:
            first, *others = (re.escape(word.encode()) for word in phrase.split("_"))
            if len(first) <= _SHORT:  # where a word begins: `account` and `shipping_id` cost nothing
                first = rb"(?:(?:^|[^a-z])" + first + rb"|(?-i:[a-z0-9]" + first[:1].upper() + rb")" + first[1:] + rb")"
            yield rb"[_.\- ]?".join((first, *others))
        for pattern, _ in self._rules:
            column = pattern.rstrip("*").rpartition(".")[2] or pattern.rstrip("*.")
            if column.isascii():
                yield re.escape(column.encode())


_SHORT = 4  # letters of a word that others have in them by chance
_STRICT = (FieldAction.KEEP, FieldAction.TOKEN, FieldAction.WITHHOLD)


def _strictest(rulings: list[Ruling | None]) -> Ruling | None:
    found = [ruling for ruling in rulings if ruling is not None]
    hiding = [ruling for ruling in found if ruling.action is not FieldAction.KEEP]
    if hiding:
        return max(hiding, key=lambda each: (_STRICT.index(each.action), each.kind is not Kind.FIELD))
    return found[0] if found and len(found) == len(rulings) else None


def _fits(pattern: str, action: FieldAction, name: str) -> int:
    """0 for no; more for a more exact rule. Names are compared from their end as far as both go: what is not
    known (a table, a schema) is taken to fit a rule that hides, but `table.*` says nothing of a bare name."""
    said, known = pattern.split("."), name.split(".")
    if len(said) > len(known) and (action is FieldAction.KEEP or (len(known) == 1 and said[-1] == "*")):
        return 0
    if known[-1] == UNNAMED:
        if action is FieldAction.KEEP or "-" in pattern:  # a header's name
            return 0
        both = min(len(said), len(known)) - 1
        return int(not both or said[-1 - both : -1] == known[-1 - both : -1])
    last = said.pop()
    fits = known[-1].startswith(last[:-1]) if last.endswith("*") else known[-1] == last
    both = min(len(said), len(known) - 1)
    if not fits or (both and said[-both:] != known[-1 - both : -1]):
        return 0
    return len(pattern) if last.endswith("*") else _LONGEST + len(pattern)


def _lower(name: str) -> str:
    return name.lower()


def denied(name: str) -> Kind | None:
    """What the deny list says of a name."""
    words = [word.lower() for word in _PARTS.findall(_CASES.sub("_", name))]
    while words:
        for count in (4, 3, 2, 1):
            if count <= len(words) and (kind := _KIND.get("".join(words[-count:]))):
                return kind
        joined = "".join(words[-2:])
        if joined.endswith(_TOKENS):
            return Kind.SECRET
        for stem, kind in _ANYWHERE:
            if joined.endswith(stem):
                return kind
        if words[-1] not in _FORMS and not words[-1].isdigit():
            return None
        words.pop()
    return None
