"""Check digits of the numbers that states give to persons. The table of the numbers is in `national`.

Each takes a number as its form in the table has it, without separators and in upper case, and names its source;
most are described in the OECD's "Tax Identification Numbers" sheets and the EU's list of TIN algorithms.
"""

from __future__ import annotations

from mask.values.card import luhn


def _sum(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _day(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def dni(number: str) -> bool:
    """Spain, Orden INT/2058/2008: the remainder of 23 names a letter; X, Y, Z of a NIE are 0, 1, 2."""
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number[:-1].translate(_XYZ)) % 23] == number[-1]


_XYZ = str.maketrans("XYZ", "012")
_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def codice_fiscale(code: str) -> bool:
    """Italy, DM 23 December 1976: odd characters by a table, even ones by their place, modulo 26."""
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in code[1:15:2])
    return (sum(_ODD[c] for c in code[0:15:2]) + even) % 26 == ord(code[15]) - 65


def nir(number: str) -> bool:
    """France, INSEE: 97 less the remainder; 2A and 2B of Corsica are 19 and 18."""
    digits = number.replace("2A", "19").replace("2B", "18")
    return digits.isdigit() and 97 - int(digits[:13]) % 97 == int(digits[13:])


def nhs(number: str) -> bool:
    """United Kingdom, NHS Data Dictionary: weights 10 to 2, modulo 11."""
    return (11 - _sum(number, tuple(range(10, 1, -1))) % 11) % 11 == int(number[9])


def mod_11_10(number: str) -> bool:
    """ISO 7064, MOD 11,10."""
    check = 10
    for digit in number[:-1]:
        check = ((check + int(digit)) % 10 or 10) * 2 % 11
    return (11 - check) % 10 == int(number[-1])


def idnr(number: str) -> bool:
    """Germany, BZSt: ISO 7064 MOD 11,10; one of the first ten digits is there twice or three times."""
    most = sorted(number[:10].count(digit) for digit in set(number[:10]))
    return number[0] != "0" and most[-1] in (2, 3) and most[-2:-1] != [2] and mod_11_10(number)


def pesel(number: str) -> bool:
    """Poland, Ustawa o ewidencji ludności: 20, 40, 60 or 80 on the month tell the century."""
    month, day = int(number[2:4]) % 20, int(number[4:6])
    return _day(month, day) and -_sum(number[:10], (1, 3, 7, 9) * 3) % 10 == int(number[10])


def bsn(number: str) -> bool:
    """Netherlands, Logisch Ontwerp BSN: the eleven-test with a last weight of -1."""
    return int(number) > 0 and _sum(number, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def rijksregister(number: str) -> bool:
    """Belgium, KB 3 April 1984: 97 less the remainder, with a 2 before it for who was born since 2000."""
    month, day = int(number[2:4]) % 20, int(number[4:6])
    checks = (97 - int(number[:9]) % 97, 97 - int("2" + number[:9]) % 97)
    return month <= 12 and day <= 31 and int(number[9:]) in checks


def personnummer(number: str) -> bool:
    """Sweden, SFS 1991:481: Luhn over the last ten; 60 on the day for coordination numbers."""
    month, day = int(number[-8:-6]), int(number[-6:-4])
    return _day(month, day % 60) and luhn(number[-10:].encode())


def hetu(code: str) -> bool:
    """Finland, VRK: the remainder of 31 names a character."""
    number = code[:6] + code[-4:-1]
    return _day(int(code[2:4]), int(code[:2])) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number) % 31] == code[-1]


