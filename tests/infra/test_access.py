"""Who may do what: every grant of the configuration, as a table. A new grant is a new line here, with its reason there.

Read from the state after an apply, where the resources of all grants are known.
"""

import re
from collections import defaultdict
from typing import Any

import pytest

from tests.infra.simulation import Outcome

# member | role | on which
ALWAYS = """
functions | datastore.user                  | project, if callbot database
functions | secretmanager.secretAccessor    | stream-ticket-secret twilio-account-sid twilio-auth-token
trigger   | datastore.user                  | project, if callbot database
trigger   | secretmanager.secretAccessor    | stream-ticket-secret twilio-account-sid twilio-auth-token
reader    | datastore.viewer                | project, if callbot database
reader    | secretmanager.secretAccessor    | stream-ticket-secret twilio-account-sid twilio-auth-token
stream    | datastore.user                  | project, if callbot database
stream    | secretmanager.secretAccessor    | amivoice-api-key openai-api-key stream-ticket-secret twilio-account-sid \
                                              twilio-auth-token
builder   | artifactregistry.writer         | images
builder   | logging.logWriter               | project
builder   | storage.objectViewer            | my-callbot-123456-callbot-sources
builder   | storage.objectViewer            | project, if callbot function sources
starter   | cloudbuild.builds.editor        | project
starter   | iam.serviceAccountUser          | builder
starter   | serviceusage.serviceUsageConsumer | project
anybody   | run.invoker                     | call-events call-flow incoming-call stream twiml
"""

WITH_IAM = """
operator  | run.invoker                     | calls outgoing-call
"""

WITH_KEYS = """
anybody   | run.invoker                     | calls outgoing-call
trigger   | secretmanager.secretAccessor    | trigger-keys
reader    | secretmanager.secretAccessor    | trigger-keys
"""

WITH_PIPELINE = """
review    | callbot_plans                   | project
review    | logging.logWriter               | project
review    | storage.objectViewer            | my-callbot-123456-callbot-sources my-state
deliver   | callbot_plans                   | project
deliver   | callbot_measures                | project
deliver   | logging.logWriter               | project
deliver   | storage.objectAdmin             | my-callbot-123456-callbot-sources my-state
deliver   | artifactregistry.writer         | images
deliver   | cloudfunctions.developer        | project
deliver   | run.developer                   | project
deliver   | monitoring.alertPolicyEditor    | project
deliver   | monitoring.dashboardEditor      | project
deliver   | monitoring.notificationChannelEditor | project
deliver   | monitoring.uptimeCheckConfigEditor | project
deliver   | iam.serviceAccountUser          | builder functions reader stream trigger
deliver   | secretmanager.secretAccessor    | twilio-account-sid twilio-auth-token
"""

# What a grant is on, by the type of the grant. An authoritative binding or policy would be none of these.
ON = {
    "google_project_iam_member": "project",
    "google_secret_manager_secret_iam_member": "secret_id",
    "google_cloud_run_v2_service_iam_member": "name",
    "google_artifact_registry_repository_iam_member": "repository",
    "google_storage_bucket_iam_member": "bucket",
    "google_service_account_iam_member": "service_account_id",
}
MEMBERS = {"allUsers": "anybody", "user:you@example.com": "operator"}

Row = tuple[str, str, str]


def table(*texts: str) -> set[Row]:
    rows = set()
    for line in filter(None, "".join(texts).replace("\\\n", "").splitlines()):
        member, role, things = (cell.strip() for cell in line.split("|"))
        each = [things] if things.startswith("project") else things.split()
        rows |= {(member, role, thing) for thing in each}
    return rows


def grants(outcome: Outcome) -> set[Row]:
    found = {}
    for address, values in outcome.resources().items():
        kind = address.split(".")[0]
        if "_iam_" not in kind or kind == "google_project_iam_custom_role":
            continue
        assert kind in ON, f"{address}: say in ON what such a grant is on, or make it one of those kinds"
        row = (_member(values["member"]), values["role"].split("/")[-1], _thing(kind, values))
        assert row not in found, f"{address} and {found[row]} are the same grant"
        found[row] = address
    return set(found)


def _member(member: str) -> str:
    account = re.fullmatch(r"serviceAccount:callbot-([a-z]+)@my-callbot-123456\.iam\.gserviceaccount\.com", member)
    return account[1] if account else MEMBERS.get(member, member)


def _thing(kind: str, values: dict[str, Any]) -> str:
    if kind == "google_project_iam_member":
        return "project" + "".join(f", if {condition['title']}" for condition in values["condition"])
    assert not values["condition"]
    return str(values[ON[kind]]).split("/")[-1].split("@")[0].removeprefix("callbot-")


