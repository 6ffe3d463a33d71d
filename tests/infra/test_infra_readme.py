"""`infra/README.md` says what the configuration says: its variables, its prices and sums, its sections.

That every alert has its section is `test_alerts.py`'s.
"""

import re

import pytest

from tests.infra.simulation import ROOT, Outcome

INFRA = ROOT / "infra"
README = (INFRA / "README.md").read_text(encoding="utf-8")
VARIABLES = {
    name: body
    for path in sorted(INFRA.glob("variables*.tf"))
    for name, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', path.read_text(encoding="utf-8"), re.M | re.S)
}
PRICES = {
    name: float(usd)
    for name, usd in re.findall(r"^ +(\w+) += \{ usd = ([0-9.]+)", (INFRA / "prices.tf").read_text("utf-8"), re.M)
}

# The README's assumptions for one call.
MINUTES = 3.5  # billed
HEARD_SECONDS, SAID_SECONDS, SAID_CHARACTERS = 63, 81, 430
ANSWERS, PROMPT_TOKENS, HISTORY_TOKENS = 10, 800, 400


def test_the_required_variables_are_the_ones_it_names() -> None:
    required = {name for name, body in VARIABLES.items() if not re.search("^  default +=", body, re.M)}
    assert required == {"project", "phone_number", "operators", "alert_email"}
    assert "Four variables are required" in README
    assert [name for name in sorted(required) if name not in README] == []


def test_every_variable_and_default_it_names_is_one() -> None:
    set_there = re.findall(r"-var ['\"]?(\w+)=", README) + re.findall(r"`(\w+) = ", README)
    assert set(set_there) - VARIABLES.keys() == set()
    for name, default in re.findall(r"`(\w+)` \((\d+)\)", README):
        assert re.search(rf"^  default +=  *{default}$", VARIABLES[name], re.M), name


def test_its_links_lead_somewhere() -> None:
    headings = re.findall("^#+ (.+)$", README, re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert links
    assert [link for link in links if link not in anchors] == []
    files = re.findall(r"`((?:infra/|tests/)?[\w./-]+\.(?:py|tf|yaml|tfvars))`", README)
    missing = [name for name in files if not any((base / name).exists() for base in (ROOT, INFRA))]
    assert set(missing) <= {"prod.tfvars"}


def test_the_outputs_it_uses_exist(plan: Outcome) -> None:
    outputs = set(re.findall(r"output (?:-raw |-json )?(\w+)", README))
    assert outputs <= plan.data["planned_values"]["outputs"].keys()


def per_million(name: str, tokens: float) -> float:
    return PRICES[name] * tokens / 1e6


def the_carrier() -> float:
    return MINUTES * (PRICES["inbound_minute"] + PRICES["stream_minute"])


def a_call_on_realtime() -> float:
    heard, said = HEARD_SECONDS * 10, SAID_SECONDS * 20
    again = ANSWERS - 1
    return (
        the_carrier()
        + per_million("realtime_audio_in", heard)
        + HEARD_SECONDS / 60 * PRICES["transcribe_minute"]
        + per_million("realtime_audio_out", said)
        + per_million("realtime_text_out", SAID_CHARACTERS)
        + per_million("realtime_audio_cached", again * (heard + said) / 2)
        + per_million("realtime_text_cached", again * PROMPT_TOKENS)
        + per_million("realtime_text_in", PROMPT_TOKENS)
    )


def a_call_on_amivoice() -> float:
    return (
        the_carrier()
        + SAID_CHARACTERS / 100 * PRICES["say_100_characters"]
        + HEARD_SECONDS / 3600 * PRICES["recognition_hour"]
        + per_million("chat_text_in", ANSWERS * (PROMPT_TOKENS + HISTORY_TOKENS))
        + per_million("chat_text_out", SAID_CHARACTERS)
    )


def test_what_a_call_costs_follows_from_the_prices() -> None:
    totals = re.search(r"^\| \*\*together\*\* \| \*\*([0-9.]+)\*\* \| \*\*([0-9.]+)\*\* \|$", README, re.M)
    assert totals is not None
    assert [float(total) for total in totals.groups()] == [
        pytest.approx(a_call_on_realtime(), abs=0.0006),
        pytest.approx(a_call_on_amivoice(), abs=0.0006),
    ]
    dearer = MINUTES * (PRICES["outbound_minute"] - PRICES["inbound_minute"])
    assert f"**{dearer:.2f}**" in README


@pytest.mark.parametrize(("engine", "call"), [("realtime", a_call_on_realtime), ("amivoice", a_call_on_amivoice)])
def test_what_a_month_costs_follows_from_what_a_call_costs(engine: str, call) -> None:
    row = re.search(rf"^\| vendors, `{engine}`:.* \| 0 \| ([0-9,]+) \| ([0-9,]+) \|$", README, re.M)
    assert row is not None
    for shown, calls_a_day in zip(row.groups(), (100, 10_000), strict=True):
        assert int(shown.replace(",", "")) == pytest.approx(calls_a_day * 30 * call(), rel=0.002)


def test_googles_column_adds_up() -> None:
    table = README[README.index("| calls a day |") : README.index("| **Google and the number**")]
    rows = [line.split("|")[2:5] for line in table.strip().splitlines()[2:]]
    together = re.search(r"^\| \*\*Google and the number\*\* \| (.+) \| (.+) \| (.+) \|$", README, re.M)
    assert together is not None
    for column, total in enumerate(together.groups()):
        cells = [re.search("[0-9][0-9.,]*", row[column]) for row in rows]
        summed = sum(float(cell[0].replace(",", "")) for cell in cells if cell)
        assert float(total.strip("* ").replace(",", "")) == pytest.approx(summed, abs=1.5)