def fodselsnummer(number: str) -> bool:
    """Norway, Skatteetaten: two check digits modulo 11; 40 on the day or month for other series."""
    one = _sum(number, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11
    two = _sum(number, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11
    return one == two == 0 and _day(int(number[2:4]) % 40, int(number[:2]) % 40)


def cpf(number: str) -> bool:
    """Brazil, Receita Federal: two check digits modulo 11; eleven times one digit is none."""
    one = _sum(number, tuple(range(10, 1, -1))) * 10 % 11 % 10
    two = _sum(number, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return number != number[0] * 11 and number[9:] == f"{one}{two}"


def resident_id(code: str) -> bool:
    """China, GB 11643-1999: ISO 7064 MOD 11-2 behind a date."""
    total = sum(int(c) * pow(2, 17 - n, 11) for n, c in enumerate(code[:17]))
    return _day(int(code[10:12]), int(code[12:14])) and "10X98765432"[total % 11] == code[17].upper()


_TIMES = ("0123456789", "1234067895", "2340178956", "3401289567", "4012395678", "5987604321", "6598710432",
          "7659821043", "8765932104", "9876543210")  # fmt: skip
_TURNED = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)


def verhoeff(number: str) -> bool:
    """J. Verhoeff, "Error Detecting Decimal Codes", 1969."""
    check = 0
    for n, digit in enumerate(reversed(number)):
        check = int(_TIMES[check][int(_TURNED[n % 8][int(digit)])])
    return check == 0


def rrn(number: str) -> bool:
    """South Korea, Resident Registration Act: a date and a digit for century and sex; no check since 2020."""
    return _day(int(number[2:4]), int(number[4:6])) and number[6] not in "09"


def my_number(number: str) -> bool:
    """Japan, Ordinance 85 of 2014, article 5."""
    rest = _sum(number, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return int(number[11]) == (0 if rest <= 1 else 11 - rest)


def kimlik(number: str) -> bool:
    """Turkey, NVI."""
    odd, even = sum(map(int, number[0:9:2])), sum(map(int, number[1:8:2]))
    return int(number[9]) == (odd * 7 - even) % 10 and int(number[10]) == (odd + even + int(number[9])) % 10


def south_african(number: str) -> bool:
    """South Africa, Identification Act 68 of 1997: date, citizenship 0 to 2, Luhn."""
    return _day(int(number[2:4]), int(number[4:6])) and number[10] in "012" and luhn(number.encode())


def nric(code: str) -> bool:
    """Singapore: weights 2 7 6 5 4 3 2, a letter by series."""
    rest = _sum(code[1:8], (2, 7, 6, 5, 4, 3, 2))
    match code[0]:
        case "S":
            return "JZIHGFEDCBA"[rest % 11] == code[8]
        case "T":
            return "JZIHGFEDCBA"[(rest + 4) % 11] == code[8]
        case "F":
            return "XWUTRQPNMLK"[rest % 11] == code[8]
        case "G":
            return "XWUTRQPNMLK"[(rest + 4) % 11] == code[8]
        case _:
            return "KLJNPQRTUWX"[10 - (rest + 3) % 11] == code[8]


def hkid(code: str) -> bool:
    """Hong Kong: letters from 10, a blank before one letter is 36, weights 9 to 1 modulo 11."""
    letters = code[:-7]
    values = [36] * (2 - len(letters)) + [ord(c) - 55 for c in letters] + [int(c) for c in code[-7:-1]]
    check = 10 if code[-1] == "A" else int(code[-1])
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11 == 0


def curp(code: str) -> bool:
    """Mexico, RENAPO: weights 18 to 2 over digits, letters from 10 with Ñ between N and O, modulo 10."""
    alphabet = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"
    total = sum(alphabet.index(c) * (18 - n) for n, c in enumerate(code[:17]))
    return _day(int(code[6:8]), int(code[8:10])) and -total % 10 == int(code[17])


def rut(code: str) -> bool:
    """Chile: weights 2 to 7 from the right, modulo 11, K for 10."""
    total = sum(int(c) * (2 + n % 6) for n, c in enumerate(reversed(code[:-1])))
    return "0K987654321"[total % 11] == code[-1]


def tfn(number: str) -> bool:
    """Australia, ATO."""
    return _sum(number, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def medicare(number: str) -> bool:
    """Australia: weights 1 3 7 9, modulo 10; the tenth digit is the card's issue."""
    return number[0] in "23456" and _sum(number, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(number[8])


def luhn_of(number: str) -> bool:
    """ISO/IEC 7812-1, annex B: Canada's SIN, Israel's teudat zehut."""
    return luhn(number.encode())


def ean13(number: str) -> bool:
    """Switzerland, AHV: 756 is the country in EAN-13."""
    return -_sum(number, (1, 3) * 6) % 10 == int(number[12])


def rodne_cislo(number: str) -> bool:
    """Czechia and Slovakia, Act 133/2000: divisible by 11; 50, 20 or 70 on the month."""
    rest = int(number[:9]) % 11 % 10
    return _day(int(number[2:4]) % 50 % 20, int(number[4:6])) and rest == int(number[9])


def cnp(number: str) -> bool:
    """Romania, OUG 97/2005."""
    rest = _sum(number, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return _day(int(number[3:5]), int(number[5:7])) and int(number[12]) == (1 if rest == 10 else rest)


def egn(number: str) -> bool:
    """Bulgaria, GRAO: 20 or 40 on the month."""
    rest = _sum(number, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10
    return _day(int(number[2:4]) % 20, int(number[4:6])) and rest == int(number[9])


def isikukood(number: str) -> bool:
    """Estonia (and Lithuania's asmens kodas): two rows of weights, the second where the first says 10."""
    for weights in ((1, 2, 3, 4, 5, 6, 7, 8, 9, 1), (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)):
        rest = _sum(number, weights) % 11
        if rest < 10:
            break
    return _day(int(number[3:5]), int(number[5:7])) and rest % 10 == int(number[10])


def nif(number: str) -> bool:
    """Portugal, Decreto-Lei 14/2013."""
    return (11 - _sum(number, tuple(range(9, 1, -1))) % 11) % 11 % 10 == int(number[8])


def svnr(number: str) -> bool:
    """Austria, Dachverband der Sozialversicherungsträger: the check digit is the fourth."""
    rest = _sum(number, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11
    return rest == int(number[3]) and int(number[6:8]) <= 15


def kennitala(number: str) -> bool:
    """Iceland, Registers Iceland."""
    rest = _sum(number, (3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11
    return rest == 0 and number[9] in "089" and _day(int(number[2:4]), int(number[:2]) % 40)


def pps(code: str) -> bool:
    """Ireland: weights 8 to 2, a second letter weighs 9, the remainder of 23 names the first."""
    extra = (ord(code[8]) - 64) * 9 if "A" <= code[8:9] <= "I" else 0
    return "WABCDEFGHIJKLMNOPQRSTUV"[(_sum(code, (8, 7, 6, 5, 4, 3, 2)) + extra) % 23] == code[7]


def nino(code: str) -> bool:
    """United Kingdom, HMRC NIM39110: no check digit, and prefixes that are not given out."""
    return code[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def cpr(number: str) -> bool:
    """Denmark, CPR: a date; no check digit since 2007."""
    return _day(int(number[2:4]), int(number[:2]))


def by_form(code: str) -> bool:
    """India's PAN: no check that is published; the form is all there is."""
    return code.isalnum()
