"""Which telephone numbers may be dialled: a guard against toll fraud. How they are dialled is not here."""

import re
from collections.abc import Collection

import phonenumbers
from phonenumbers import PhoneNumberType, shortnumberinfo

from callbot.errors import RefusedError

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
# The library does not know 118, the Japan Coast Guard.
_EMERGENCY = frozenset({"110", "118", "119"})
_ALLOWED_TYPES = frozenset(
    {
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
_TYPE_NAMES = {
    PhoneNumberType.PREMIUM_RATE: "a premium rate number",
    PhoneNumberType.SHARED_COST: "a shared cost number",
    PhoneNumberType.TOLL_FREE: "a toll-free number",
    PhoneNumberType.UAN: "a universal access number",
    PhoneNumberType.PERSONAL_NUMBER: "a personal number",
    PhoneNumberType.PAGER: "a pager",
    PhoneNumberType.VOICEMAIL: "a voicemail number",
}


class NotDiallableError(RefusedError):
    """This is no number that anybody could dial from abroad; the text says why."""


class ForbiddenNumberError(RefusedError):
    """A valid number that our policy does not dial; the text says why."""


def check(number: str, regions: Collection[str]) -> None:
    """Refuse a number that is not E.164, not diallable, or not in one of `regions` (ISO 3166 codes).

    Raises NotDiallableError or ForbiddenNumberError. By region and not by country code: +1 is shared by 25 of them.
    """
    if number.lstrip("+") in _EMERGENCY:
        raise NotDiallableError("is an emergency number")
    if not _E164.fullmatch(number):
        raise NotDiallableError("must be E.164: a plus sign, the country code and digits only, such as +819012345678")
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException as exc:
        raise NotDiallableError("is not a telephone number") from exc
    if _is_emergency(number, parsed):
        raise NotDiallableError("is an emergency number")
    # What the library reads must be what Twilio dials: nothing stripped, nothing mended.
    if phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) != number:
        raise NotDiallableError("is not a telephone number as it would be dialled")
    if not phonenumbers.is_valid_number(parsed):
        raise NotDiallableError("is not a valid telephone number")
    _refuse_by_policy(parsed, regions)


def _is_emergency(number: str, parsed: phonenumbers.PhoneNumber) -> bool:
    national = number[1 + len(str(parsed.country_code)) :]
    if national in _EMERGENCY:
        return True
    return any(
        shortnumberinfo.is_emergency_number(national, region)
        for region in phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    )


def _refuse_by_policy(parsed: phonenumbers.PhoneNumber, regions: Collection[str]) -> None:
    region = phonenumbers.region_code_for_number(parsed)
    if region not in regions:
        raise ForbiddenNumberError(f"numbers of region {region or 'unknown'} are not dialled")
    kind = phonenumbers.number_type(parsed)
    if kind not in _ALLOWED_TYPES:
        raise ForbiddenNumberError(f"{_TYPE_NAMES.get(kind, 'a number of unknown type')} is not dialled")
