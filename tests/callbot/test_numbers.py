"""Which numbers may be dialled."""

import hypothesis
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from callbot.errors import RefusedError
from callbot.numbers import ForbiddenNumberError, NotDiallableError, check

JAPAN = ("JP",)
ALLOWED = {
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP,
}
KINDS = sorted(
    value for name, value in vars(PhoneNumberType).items() if not name.startswith("_") and isinstance(value, int)
)


@pytest.mark.parametrize("number", ["+819012345678", "+817012345678", "+81312345678", "+815012345678"])
def test_a_japanese_line_is_dialled(number):
    check(number, JAPAN)


@pytest.mark.parametrize(
    "number", ["110", "119", "118", "+110", "+118", "+81110", "+81119", "+81118", "+1911", "+44999"]
)
def test_an_emergency_number_is_nobodys_to_dial(number):
    with pytest.raises(NotDiallableError, match="emergency"):
        check(number, ("JP", "US", "GB"))


@pytest.mark.parametrize(
    "number",
    [
        "",
        "+",
        "819012345678",
        "090-1234-5678",
        "+81 90 1234 5678",
        "+81-90-1234-5678",
        "+8109012345678",
        "+810312345678",
        "+819012345678;ext=5",
        "+819012345678x5",
        "tel:+819012345678",
        "+８１9012345678",
        "+819012345678\n",
        "+8190123456789012",
        "+81901234567",
        "+0819012345678",
        "+99912345678",
        "++819012345678",
        "anonymous",
    ],
)
def test_what_is_not_a_number_as_it_is_dialled_is_not_mended(number):
    with pytest.raises(NotDiallableError):
        check(number, JAPAN)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("+14155552671", "region US"),
        ("+18765550123", "region JM"),
        ("+18095551234", "region DO"),
        ("+881612345678", "region 001"),
    ],
)
def test_a_region_is_allowed_by_its_own_name_and_not_by_its_country_code(number, reason):
    with pytest.raises(ForbiddenNumberError, match=reason):
        check(number, JAPAN)
    if reason != "region US":
        with pytest.raises(ForbiddenNumberError):
            check(number, ("JP", "US"))


def test_no_regions_allow_no_number():
    with pytest.raises(ForbiddenNumberError):
        check("+819012345678", ())


@pytest.mark.parametrize("kind", KINDS)
def test_no_costly_kind_of_number_passes_in_any_region(kind):
    """The library's example of this kind in each region: only ordinary lines pass."""
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    for region in regions:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        try:
            check(number, regions)
        except RefusedError:
            continue
        assert phonenumbers.number_type(example) in ALLOWED
        with pytest.raises(RefusedError):
            check(number, [other for other in regions if other != phonenumbers.region_code_for_number(example)])


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(st.one_of(st.text(max_size=30), st.from_regex(r"\+?[0-9]{0,20}", fullmatch=True)))
def test_whatever_passes_is_a_valid_japanese_number(number):
    try:
        check(number, JAPAN)
    except RefusedError:
        return
    parsed = phonenumbers.parse(number)
    assert phonenumbers.is_valid_number(parsed)
    assert phonenumbers.region_code_for_number(parsed) == "JP"
    assert phonenumbers.format_number(parsed, PhoneNumberFormat.E164) == number
