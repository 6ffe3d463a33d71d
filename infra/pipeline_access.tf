# Who the pipeline is and what it may do.
#
# `review` reads how this deployment is configured, and nothing of what it holds: no record of a call, no secret.
# `deliver` also changes what a change of the code or of its settings changes: images, functions, the stream service,
# dashboards, alerts, metrics, indexes. It cannot change who may do what (accounts, grants, secrets, the pipeline itself), so
# whoever gets a commit into main cannot give himself more with it; such a change fails in the pipeline and is applied by
# an operator.

resource "google_service_account" "deliver" {
  count        = local.has_pipeline ? 1 : 0
  account_id   = "${local.prefix}-deliver"
  display_name = "${local.prefix}: delivers what is pushed to main"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "review" {
  count        = local.has_pipeline ? 1 : 0
  account_id   = "${local.prefix}-review"
  display_name = "${local.prefix}: tests and plans pull requests"
  depends_on   = [google_project_service.apis]
}

locals {
  deliver = local.has_pipeline ? google_service_account.deliver[0].member : ""
  review  = local.has_pipeline ? google_service_account.review[0].member : ""
  pipeline = local.has_pipeline ? {
    deliver = local.deliver
    review  = local.review
  } : {}
}

# What `terraform plan` reads, and to have an image looked at for known vulnerabilities. Google's own viewer roles also read
# data: Firestore's the records, Storage's the objects.
resource "google_project_iam_custom_role" "plans" {
  count       = local.has_pipeline ? 1 : 0
  role_id     = "${replace(local.prefix, "-", "_")}_plans"
  title       = "${local.prefix}: plans"
  description = "Reads how ${local.prefix} is configured, none of its data; scans images."
  permissions = [
    "artifactregistry.repositories.get",
    "artifactregistry.repositories.getIamPolicy",
    "billing.resourceCosts.get",
    "billing.resourcebudgets.read",
    "cloudbuild.builds.get",
    "cloudbuild.builds.list",
    "cloudfunctions.functions.get",
    "cloudfunctions.functions.list",
    "datastore.databases.getMetadata",
    "datastore.schemas.get",
    "datastore.schemas.list",
    "iam.roles.get",
    "iam.serviceAccounts.get",
    "iam.serviceAccounts.getIamPolicy",
    "logging.logMetrics.get",
    "logging.logMetrics.list",
    "monitoring.alertPolicies.get",
    "monitoring.dashboards.get",
    "monitoring.notificationChannels.get",
    "monitoring.uptimeCheckConfigs.get",
    "ondemandscanning.operations.get",
    "ondemandscanning.scans.analyzePackages",
    "ondemandscanning.scans.listVulnerabilities",
    "resourcemanager.projects.get",
    "resourcemanager.projects.getIamPolicy",
    "run.jobs.get",
    "run.operations.get",
    "run.revisions.get",
    "run.revisions.list",
    "run.services.get",
    "run.services.getIamPolicy",
    "run.services.list",
    "secretmanager.secrets.get",
    "secretmanager.secrets.getIamPolicy",
    "secretmanager.versions.get",
    "serviceusage.services.get",
    "serviceusage.services.list",
    "serviceusage.services.use",
    "storage.buckets.get",
    "storage.buckets.getIamPolicy",
  ]
  depends_on = [google_project_service.apis]
}

resource "google_project_iam_member" "plans" {
  for_each = local.pipeline
  project  = var.project
  role     = google_project_iam_custom_role.plans[0].name
  member   = each.value
}

resource "google_project_iam_member" "pipeline_logs" {
  for_each = local.pipeline
  project  = var.project
  role     = "roles/logging.logWriter"
  member   = each.value
}

resource "google_storage_bucket_iam_member" "pipeline_sources" {
  for_each = local.pipeline
  bucket   = google_storage_bucket.sources.name
  role     = each.key == "deliver" ? "roles/storage.objectAdmin" : "roles/storage.objectViewer"
  member   = each.value
}

# The state, and beside it the lock that keeps two deliveries apart. The bucket may hold other deployments' states too.
resource "google_storage_bucket_iam_member" "pipeline_state" {
  for_each = local.pipeline
  bucket   = var.state_bucket
  role     = each.key == "deliver" ? "roles/storage.objectAdmin" : "roles/storage.objectViewer"
  member   = each.value
}

# What only `deliver` may change: by Google's own roles, and by one of ours where Google's would give far more (all of logging's
# configuration, all of the billing account's budgets).
resource "google_project_iam_custom_role" "measures" {
  count       = local.has_pipeline ? 1 : 0
  role_id     = "${replace(local.prefix, "-", "_")}_measures"
  title       = "${local.prefix}: changes metrics, indexes and the budget"
  description = "Changes log-based metrics, Firestore's indexes and the project's budget; reads no log and no record."
  permissions = [
    "billing.resourcebudgets.write",
    "datastore.schemas.create",
    "datastore.schemas.delete",
    "datastore.schemas.update",
    "datastore.operations.get",
    "logging.logMetrics.create",
    "logging.logMetrics.delete",
    "logging.logMetrics.update",
  ]
  depends_on = [google_project_service.apis]
}

resource "google_project_iam_member" "deliver" {
  for_each = local.has_pipeline ? {
    functions = "roles/cloudfunctions.developer"
    services  = "roles/run.developer"
    alerts    = "roles/monitoring.alertPolicyEditor"
    channels  = "roles/monitoring.notificationChannelEditor"
    dashboard = "roles/monitoring.dashboardEditor"
    uptime    = "roles/monitoring.uptimeCheckConfigEditor"
    measures  = google_project_iam_custom_role.measures[0].name
  } : {}
  project = var.project
  role    = each.value
  member  = local.deliver
}

resource "google_artifact_registry_repository_iam_member" "deliver_writes" {
  count      = local.has_pipeline ? 1 : 0
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.writer"
  member     = local.deliver
}

# Who deploys something that runs as an account has to be allowed to act as it: these five, and no other.
resource "google_service_account_iam_member" "deliver_acts_as" {
  for_each           = local.has_pipeline ? merge(local.runtime_accounts, { builder = google_service_account.builder }) : {}
  service_account_id = each.value.name
  role               = "roles/iam.serviceAccountUser"
  member             = local.deliver
}

# The smoke call plays Twilio, so it signs as Twilio does.
resource "google_secret_manager_secret_iam_member" "deliver_signs" {
  for_each  = local.has_pipeline ? toset(["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"]) : []
  secret_id = google_secret_manager_secret.this[each.value].id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.deliver
}