def test_access_is_what_the_table_says_and_nothing_else(deployed: Outcome) -> None:
    assert grants(deployed) == table(ALWAYS, WITH_IAM, WITH_PIPELINE)


def test_with_keys_the_trigger_is_open_and_guarded_by_a_key(deployed_with_keys: Outcome) -> None:
    assert grants(deployed_with_keys) == table(ALWAYS, WITH_KEYS)


def test_without_a_pipeline_nobody_is_there_who_delivers(plan: Outcome) -> None:
    members = {_member(values["member"]) for address, values in plan.resources().items() if address.split(".")[0] in ON}
    assert members == {member for member, _, _ in table(ALWAYS, WITH_IAM)}


def test_the_conditions_name_this_deployments_own(deployed: Outcome) -> None:
    conditions = {
        condition["title"]: condition["expression"]
        for values in deployed.resources("google_project_iam_member").values()
        for condition in values["condition"]
    }
    number = re.search("gcf-v2-sources-([0-9]+)-", conditions["callbot function sources"])
    assert number is not None
    assert conditions == {
        "callbot database": 'resource.name == "projects/my-callbot-123456/databases/callbot"',
        "callbot function sources": 'resource.type == "storage.googleapis.com/Object" && resource.name.startsWith('
        f'"projects/_/buckets/gcf-v2-sources-{number[1]}-asia-northeast1/")',
    }


@pytest.mark.parametrize(
    "forbidden",
    [
        r"(owner|editor|viewer)",  # primitive roles
        r".*\.admin",
        r"iam\.(serviceAccountTokenCreator|serviceAccountKeyAdmin|workloadIdentityUser)",
    ],
)
def test_no_role_is_broader_than_its_work(deployed: Outcome, forbidden: str) -> None:
    assert [row for row in grants(deployed) if re.fullmatch(forbidden, row[1])] == []


def test_nobody_reads_secrets_or_acts_as_others_by_a_grant_on_the_project(deployed: Outcome) -> None:
    wide = {role for _, role, thing in grants(deployed) if thing.startswith("project")}
    assert not wide & {"secretmanager.secretAccessor", "iam.serviceAccountUser", "run.invoker"}


def test_roles_of_our_own_change_no_access_and_read_no_data(deployed: Outcome) -> None:
    roles = deployed.resources("google_project_iam_custom_role")
    assert roles
    permissions = {permission for role in roles.values() for permission in role["permissions"]}
    forbidden = re.compile(
        r".*\.setIamPolicy|secretmanager\.versions\.access|datastore\.entities\..*|storage\.objects\..*"
        r"|iam\.serviceAccounts\.(actAs|getAccessToken|signBlob|signJwt)|iam\.serviceAccountKeys\..*|logging\.logEntries\..*"
        r"|run\.routes\.invoke|cloudfunctions\.functions\.sourceCodeGet|.*\*.*"
    )
    assert [permission for permission in sorted(permissions) if forbidden.fullmatch(permission)] == []


def test_every_account_works_and_every_worker_has_its_own_account(deployed: Outcome) -> None:
    accounts = {_member(values["member"]) for values in deployed.resources("google_service_account").values()}
    works_as = defaultdict(set)
    for values in deployed.resources("google_cloudfunctions2_function").values():
        works_as[values["service_config"][0]["service_account_email"]].add(values["name"])
        works_as[values["build_config"][0]["service_account"].split("/")[-1]].add("builds")
    for values in deployed.resources("google_cloud_run_v2_service").values():
        works_as[values["template"][0]["service_account"]].add(values["name"])
    for values in deployed.resources("google_cloud_run_v2_job").values():
        works_as[values["template"][0]["template"][0]["service_account"]].add("builds")
    for values in deployed.resources("google_cloudbuild_trigger").values():
        works_as[values["service_account"].split("/")[-1]].add(values["name"])
    named = {_member(f"serviceAccount:{email}"): sorted(work) for email, work in works_as.items()}
    assert named == {
        "functions": ["callbot-call-events", "callbot-call-flow", "callbot-incoming-call", "callbot-twiml"],
        "trigger": ["callbot-outgoing-call"],
        "reader": ["callbot-calls"],
        "stream": ["callbot-stream"],
        "builder": ["builds"],
        "starter": ["builds"],
        "deliver": ["callbot-deliver"],
        "review": ["callbot-review"],
    }
    assert accounts == named.keys()
